"""results.json of a model folder: what was measured, a row for each data set, protocol and seed.

Rows of other seeds are of models that the same recipe made; the row of the folder's own weights is
the one that bears their SHA-256.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError
from ..files import sha256, write_atomically
from .recalls import FIGURES, RECALLS, WAYS

if TYPE_CHECKING:
    from ..catalogue.cards import Card

FILE = "results.json"
WEIGHTS = "model.safetensors"  # as in zoo.model_folders.saving, which needs torch
WANTED = ("dataset", "split", "protocol", "metrics")
SAME = ("dataset", "split", "protocol")
"""A new measurement replaces the one that has these in common, and the seed or the weights."""
TRAINED = ("seed", "epoch", "selection", "training_seconds", "trained_on")
"""What a training told of the weights, and no measurement can."""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The measurements in a model folder; none where it has no results.json.

    Raises `DataError` for a file that is damaged or of another form.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    content = read_rows(path)
    rows: list[dict[str, Any]] = content["results"]
    return rows


def read_rows(path: Path) -> dict[str, Any]:
    """The content of a file of results, of which `results` are the rows. Raises `DataError`."""
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        rows = content["results"]
        sound = all(_is_sound(row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(rows, list) or not sound:
        raise _damaged(path, f"a row lacks one of {', '.join(WANTED)}, or a figure")
    return content


def own_results(folder: Path) -> list[dict[str, Any]]:
    """The measurements of the weights that lie in the folder; rows without a SHA-256 count too."""
    return own_among(folder, read_results(folder))


def training_facts(folder: Path) -> dict[str, Any]:
    """What the folder's results say of the training of its weights: seed, epoch, seconds."""
    rows = own_results(folder)
    known = {
        key: next((row[key] for row in rows if row.get(key) is not None), None) for key in TRAINED
    }
    return {key: value for key, value in known.items() if key == "seed" or value is not None}


def add_result(folder: Path, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put a measurement into the folder's results.json, in place of the one of the same kind."""
    kept = [old for old in read_results(folder) if not _replaces(row, old)]
    rows = sorted(
        [*kept, dict(row)], key=lambda one: [str(one.get(key)) for key in (*SAME, "seed")]
    )
    text = json.dumps({"schema_version": 1, "results": rows}, indent=2) + "\n"
    write_atomically(folder / FILE, text.encode())
    return rows


def measured_results(card: Card) -> list[dict[str, Any]]:
    """What we measured of a registered model: from its folder if it is bundled, else its card.

    Raises `DataError` for a row that does not say how to measure it again.
    """
    if card.folder is not None:
        return _proven(card.folder, read_results(card.folder))
    return [_flat(result.model_dump()) for result in card.results.measured]


def measured_or_damaged(card: Card) -> list[dict[str, Any]] | Literal["damaged"]:
    """Those of its own weights; for a list of models, which one bad file must not break."""
    try:
        rows = measured_results(card)
        return rows if card.folder is None else own_among(card.folder, rows)
    except (DataError, OSError):
        return "damaged"


def paper_results(card: Card) -> list[dict[str, Any]]:
    """What the paper reports of a model, in the form of our own measurements."""
    return [_flat(result.model_dump()) for result in card.results.paper]


def seeds_of(results: Sequence[Mapping[str, Any]]) -> list[int]:
    """The seeds of some measurements, each once, in order."""
    return sorted({result["seed"] for result in results if result.get("seed") is not None})


def own_among(folder: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As `own_results`, of measurements that were read already."""
    if len({row.get("model_sha256") for row in rows} - {None}) < 2:
        return rows  # of one model, so there is nothing to tell apart
    own = sha256(folder / WEIGHTS) if (folder / WEIGHTS).is_file() else None
    return [row for row in rows if row.get("model_sha256") in (own, None)]


def _proven(folder: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from .proof import proven

    proven(rows, folder / FILE)
    return rows


def _replaces(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Whether it measures the same: of the same seed, or of the very same weights."""
    same_weights = new.get("model_sha256", 0) == old.get("model_sha256", 1)
    same_seed = new.get("seed") == old.get("seed")
    return all(new[key] == old[key] for key in SAME) and (same_seed or same_weights)


def _is_sound(row: Mapping[str, Any]) -> bool:
    metrics = row["metrics"] if all(key in row for key in WANTED) else None
    return isinstance(metrics, dict) and all(
        isinstance(metrics.get(figure), (int, float)) for figure in FIGURES
    )


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of registry.yaml (`i2t: {r1: ...}`) in the form of results.json (`metrics`)."""
    recalls = {f"{way}_{at}": row[way][at] for way in WAYS for at in RECALLS}
    rest = {key: value for key, value in row.items() if key not in (*WAYS, "rsum")}
    return {**rest, "metrics": {**recalls, "rsum": row["rsum"]}}


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} does not hold results as the zoo writes them ({found}). "
        "Remove it and measure again: zoo evaluate FOLDER --data PATH --save-results"
    )

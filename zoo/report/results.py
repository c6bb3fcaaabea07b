"""results.json of a model folder: what was measured, one row for each data set and protocol."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import DataError
from ..files import write_atomically

if TYPE_CHECKING:
    from ..cards import Card

RECALLS = ("r1", "r5", "r10")
WAYS = {"i2t": "texts for an image", "t2i": "images for a text"}

FIGURES = (*(f"{way}_{at}" for way in WAYS for at in RECALLS), "rsum")

FILE = "results.json"
WANTED = ("dataset", "split", "protocol", "metrics")
SAME = ("dataset", "split", "protocol")
"""A new measurement replaces the one that has these three in common."""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The measurements in a model folder; none where it has no results.json.

    Raises `DataError` for a file that is damaged or of another form.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["results"]
        sound = all(_is_sound(row) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(rows, list) or not sound:
        raise _damaged(path, f"a row lacks one of {', '.join(WANTED)}, or a figure")
    return rows


def add_result(folder: Path, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Put a measurement into the folder's results.json, in place of the one of the same kind."""
    kept = [old for old in read_results(folder) if any(old[key] != row[key] for key in SAME)]
    rows = sorted([*kept, dict(row)], key=lambda one: [str(one[key]) for key in SAME])
    text = json.dumps({"schema_version": 1, "results": rows}, indent=2) + "\n"
    write_atomically(folder / FILE, text.encode())
    return rows


def measured_results(card: Card) -> list[dict[str, Any]]:
    """What we measured of a registered model: from its folder if it is bundled, else its card."""
    if card.folder is not None:
        return read_results(card.folder)
    return [_flat(result.model_dump()) for result in card.results.measured]


def measured_or_damaged(card: Card) -> list[dict[str, Any]] | Literal["damaged"]:
    """As `measured_results`; for a list of models, which one damaged file must not break."""
    try:
        return measured_results(card)
    except DataError:
        return "damaged"


def paper_results(card: Card) -> list[dict[str, Any]]:
    """What the paper reports of a model, in the form of our own measurements."""
    return [_flat(result.model_dump()) for result in card.results.paper]


def _is_sound(row: Mapping[str, Any]) -> bool:
    return all(key in row for key in WANTED) and all(
        isinstance(row["metrics"].get(figure), (int, float)) for figure in FIGURES
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

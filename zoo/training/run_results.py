"""results.json of a run's model: the figures that chose its epoch, and where they come from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import Member
from ..files import sha256, write_atomically
from ..model_folders.saving import RESULTS, WEIGHTS
from ..version import __version__
from .recipe import Recipe
from .run_folder import RunFolder

HALF_NOTE = "measured at the end of an epoch, before the weights were stored in half precision"


def results_of(
    recipe: Recipe, folder: RunFolder, best: Mapping[str, Any], parent: Member | None
) -> dict[str, Any] | None:
    """What was measured of the best epoch so far; None before the first measurement."""
    if not best:
        return None
    origin = {
        "parent": f"{parent.name} ({parent.sha256})" if parent else "",
        "changes": _changes(folder, best["epoch"]),
    }
    row = {
        **best["evaluation"],
        "epoch": best["epoch"],
        "seed": recipe["seed"],
        "selection": _selection(recipe),
        **{key: words for key, words in origin.items() if words},
        "command": shlex.join(folder.command()),
        "zoo_version": __version__,
    }
    return {"schema_version": 1, "results": [row]}


def complete_results(model: Path, results: dict[str, Any], half: bool, **facts: Any) -> None:
    """Put what is known at the end alone into the results.json of a model's folder."""
    (row,) = results["results"]
    row |= facts | {"model_sha256": sha256(model / WEIGHTS)}
    if half:
        row["note"] = HALF_NOTE
    text = json.dumps(results, indent=2) + "\n"
    write_atomically(model / RESULTS, text.encode())


def _selection(recipe: Recipe) -> str:
    """The split on which the epoch was chosen, where there was more than one to choose from."""
    settings = recipe["train_cfg"]
    chosen = settings.get("val_interval", 1) < settings["max_epochs"]
    return str(recipe["data"]["dev"]) if chosen else "none: last epoch"


def _changes(folder: RunFolder, best: int) -> str:
    """With which other settings the run went on before its best epoch, if it did."""
    changes = (folder.record() or {}).get("changes", [])
    before = [one for one in changes if one["epoch"] < best]
    return "; ".join(
        f"from epoch {one['epoch'] + 1}, {', '.join(one['changed'])}" for one in before
    )

"""results.json of a run's model: the figures that chose its epoch, and where they come from."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from ..files import sha256, write_atomically
from ..model_folders.saving import RESULTS, WEIGHTS
from ..version import __version__

if TYPE_CHECKING:
    from .run import Run

HALF_NOTE = "measured at the end of an epoch, before the weights were stored in half precision"


def results_of(run: Run) -> dict[str, Any] | None:
    """What was measured of the best epoch so far; None before the first measurement."""
    best = run.findings.best
    if not best:
        return None
    origin = {"parent": _parent(run), "changes": _changes(run)}
    row = {
        **best["evaluation"],
        "epoch": best["epoch"],
        "seed": run.recipe["seed"],
        "selection": _selection(run),
        **{key: words for key, words in origin.items() if words},
        "command": shlex.join(run.folder.command()),
        "zoo_version": __version__,
    }
    return {"schema_version": 1, "results": [row]}


def complete_results(run: Run, **facts: Any) -> None:
    """Put what is known at the end alone into the results.json of the model."""
    results = results_of(run)
    if results is None:
        return
    (row,) = results["results"]
    row |= facts | {"trained_on": run.where}
    row["model_sha256"] = sha256(run.folder.model / WEIGHTS)
    if run.recipe["export"]["half"]:
        row["note"] = HALF_NOTE
    text = json.dumps(results, indent=2) + "\n"
    write_atomically(run.folder.model / RESULTS, text.encode())


def _selection(run: Run) -> str:
    """The split on which the epoch was chosen, where there was more than one to choose from."""
    settings = run.recipe["train_cfg"]
    chosen = settings.get("val_interval", 1) < settings["max_epochs"]
    return str(run.recipe["data"]["dev"]) if chosen else "none: last epoch"


def _parent(run: Run) -> str:
    parent = run.model.config.parent if run.model.config else None
    return f"{parent.name} ({parent.sha256})" if parent else ""


def _changes(run: Run) -> str:
    """With which other settings the run went on before its best epoch, if it did."""
    changes = (run.folder.record() or {}).get("changes", [])
    before = [one for one in changes if one["epoch"] < run.findings.best["epoch"]]
    return "; ".join(
        f"from epoch {one['epoch'] + 1}, {', '.join(one['changed'])}" for one in before
    )

"""The runs of training below a folder, as their own files tell them; nothing is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import DataError
from ..lock import is_held
from .tables import Table

RECORD, LOG, LOCK = "run.json", "log.jsonl", ".lock"
OWN_COLUMNS = ("name", "seed")
"""Settings that have a column each."""
SHOWN = 4
State = Literal["running", "finished", "unfinished", "nothing saved"]


@dataclass(frozen=True)
class RunRecord:
    """One run: what its run.json and its log say.

    record: the content of run.json
    dev:    the lines of the log with figures on dev, in their order
    train:  those with the loss
    """

    path: Path
    state: State
    record: Mapping[str, Any]
    dev: Sequence[Mapping[str, Any]]
    train: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """Of the model."""
        return str(self.record["recipe"]["name"])

    @property
    def best(self) -> Mapping[str, Any] | None:
        """The figures of the best epoch on dev, None before the first measurement."""
        return max(self.dev, key=lambda line: line["rsum"], default=None)

    @property
    def epochs(self) -> tuple[int, int]:
        """The epoch that it has come to, and the last one."""
        reached = max((line["epoch"] for line in (*self.dev, *self.train)), default=0)
        return int(reached), int(self.record["recipe"]["train_cfg"]["max_epochs"])

    @property
    def seconds(self) -> float | None:
        """Of training; while it goes on, between the first and the last line of the log."""
        known = self.record.get("training_seconds")
        times = [line["time"] for line in (*self.train, *self.dev) if "time" in line]
        if known is None and times:
            return float(max(times) - min(times))
        return None if known is None else float(known)

    @property
    def settings(self) -> dict[str, Any]:
        """Of its recipe, by dotted name."""
        return dict(_flat(self.record["recipe"]))


def find_runs(folder: Path) -> list[RunRecord]:
    """The runs in a folder and in all below it, by their paths.

    Raises `DataError` where there is none, and for a run.json that is damaged.
    """
    found = [read_run(file.parent) for file in sorted(folder.rglob(RECORD))]
    if not found:
        raise DataError(
            f"{folder} holds no run: no {RECORD} lies there or below. Give the folder that "
            "`zoo train --work-dir` got, or one above it."
        )
    return found


def read_run(path: Path) -> RunRecord:
    """The run in a folder. Raises `DataError` where its run.json is damaged."""
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        record["recipe"]["name"], record["recipe"]["train_cfg"]["max_epochs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path / RECORD} cannot be read ({type(error).__name__}: {error}). Move the folder "
            "elsewhere, or write the file anew: zoo train ... --resume, with the file deleted."
        ) from error
    lines = list(_lines(path / LOG))
    kinds = [[line for line in lines if line.get("kind") == kind] for kind in ("dev", "train")]
    return RunRecord(path, _state(path, record), record, *kinds)


def differing(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """The settings in which runs differ, by dotted name: the value of each run, in their order.

    None where a recipe does not have it; name and seed are no differences.
    """
    settings = [run.settings for run in runs]
    keys = dict.fromkeys(key for one in settings for key in one)
    values = {key: [one.get(key) for one in settings] for key in keys if key not in OWN_COLUMNS}
    return {key: told for key, told in values.items() if any(one != told[0] for one in told)}


def runs_table(runs: Sequence[RunRecord], above: Path) -> Table:
    """A line for each run, with paths as seen from the folder `above`."""
    numbers = ("seed", "epoch", "rsum", "of epoch", "time")
    headers = ("run", "model", "state", *numbers, "differs in")
    apart = differing(runs)
    rows = []
    for place, run in enumerate(runs):
        best, (reached, last) = run.best, run.epochs
        rows.append(
            (
                str(run.path.relative_to(above)),
                run.name,
                run.state,
                str(run.record.get("seed", "")),
                f"{reached}/{last}",
                f"{best['rsum']:.1f}" if best else "",
                f"{best['epoch']:.0f}" if best else "",
                _time(run.seconds),
                _words({key: values[place] for key, values in apart.items()}),
            )
        )
    return Table("", headers, rows, numbers)


def runs_json(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The runs as plain values; `differs` has every setting in which they differ."""
    apart = differing(runs)
    told = ("seed", "started", "finished", "device", "versions", "data", "command", "parent")
    return [
        {
            "path": str(run.path),
            "name": run.name,
            "state": run.state,
            **{key: run.record.get(key) for key in told},
            "changes": run.record.get("changes", []),
            "epoch": run.epochs[0],
            "epochs": run.epochs[1],
            "best": dict(run.best) if run.best else None,
            "training_seconds": run.seconds,
            "differs": {key: values[place] for key, values in apart.items()},
        }
        for place, run in enumerate(runs)
    ]


def _state(path: Path, record: Mapping[str, Any]) -> State:
    if is_held(path / LOCK):
        return "running"
    if record.get("finished") and (path / "model").is_dir():
        return "finished"
    saved = any((path / "checkpoints").glob("step_*/meta.json"))
    return "unfinished" if saved else "nothing saved"


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a log, which may be written to right now."""
    if not log.is_file():
        return
    for text in log.read_text(encoding="utf-8").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _words(settings: Mapping[str, Any]) -> str:
    told = [f"{key}={value}" for key, value in settings.items() if value is not None]
    more = f", and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    return ", ".join(told[:SHOWN]) + more


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"

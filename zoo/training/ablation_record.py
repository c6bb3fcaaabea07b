"""results.json of an ablation: a row for each trial and split, and the trials that failed.

Written whole after each trial, under a lock, for several processes write the same file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import DataError
from ..files import write_atomically
from ..lock import held

SAME = ("row", "seed", "dataset", "split")
"""A new measurement replaces the one that has these in common."""


class AblationRecord:
    """The file; read anew each time, since others write it too."""

    def __init__(self, path: Path, recipe: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
        self.path = path
        self.begin = {"schema_version": 1, "recipe": recipe}
        self.rows = {name: dict(overrides) for name, overrides in rows.items()}

    def read(self) -> dict[str, Any]:
        """The whole content. Raises `DataError` for a file that is damaged or of another recipe."""
        empty = {**self.begin, "rows": self.rows, "results": [], "failed": []}
        if not self.path.exists():
            return empty
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            same = {key: content[key] for key in self.begin} == self.begin
            content = {key: content[key] for key in empty}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._unusable(f"{type(error).__name__}: {error}") from error
        if not same:
            raise self._unusable(f"it does not begin with {self.begin}")
        return content

    def add(self, row: Mapping[str, Any]) -> None:
        """Put in a measurement, in place of the one of the same trial and split."""

        def change(content: dict[str, Any]) -> None:
            old = content["results"]
            kept = [one for one in old if any(one[key] != row[key] for key in SAME)]
            content["results"] = sorted([*kept, dict(row)], key=self._order)
            content["failed"] = [one for one in content["failed"] if _trial(one) != _trial(row)]

        self._change(change)

    def fail(self, failure: Mapping[str, Any]) -> None:
        """Note a trial that failed, in place of an earlier failure of the same."""

        def change(content: dict[str, Any]) -> None:
            kept = [one for one in content["failed"] if _trial(one) != _trial(failure)]
            content["failed"] = sorted([*kept, dict(failure)], key=self._order)

        self._change(change)

    def of(self, row: str, seed: int) -> list[dict[str, Any]]:
        """The measurements of one trial."""
        return [one for one in self.read()["results"] if (one["row"], one["seed"]) == (row, seed)]

    def failed(self) -> dict[str, dict[str, Any]]:
        """What is noted of the trials that failed, by the name of the trial."""
        return {_trial(one): one for one in self.read()["failed"]}

    def _change(self, change: Callable[[dict[str, Any]], None]) -> None:
        with held(self.path.with_name(f".{self.path.name}.lock"), wait=True):
            content = self.read() | {"rows": self.rows}
            change(content)
            write_atomically(self.path, (json.dumps(content, indent=2) + "\n").encode())

    def _order(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        names = list(self.rows)
        known = names.index(row["row"]) if row["row"] in names else len(names)
        return (known, row["row"], row["seed"], row.get("dataset", ""), row.get("split", ""))

    def _unusable(self, found: str) -> DataError:
        return DataError(
            f"{self.path} does not hold the results of {self.begin['recipe']}'s ablation "
            f"({found}). Choose another --work-dir, or move the file away: finished runs are "
            "measured again, not trained again."
        )


def _trial(row: Mapping[str, Any]) -> str:
    return f"{row['row']}/seed-{row['seed']}"

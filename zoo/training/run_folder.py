"""The folder of a run: who may write to it, and what is recorded there.

run.json (recipe, command, versions, data), log.jsonl, checkpoints/, and model/, the best so far.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from ..data.dataset import Dataset
from ..errors import DataError, InputError
from ..files import sha256, write_atomically
from ..lock import held
from ..saving import WEIGHTS
from ..version import __version__
from .checkpoint import list_checkpoints, remove_leftovers
from .overrides import differences, flatten
from .recipe import Recipe


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.log = path / "log.jsonl"
        self.model = path / "model"
        self.record_file = path / "run.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; raises `BusyError` (a `DataError`) when another process does."""
        busy = (
            f"Another process is training in {self.path}. Wait until it ends, or choose "
            "another --work-dir."
        )
        with held(self.path / ".lock", busy):
            yield

    def open(
        self, recipe: Recipe, data: Mapping[str, str], *, resume: bool, processes: int = 1
    ) -> bool:
        """Check what lies here against what is asked; True if the run is finished already.

        A run that ended before its first checkpoint left nothing to keep, so it begins anew.
        Raises `DataError` for a run that is here though none is to be resumed, and `InputError`
        when a run is to go on with another recipe or other data.
        """
        remove_leftovers(self.checkpoints)
        record, state = self.record(), self.state()
        if state == "new":
            self.record_file.unlink(missing_ok=True)
            return False
        finished = state == "finished"
        if not resume:
            raise DataError(
                f"{self.path} holds {'a finished' if finished else 'an unfinished'} run. "
                "Choose another --work-dir" + ("." if finished else ", or go on with it: --resume.")
            )
        if record is not None:
            self.check_same(record, recipe, data, processes)
        return finished

    def state(self) -> Literal["new", "unfinished", "finished"]:
        """How far the run is; one that ended before its first checkpoint is as good as new."""
        record = self.record()
        if record and record.get("finished") and self.model.is_dir():
            return "finished"
        return "unfinished" if list_checkpoints(self.checkpoints) else "new"

    def check_same(
        self,
        record: Mapping[str, Any],
        recipe: Recipe,
        data: Mapping[str, str],
        processes: int = 1,
    ) -> None:
        """Raise `InputError` when recipe, data or processes are not those that it began with."""
        changed = differences(record["recipe"], recipe.settings)
        changed += [
            f"data of {name}: fingerprint was {before[:12]}, is {data.get(name, 'none')[:12]}"
            for name, before in record["data"].items()
            if data.get(name) != before
        ]
        were = record.get("processes", 1)
        if were != processes:
            changed.append(f"processes: were {were}, are {processes}")
        if changed:
            raise InputError(
                f"The run in {self.path} began with other settings ({'; '.join(changed[:6])}), "
                "and a resumed run must end as if it had never stopped. Give the same settings, "
                "or start a new run in another --work-dir."
            )

    def begin(
        self,
        recipe: Recipe,
        data: Mapping[str, str],
        command: Sequence[str],
        device: str,
        processes: int = 1,
    ) -> list[str]:
        """Record how the run was started; a resumed one keeps its record.

        Returns what the last bits of the weights depend on and is no longer as it was then.
        """
        here = {"versions": versions(), "threads": torch.get_num_threads(), "device": device}
        began = self.record()
        if began is None:
            record = run_meta(recipe, data, processes) | {
                "command": list(command),
                "recipe_file": recipe.path.name,
                "recipe_text": recipe.path.read_text(encoding="utf-8"),
                **here,
                "started": now(),
                "finished": None,
            }
            self._write(record)
            return []
        was, now_is = flatten(began), flatten(here)
        return [
            f"{key} was {was[key]} when the run began and is {now_is[key]}"
            for key in ("versions.torch", "threads", "device")
            if was.get(key, now_is[key]) != now_is[key]
        ]

    def finish(self, **results: Any) -> None:
        """Record that the run is complete."""
        self._write((self.record() or {}) | results | {"finished": now()})

    def command(self) -> list[str]:
        """The command that began the run."""
        return list((self.record() or {}).get("command", []))

    def record(self) -> dict[str, Any] | None:
        """The content of run.json; None where there is none. Raises `DataError` if damaged."""
        if not self.record_file.exists():
            return None
        try:
            return dict(json.loads(self.record_file.read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.record_file} cannot be read ({error}). Delete it and start again with "
                "--resume; the checkpoints hold what is needed."
            ) from error

    def _write(self, record: Mapping[str, Any]) -> None:
        write_atomically(self.record_file, (json.dumps(record, indent=2) + "\n").encode())


def run_meta(recipe: Recipe, data: Mapping[str, str], processes: int = 1) -> dict[str, Any]:
    """What identifies a run: its recipe, seed and data, and how many processes train."""
    identity = {"recipe": dict(recipe.settings), "seed": recipe["seed"], "data": dict(data)}
    return identity | {"processes": processes}


def fingerprints(*datasets: Dataset | None) -> dict[str, str]:
    """The fingerprint of each split."""
    return {one.split: one.fingerprint for one in datasets if one is not None}


def file_prints(files: Mapping[str, Path]) -> dict[str, str]:
    """The SHA-256 of each file, and of the weights of a model folder."""
    return {key: sha256(path / WEIGHTS if path.is_dir() else path) for key, path in files.items()}


def versions() -> dict[str, str]:
    """Versions of what the weights depend on."""
    packages = ("torch", "numpy", "pillow", "mmengine", "safetensors")
    found = {name: metadata.version(name) for name in packages}
    return {"zoo": __version__, "python": platform.python_version(), **found}


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def this_command() -> list[str]:
    """How this process was started."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]

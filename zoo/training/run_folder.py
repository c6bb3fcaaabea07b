"""The folder of a run: who may write to it, and what is recorded there.

run.json (recipe, command, versions, data), log.jsonl, texts/ (the vocabulary), checkpoints/, and
model/, the best so far.
"""

from __future__ import annotations

import json
import platform
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

from ..data.dataset import Dataset
from ..errors import DataError
from ..files import sha256, write_atomically
from ..lock import held
from ..model_folders.saving import WEIGHTS
from ..version import __version__
from .checkpoint import list_checkpoints, remove_leftovers
from .continuing import Resume, what_changed
from .overrides import flatten
from .recipe import Recipe


class RunFolder:
    """One run on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.log = path / "log.jsonl"
        self.model = path / "model"
        self.record_file = path / "run.json"
        self.texts = path / "texts"

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
        self,
        recipe: Recipe,
        data: Mapping[str, str],
        *,
        resume: Resume | None = None,
        processes: int = 1,
    ) -> bool:
        """Check what lies here against what is asked; True if the run is finished already.

        A run that ended before its first checkpoint left nothing to keep, so it begins anew. A
        finished one goes on where it is loosely resumed with other settings. Raises `DataError`
        for a run that is here though none is to be resumed, and `InputError` as `what_changed`.
        """
        remove_leftovers(self.checkpoints)
        record, state = self.record(), self.state()
        if state == "new":
            self.record_file.unlink(missing_ok=True)
            return False
        finished = state == "finished"
        if resume is None:
            raise DataError(
                f"{self.path} holds {'a finished' if finished else 'an unfinished'} run. "
                "Choose another --work-dir" + ("." if finished else ", or go on with it: --resume.")
            )
        asked = run_meta(recipe, data, processes)
        return finished and not what_changed(record or {}, asked, self.path, resume)

    def state(self) -> Literal["new", "unfinished", "finished"]:
        """How far the run is; one that ended before its first checkpoint is as good as new."""
        record = self.record()
        if record and record.get("finished") and self.model.is_dir():
            return "finished"
        return "unfinished" if list_checkpoints(self.checkpoints) else "new"

    def begin(
        self,
        recipe: Recipe,
        data: Mapping[str, str],
        command: Sequence[str],
        device: str,
        processes: int = 1,
        **facts: Any,
    ) -> list[str]:
        """Record how the run was started, and what else is to be known; a resumed one keeps that.

        Returns what the last bits of the weights depend on and is no longer as it was then.
        """
        here = {"versions": versions(), "threads": torch.get_num_threads(), "device": device}
        began = self.record()
        if began is None:
            record = run_meta(recipe, data, processes) | {
                "id": uuid.uuid4().hex[:8],
                "command": list(command),
                "recipe_file": recipe.path.name,
                "recipe_text": recipe.path.read_text(encoding="utf-8"),
                **here,
                **facts,
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

    def go_on(
        self,
        recipe: Recipe,
        meta: Mapping[str, Any],
        command: Sequence[str],
        change: Mapping[str, Any],
    ) -> None:
        """Record that the run goes on with other settings: which, and in which `part` of it."""
        record = self.record() or {}
        before = [one for one in record.get("changes", []) if one["part"] < change["part"]]
        here = {"date": now(), "command": list(command), "versions": versions()}
        self._write(
            record
            | dict(meta)
            | {
                "recipe_file": recipe.path.name,
                "recipe_text": recipe.path.read_text(encoding="utf-8"),
                "changes": [*before, {**change, **here}],
                "finished": None,
            }
        )

    def write_texts(self, texts: Mapping[str, str]) -> None:
        """Keep the text files of the model (its vocabulary): they stay the run's, come what may."""
        for name, text in texts.items():
            self.texts.mkdir(exist_ok=True)
            write_atomically(self.texts / name, text.encode())

    def read_texts(self) -> dict[str, str] | None:
        """The text files of the run's model by name; None for a run that kept none."""
        files = sorted(self.texts.glob("[!.]*")) if self.texts.is_dir() else []
        return {file.name: file.read_text(encoding="utf-8") for file in files} or None

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

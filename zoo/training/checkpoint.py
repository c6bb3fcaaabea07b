"""Checkpoints that a crash cannot spoil: one folder a step, complete or not there at all.

`step_00000123/` (`step_00000123_part_1/` once a run went on with other settings) holds
`model.safetensors`, `average.safetensors` where weights are averaged, `train_state.pt` (tensors,
numbers, strings, lists and dicts; nothing in it is ever executed) and `meta.json`, which has the
SHA-256 of the others. A folder without a valid `meta.json` does not exist.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from ..errors import DataError
from ..files import sha256, sync_folder

Tensors = Mapping[str, Tensor]
Warn = Callable[[str], None]
FORMAT = 1
NAME = re.compile(r"step_(\d+)(?:_part_(\d+))?")


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a run needs to go on as if it had never stopped.

    model:   parameters and buffers of the model and of the loss
    average: averaged parameters and buffers of the model, or None
    state:   optimiser, schedules, position and best result so far; plain values and tensors
    meta:    JSON values that describe the run; compared on resume, never executed
    part:    how often the run went on with other settings, by which steps may be counted anew
    """

    step: int
    model: Tensors
    average: Tensors | None
    state: Mapping[str, Any]
    meta: Mapping[str, Any]
    part: int = 0

    @property
    def name(self) -> str:
        """What its folder is called."""
        return f"step_{self.step:08d}" + (f"_part_{self.part}" if self.part else "")


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint under a temporary name, make it durable, then give it its name.

    Raises `DataError` when the disk is full; earlier checkpoints are untouched then.
    """
    final = folder / checkpoint.name
    building = folder / f"{final.name}.tmp-{os.getpid()}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir()
        _write_files(building, checkpoint)
        if final.exists():
            shutil.rmtree(final)
        building.rename(final)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        free = shutil.disk_usage(folder).free
        raise DataError(
            f"The checkpoint {final} could not be written ({error.strerror}; about "
            f"{_size(checkpoint):,} bytes are needed, {free:,} are free). "
            "Free some space and start again with --resume; earlier checkpoints are whole."
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return final


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and check every file in it. Raises `DataError` if it is damaged."""
    meta = _read_meta(path)
    for name, expected in meta["sha256"].items():
        found = sha256(path / name) if (path / name).is_file() else "absent"
        if found != expected:
            raise DataError(
                f"{path / name} is damaged: its sha256 is {found}, {expected} was written. "
                "Resume from an earlier checkpoint."
            )
    return Checkpoint(
        step=meta["step"],
        model=load_tensors((path / "model.safetensors").read_bytes()),
        average=_read_average(path, meta),
        state=torch.load(path / "train_state.pt", weights_only=True, map_location="cpu"),
        meta=meta["run"],
        part=meta.get("part", 0),
    )


def newest_checkpoint(folder: Path, warn: Warn) -> Checkpoint | None:
    """The newest whole checkpoint, or None. `warn` gets one line for each that is passed over.

    A damaged one is renamed to `damaged_...`, so that it is neither read again nor in the way.
    """
    for path in reversed(list_checkpoints(folder)):
        try:
            return read_checkpoint(path)
        except (DataError, OSError, ValueError, RuntimeError) as error:
            warn(f"The checkpoint {path.name} is passed over: {error}")
            aside = path.with_name(f"damaged_{path.name}")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
    return None


def list_checkpoints(folder: Path) -> list[Path]:
    """Folders of checkpoints, oldest first; those without `meta.json` do not count."""
    whole = (path for path in _steps(folder) if (path / "meta.json").is_file())
    return sorted((path for path in whole if NAME.fullmatch(path.name)), key=_age)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written."""
    for path in _steps(folder):
        if ".tmp-" in path.name or not (path / "meta.json").is_file():
            shutil.rmtree(path, ignore_errors=True)


def prune(folder: Path, keep: int) -> None:
    """Keep the newest `keep` (at least two) checkpoints."""
    for path in list_checkpoints(folder)[: -max(keep, 2)]:
        # The description goes first: half a folder is then no checkpoint.
        (path / "meta.json").unlink(missing_ok=True)
        shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> tuple[int, int]:
    """Part and step."""
    step, part = NAME.fullmatch(path.name).groups()  # type: ignore[union-attr]  # `NAME` fits
    return int(part or 0), int(step)


def _steps(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("step_*") if path.is_dir())


def _write_files(building: Path, checkpoint: Checkpoint) -> None:
    _write_durably(building / "model.safetensors", _serialize(checkpoint.model))
    if checkpoint.average is not None:
        _write_durably(building / "average.safetensors", _serialize(checkpoint.average))
    state = io.BytesIO()  # torch.save to a full disk says nothing of the disk
    torch.save(_plain(checkpoint.state), state)
    _write_durably(building / "train_state.pt", state.getvalue())
    meta = {
        "format": FORMAT,
        "step": checkpoint.step,
        "part": checkpoint.part,
        "sha256": {path.name: sha256(path) for path in sorted(building.iterdir())},
        "run": dict(checkpoint.meta),
    }
    meta["digest"] = _digest(meta)
    _write_durably(building / "meta.json", json.dumps(meta, indent=2).encode())
    sync_folder(building)


def _size(checkpoint: Checkpoint) -> int:
    """Bytes of all tensors: nearly what the files take."""
    held: list[Any] = [checkpoint.model, checkpoint.average, checkpoint.state]
    size = 0
    while held:
        one = held.pop()
        if isinstance(one, Tensor):
            size += one.nbytes
        elif isinstance(one, Mapping):
            held += one.values()
        elif isinstance(one, (list, tuple)):
            held += one
    return size


def _plain(value: Any) -> Any:
    """The value in types that `torch.load` accepts with an empty allow-list."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    if isinstance(value, Tensor):
        return value.detach().cpu().clone()
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if value is None:
        return None
    raise TypeError(f"A checkpoint cannot hold a {type(value).__name__}: {value!r}")


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _serialize(tensors: Tensors) -> bytes:
    return save_tensors({name: one.detach().cpu().clone() for name, one in tensors.items()})


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads((path / "meta.json").read_text(encoding="utf-8"))
        if meta.pop("digest") != _digest(meta):
            raise ValueError("its digest does not fit")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path / 'meta.json'} is damaged ({type(error).__name__}: {error}). "
            "Resume from an earlier checkpoint."
        ) from error
    if meta["format"] != FORMAT:
        raise DataError(
            f"{path / 'meta.json'} has the format {meta['format']!r}, {FORMAT} is wanted. "
            "Resume with the version of zoo that wrote it."
        )
    return dict(meta)


def _digest(meta: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _read_average(path: Path, meta: Mapping[str, Any]) -> Tensors | None:
    if "average.safetensors" not in meta["sha256"]:
        return None
    return load_tensors((path / "average.safetensors").read_bytes())

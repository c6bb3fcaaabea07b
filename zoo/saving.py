"""Writing a model's folder: whole or not at all."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .config import ModelConfig
from .errors import InputError, WeightsError
from .files import sync_folder, write_atomically

CONFIG, WEIGHTS, RESULTS = "config.json", "model.safetensors", "results.json"
CARD = "README.md"


def write_folder(
    folder: Path,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    files: Mapping[str, str],
    *,
    results: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write a model's folder beside its final place, then move it there.

    `tensors` are all parameters and buffers, `files` the text files that go with them. An old
    model's folder makes way in a first rename, the new one comes in a second. If the process is
    killed between the two, there is no folder of that name: the old one lies beside it, whole, as
    `.NAME.PID.old`, and the next call puts it back before it begins. Raises `InputError` for a
    folder that holds other things than a model, `WeightsError` when a value is not finite, and
    `DataError` when the disk is full.
    """
    place = folder.resolve()
    _put_back(place)
    _refuse_others(place)
    contents = {name: text.encode() for name, text in files.items()}
    contents[CONFIG] = config.to_json().encode()
    contents[WEIGHTS] = _serialize(tensors, half)
    if results is not None:
        contents[RESULTS] = (json.dumps(results, indent=2) + "\n").encode()
    if (place / CARD).is_file():
        contents[CARD] = (place / CARD).read_bytes()
    place.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    try:
        for name, data in contents.items():
            write_atomically(written / name, data)
        written.chmod(0o755)
        _move(written, place)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    return folder


def _serialize(tensors: Mapping[str, Tensor], half: bool) -> bytes:
    from safetensors.torch import save

    stored = {name: _stored(tensor, half) for name, tensor in tensors.items()}
    broken = [name for name, tensor in stored.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{', '.join(broken[:5])} would not be finite when stored"
            f"{' as float16' if half else ''}. Nothing was written; "
            f"{'save without half' if half else 'look for the step at which training diverged'}."
        )
    # One entry: the order of several is random, and the same weights should give the same file.
    return save(stored, metadata={"format": "pt"})


def _stored(tensor: Tensor, half: bool) -> Tensor:
    kept = tensor.detach().to("cpu", copy=True).contiguous()
    return kept.half() if half and kept.is_floating_point() else kept


def _put_back(folder: Path) -> None:
    """Undo what a killed process left half done; left-overs of a whole replacement are removed."""
    leftover = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.old")
    for path in sorted(folder.parent.glob(".*.old")):
        if leftover.fullmatch(path.name):
            if folder.exists():
                shutil.rmtree(path)
            else:
                path.rename(folder)


def _refuse_others(folder: Path) -> None:
    """Only an empty folder or a model's is replaced: nobody's files are lost to a wrong path."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is there and is no model folder: it lacks {' and '.join(missing)}. "
            "It stays as it is; save to a new or an empty folder."
        )


def _move(written: Path, folder: Path) -> None:
    replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(replaced)
    try:
        written.rename(folder)
    except BaseException:
        if replaced.exists():
            replaced.rename(folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
    sync_folder(folder.parent)

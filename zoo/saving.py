"""Writing a model's folder: whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .config import ModelConfig
from .errors import WeightsError
from .files import sync_folder, write_atomically

CONFIG, WEIGHTS, RESULTS = "config.json", "model.safetensors", "results.json"


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

    `tensors` are all parameters and buffers, `files` the text files that go with them. Raises
    `WeightsError` when a value is not finite, and `DataError` when the disk is full.
    """
    contents = {name: text.encode() for name, text in files.items()}
    contents[CONFIG] = config.to_json().encode()
    contents[WEIGHTS] = _serialize(tensors, half)
    if results is not None:
        contents[RESULTS] = (json.dumps(results, indent=2) + "\n").encode()
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        for name, data in contents.items():
            write_atomically(written / name, data)
        written.chmod(0o755)
        _move(written, folder)
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


def _move(written: Path, folder: Path) -> None:
    if not folder.exists():
        written.rename(folder)
    else:
        replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(replaced)
        written.rename(folder)
        shutil.rmtree(replaced)
    sync_folder(folder.parent)

"""Writing a model's folder: whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import ModelConfig
from ..errors import WeightsError
from ..files import write_atomically
from .folder import CONFIG, RESULTS, WEIGHTS, made_whole

__all__ = ["CONFIG", "RESULTS", "WEIGHTS", "write_folder"]


def write_folder(
    folder: Path,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    files: Mapping[str, str],
    *,
    results: Mapping[str, Any] | None = None,
    half: bool = False,
) -> Path:
    """Write a model's folder beside its final place, then move it there, as `made_whole` does.

    `tensors` are all parameters and buffers, `files` the text files that go with them. Raises
    `InputError` for a folder that holds other things than a model, `WeightsError` when a value is
    not finite, and `DataError` when the disk is full.
    """
    with made_whole(folder) as written:
        contents = {name: text.encode() for name, text in files.items()}
        contents[CONFIG] = config.to_json().encode()
        contents[WEIGHTS] = _serialize(tensors, half)
        if results is not None:
            contents[RESULTS] = (json.dumps(results, indent=2) + "\n").encode()
        for name, data in contents.items():
            write_atomically(written / name, data)
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

"""Files of arrays, mapped into memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

_NUMPY_TYPES = {"F16": "<f2", "F32": "<f4", "I64": "<i8", "BOOL": "?"}


class Shard:
    """Arrays of one file (.safetensors or .npy), mapped when they are first read.

    A worker process that gets a copy maps the file by itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    @cached_property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays by name; one of features is (images, regions, dim).

        Raises `DataError` for a file that holds none or is damaged.
        """
        try:
            arrays = _map_npy(self.path) if self.path.suffix == ".npy" else _map(self.path)
            if arrays["features"].ndim != 3:
                raise ValueError(f"features have the shape {arrays['features'].shape}")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{self.path} does not hold features as (images, regions, dim) ({error}). "
                "Fetch or extract the features again."
            ) from error
        return arrays


def _map_npy(path: Path) -> dict[str, NDArray[Any]]:
    return {"features": np.load(path, mmap_mode="r", allow_pickle=False)}


def _map(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file: a length, a JSON header, and then the bytes.

    Rows are gathered from a plain map some eight times faster than through safetensors' slices.
    """
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if start > path.stat().st_size:
            raise ValueError("its header is cut off")
        header = json.loads(file.read(start - 8))
    content = np.memmap(path, np.uint8, "r")[start:]
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            values = content[first:end].view(_NUMPY_TYPES[entry["dtype"]])
            arrays[name] = values.reshape(entry["shape"])
    return arrays

"""Files of arrays that are looked into where they lie; nothing is ever loaded whole.

Arrays are mapped into memory. A batch of rows, though, is read at its places in the file, after
the system was told of all of them: a mapping waits for the disk at each row in turn, and all that
it has touched counts as the process' memory (docs/decisions/0008-rows-are-read-in-place.md).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

OPEN_FILES = 256
"""How many files are kept open, so that a store may have any number of shards."""

_NUMPY_TYPES = {"F16": "<f2", "F32": "<f4", "I64": "<i8", "BOOL": "?"}


@dataclass(frozen=True)
class Place:
    """Where an array lies in its file: rows of one size behind each other, from byte `start`."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int

    @cached_property
    def row_bytes(self) -> int:
        return prod(self.shape[1:]) * self.dtype.itemsize

    @property
    def end(self) -> int:
        return self.start + self.shape[0] * self.row_bytes


@final
class Shard:
    """Arrays of one file (.safetensors or .npy), read when they are asked for.

    A worker process that gets a copy opens the file by itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    @cached_property
    def places(self) -> Mapping[str, Place]:
        """The arrays by name, as the file's header has them; that of a .npy file is "values".

        Raises `DataError` for a file that holds none or is damaged.
        """
        try:
            places = _npy(self.path) if self.path.suffix == ".npy" else _safetensors(self.path)
            size = self.path.stat().st_size
            if any(place.end > size for place in places.values()):
                raise ValueError("it ends too early")
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{self.path} does not hold rows such as (images, regions, dim) ({error}). "
                "Fetch or make the file again."
            ) from error
        return places

    def place(self, name: str) -> Place:
        """Where an array lies. Raises `DataError` for a file that does not hold it."""
        if name not in self.places:
            raise DataError(
                f"{self.path} does not hold {name}, but {', '.join(self.places) or 'nothing'}. "
                "Fetch or make the file again."
            )
        return self.places[name]

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays by name, mapped into memory: to look into, not to read many rows from."""
        return {
            name: np.memmap(self.path, place.dtype, "r", place.start, place.shape)
            for name, place in self.places.items()
        }

    def announce(self, name: str, row: int) -> None:
        """Tell the system that a row will be read, so that it fetches what was told together."""
        if hasattr(os, "posix_fadvise"):
            place, file = self.place(name), _opened(self)  # held, or it may be closed meanwhile
            start = place.start + row * place.row_bytes
            os.posix_fadvise(file.number, start, place.row_bytes, os.POSIX_FADV_WILLNEED)

    def read(self, name: str, row: int, out: NDArray[Any]) -> None:
        """Read a row of an array into `out`. Raises `DataError` where the file has no such row."""
        place = self.place(name)
        if hasattr(os, "preadv"):
            file = _opened(self)
            start = place.start + row * place.row_bytes
            got = os.preadv(file.number, [out.data], start) if row < place.shape[0] else -1
        else:
            out[...] = self.arrays[name][row]
            got = out.nbytes
        if got != place.row_bytes:
            raise DataError(
                f"{self.path} has {place.shape[0]:,} rows of {name}, and row {row} cannot be read "
                f"({max(got, 0):,} of {place.row_bytes:,} bytes). Fetch or make the file again."
            )


def gather(
    shards: Sequence[Shard], places: NDArray[np.int64], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Some rows of some arrays: by name, each (places, ...); fractions become float32.

    `places` has the number of a shard and the row there, for each wanted row: (places, 2).
    Raises `DataError` for a file that is damaged or gone.
    """
    where = [(shards[number], row) for number, row in places.tolist()]
    for name in names:
        for shard, row in where:
            shard.announce(name, row)
    return {name: _gather(where, name, shards[0].place(name)) for name in names}


def _gather(where: Sequence[tuple[Shard, int]], name: str, first: Place) -> NDArray[Any]:
    """One array; each row is converted as soon as it is read, while it is near the processor."""
    fractions = first.dtype.kind == "f"
    values = np.empty((len(where), *first.shape[1:]), np.float32 if fractions else first.dtype)
    as_read = None if values.dtype == first.dtype else np.empty((1, *first.shape[1:]), first.dtype)
    for at, (shard, row) in enumerate(where):
        out = values[at : at + 1]
        shard.read(name, row, out if as_read is None else as_read)
        if as_read is not None:
            _convert(as_read, out)
    return values


def _convert(values: NDArray[Any], out: NDArray[np.float32]) -> None:
    """Torch converts half precision many times faster than numpy, but in native order alone."""
    import torch

    if values.dtype.isnative:
        torch.from_numpy(out).copy_(torch.from_numpy(values))
    else:
        out[...] = values


class _Descriptor:
    """An open file that is closed when nobody holds it any more."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@lru_cache(OPEN_FILES)
def _opened(shard: Shard) -> _Descriptor:
    try:
        return _Descriptor(shard.path)
    except OSError as error:
        raise DataError(
            f"{shard.path} cannot be read ({error.strerror}). Fetch or make the file again."
        ) from error


def _npy(path: Path) -> dict[str, Place]:
    values = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(values, np.memmap) or not values.flags.c_contiguous:
        raise ValueError("its values do not lie row by row")
    return {"values": Place(values.shape, values.dtype, values.offset)}


def _safetensors(path: Path) -> dict[str, Place]:
    """The tensors of a safetensors file: a length, a JSON header, and then the bytes."""
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if start > path.stat().st_size:
            raise ValueError("its header is cut off")
        header = json.loads(file.read(start - 8))
    return {
        name: Place(
            tuple(entry["shape"]),
            np.dtype(_NUMPY_TYPES[entry["dtype"]]),
            start + entry["data_offsets"][0],
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }

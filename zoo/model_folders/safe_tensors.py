"""Tensors in a safetensors file: its header is checked whole before anything else is read.

Such a file is the length of a header, the header (JSON: name, dtype, shape and place of each
tensor), and the bytes of the tensors. They are read by ordinary reads: where the file is mapped
into memory, and someone cuts it short meanwhile, the system ends the process.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

DTYPES = {
    "F64": ("float64", 8),
    "F32": ("float32", 4),
    "F16": ("float16", 2),
    "BF16": ("bfloat16", 2),
    "I64": ("int64", 8),
    "I32": ("int32", 4),
    "I16": ("int16", 2),
    "I8": ("int8", 1),
    "U8": ("uint8", 1),
    "BOOL": ("bool", 1),
}
"""What the format calls a dtype: torch's name, and bytes of a number."""
LONGEST_HEADER = 1 << 20  # bytes; a model of a thousand tensors has a tenth of that
MOST_TENSORS = 10_000
MOST_AXES = 8
LONGEST_NAME = 300
PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files of torch.save begin: a zip archive, or the pickle itself."""
CHECKPOINTS = (".bin", ".ckpt", ".pt", ".pth", ".tar")
"""How the names of such files end."""


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in its file, in bytes from the file's beginning, and what it is."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def is_floating_point(self) -> bool:
        """Whether it holds numbers with a fraction."""
        return "float" in DTYPES[self.dtype][0]


@dataclass(frozen=True)
class TensorFile:
    """An open safetensors file whose header is sound, and the place of each tensor in it."""

    path: Path
    file: FileIO
    places: Mapping[str, Place]

    def pieces(self, name: str, size: int = 1 << 24) -> Iterator[bytes]:
        """The bytes of a tensor, at most `size` at once. Raises `WeightsError`."""
        place = self.places[name]
        self.file.seek(place.start)
        for start in range(place.start, place.stop, size):
            piece = bytearray(min(size, place.stop - start))
            self._fill(memoryview(piece))
            yield bytes(piece)

    def tensor(self, name: str) -> Tensor:
        """A tensor, in memory of its own. Raises `WeightsError` when the file was cut short."""
        import torch

        place = self.places[name]
        tensor = torch.empty(place.shape, dtype=getattr(torch, DTYPES[place.dtype][0]))
        content: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        self.file.seek(place.start)
        self._fill(memoryview(content))
        if tensor.dtype == torch.bool and content.size and content.max() > 1:
            raise unreadable(self.path, f"{name} holds other values than true and false")
        return tensor

    def _fill(self, space: memoryview) -> None:
        while len(space):
            try:
                read = self.file.readinto(space)
            except OSError as error:
                raise unreadable(self.path, error.strerror or str(error)) from error
            if not read:
                raise unreadable(self.path, "it was cut short while it was read")
            space = space[read:]


@contextmanager
def opened(path: Path) -> Iterator[TensorFile]:
    """A safetensors file, while the block runs. Raises `WeightsError` unless its header is sound.

    That is: of at most 1 MiB and 10,000 tensors, no name twice, and the tensors one behind another
    from the end of the header to the end of the file.
    """
    if not path.is_file():
        beside = sorted(one for one in path.parent.glob("*") if one.suffix in CHECKPOINTS)
        raise WeightsError(
            f"{path} is not a file. Give the path of a .safetensors file that holds this model's "
            f"weights{f', or {importing(beside[0])}' if beside else ''}."
        )
    with ExitStack() as stack:
        try:  # of this file's errors, and not of those in the block
            file = stack.enter_context(FileIO(path))
            places = _places(file, path)
        except OSError as error:
            raise unreadable(path, error.strerror or str(error)) from error
        yield TensorFile(path, file, places)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises `WeightsError` for one that is not sound."""
    with opened(path) as file:
        return {name: file.tensor(name) for name in file.places}


def unreadable(path: Path, fault: str) -> WeightsError:
    """The error for a file that does not hold what a safetensors file should."""
    return WeightsError(
        f"{path} is not a readable safetensors file ({fault}). "
        "It was cut short or is of another kind: take it again from its source."
    )


def importing(path: Path) -> str:
    """What to do with a checkpoint of another program."""
    return f"make a model folder of {path.name}: zoo import METHOD {path} -o FOLDER"


def _places(file: FileIO, path: Path) -> dict[str, Place]:
    size, start = os.fstat(file.fileno()).st_size, file.read(9)
    named_so = path.suffix in CHECKPOINTS
    if (named_so or start.startswith(PICKLES)) and start[8:] != b"{":
        raise WeightsError(
            f"{path} looks like a checkpoint of torch.save, which may run code when it is opened. "
            f"It stays closed; to read its tensors without that, {importing(path)}"
        )
    length = int.from_bytes(start[:8], "little")
    try:
        file.seek(8)
        if len(start) < 8 or 8 + length > size:
            raise ValueError("its header is cut off")
        if length > LONGEST_HEADER:
            raise ValueError(f"its header has {length:,} bytes, of {LONGEST_HEADER:,} at most")
        return parse(file.read(length), size)
    except (ValueError, RecursionError) as error:
        raise unreadable(path, str(error) or type(error).__name__) from error


def parse(header: bytes, size: int) -> dict[str, Place]:
    """The tensors that a header tells of, in the order of their places.

    `size` is that of the file. Raises `ValueError`, or `RecursionError`, for one that is not sound.
    """
    if not header.startswith(b"{"):
        raise ValueError("its header is no JSON object")
    entries = json.loads(header.decode(), object_pairs_hook=_object)
    _check_metadata(entries.pop("__metadata__", {}))
    if len(entries) > MOST_TENSORS:
        raise ValueError(f"it has {len(entries):,} tensors, of {MOST_TENSORS:,} at most")
    first = 8 + len(header)
    places = {name: _place(name, entry, first) for name, entry in entries.items()}
    places = dict(sorted(places.items(), key=lambda named: (named[1].start, named[1].stop)))
    ends = [first, *(place.stop for place in places.values())]
    starts = [*(place.start for place in places.values()), size]
    for name, end, start in zip([*places, "the end"], ends, starts, strict=True):
        if start != end:
            raise ValueError(f"{name} begins at byte {start} of the file, and not at {end}")
    return places


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) < len(pairs):
        raise ValueError("its header has a name twice")
    return named


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its header has metadata other than texts")


def _place(name: str, entry: Any, first: int) -> Place:
    if not name.isprintable() or len(name) > LONGEST_NAME:
        raise ValueError(f"a tensor has the name {name[:50]!a}, of {len(name)} characters")
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{name} is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{name} has a dtype that is none of {', '.join(DTYPES)}")
    if not _are_counts(shape) or len(shape) > MOST_AXES:
        raise ValueError(f"{name} has a shape that is none")
    if not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"{name} has no place")
    if math.prod(shape) * DTYPES[dtype][1] != offsets[1] - offsets[0]:
        raise ValueError(f"{name} has a shape and a place that do not fit each other")
    return Place(dtype, tuple(shape), first + offsets[0], first + offsets[1])


def _are_counts(values: Any) -> bool:
    """Whether it is a list of whole numbers from 0 on that a file on a disk can have."""
    return isinstance(values, list) and all(type(v) is int and 0 <= v < 1 << 48 for v in values)

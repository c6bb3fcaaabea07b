"""The two forms of a `torch.save`: a zip archive, and before torch 1.6 pickles one after another.

Either way there is a pickle that says what is there, and blocks of numbers that it refers to.
"""

from __future__ import annotations

import io
import struct
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..pickles import Machine
from .stand_ins import CALLS, INERT, Storage, StoredTensor, storage

LARGEST_PICKLE = 64 << 20  # bytes; a vocabulary of 11,000 words takes a few hundred kB
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


class Archive(ABC):
    """A saved file: what its pickle says, and the numbers that tensors have.

    content: with a `StoredTensor` in place of each tensor
    """

    content: Any

    def __init__(self) -> None:
        self._blocks: dict[str, Tensor] = {}
        self.known: dict[str, Storage] = {}

    @abstractmethod
    def _read(self, key: str, size: int) -> bytes:
        """The bytes of a block; raises `ValueError` unless there are so many."""

    def tensor(self, stored: StoredTensor) -> Tensor:
        """A tensor with its numbers; tensors that shared their numbers share them again."""
        block = stored.storage
        if block.key not in self._blocks:
            data = bytearray(self._read(block.key, block.count * block.kind.itemsize))
            empty = torch.empty(0, dtype=block.kind)  # of which `frombuffer` makes none
            self._blocks[block.key] = torch.frombuffer(data, dtype=block.kind) if data else empty
        return self._blocks[block.key].as_strided(stored.shape, stored.stride, stored.offset)

    def machine(self) -> Machine:
        """A machine that reads a pickle of such a file."""
        return Machine(CALLS.get, INERT, self._refer)

    def _refer(self, reference: Any) -> Storage:
        found = storage(reference)
        if self.known.setdefault(found.key, found) != found:
            raise ValueError(f"it has two blocks of numbers of the name {found.key!r:.40}")
        return found


class ZipArchive(Archive):
    """The form since torch 1.6: data.pkl, and a member for each block of numbers."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._zip = zipfile.ZipFile(file)
        members = self._zip.infolist()
        size = file.seek(0, io.SEEK_END)
        if any(one.compress_type != zipfile.ZIP_STORED for one in members):
            raise ValueError("its members are compressed, which torch.save never does")
        if sum(one.file_size for one in members) > size:
            raise ValueError("its members are larger than the file")
        self._root = self._only_root([one.filename for one in members])
        if self._text("byteorder", "little") != "little":
            raise ValueError("its numbers have their most significant byte first")
        pickle = io.BytesIO(self._member("data.pkl", LARGEST_PICKLE))
        self.content = self.machine().read(pickle)

    def _read(self, key: str, size: int) -> bytes:
        data = self._member(f"data/{key}", size)
        if len(data) != size:
            raise ValueError(f"a block has {len(data):,} bytes in place of {size:,}")
        return data

    @staticmethod
    def _only_root(names: list[str]) -> str:
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError(f"it has {len(roots)} members data.pkl in place of one")
        return roots[0]

    def _member(self, name: str, most: int) -> bytes:
        size = self._zip.getinfo(self._root + name).file_size
        if size > most:
            raise ValueError(f"{name} has {size:,} bytes, and at most {most:,} are read")
        return self._zip.read(self._root + name)

    def _text(self, name: str, otherwise: str) -> str:
        if self._root + name not in self._zip.namelist():
            return otherwise
        return self._member(name, 64).decode("ascii")


class LegacyArchive(Archive):
    """The form before torch 1.6: three pickles of facts, the content, the blocks' names, blocks."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        file.seek(0)
        head, machine = io.BytesIO(file.read(LARGEST_PICKLE)), self.machine()
        if machine.read(head) != MAGIC or machine.read(head) != PROTOCOL:
            raise ValueError("it does not begin as torch.save does")
        facts = machine.read(head)
        if not isinstance(facts, dict) or facts.get("little_endian") is not True:
            raise ValueError("its numbers have their most significant byte first")
        self.content = machine.read(head)
        keys = machine.read(head)
        self._places = self._found(head.tell(), keys)

    def _found(self, place: int, keys: Any) -> Mapping[str, tuple[int, int]]:
        """Where each block begins, and its size in bytes."""
        places: dict[str, tuple[int, int]] = {}
        for key in keys:
            if not isinstance(key, str):
                raise ValueError(f"it has a {type(key).__name__} as the name of a block")
            self._file.seek(place)
            (count,) = struct.unpack("<q", self._file.read(8))
            if count != self.known[key].count:
                raise ValueError(f"a block has {count:,} numbers in place of its own")
            places[key] = place + 8, count * self.known[key].kind.itemsize
            place += 8 + places[key][1]
        if place > self._file.seek(0, io.SEEK_END):
            raise ValueError("it ends within its numbers")
        return places

    def _read(self, key: str, size: int) -> bytes:
        place, found = self._places[key]
        self._file.seek(place)
        data = self._file.read(size) if found == size else b""
        if len(data) != size:
            raise ValueError("it ends within its numbers")
        return data


def open_archive(file: BinaryIO) -> Archive:
    """The archive in a file, in whichever form.

    Raises `pickles.Strange` for one that asks for more than data; a damaged one raises whatever it
    likes.
    """
    file.seek(0)
    return ZipArchive(file) if file.read(4) == b"PK\x03\x04" else LegacyArchive(file)

"""What the pickle of a checkpoint may name, and what stands in for it here."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..pickles import Name, Standin, plain_key

_KINDS = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
KINDS: Mapping[str, torch.dtype] = _KINDS | {
    name.replace("torch.", "torch.cuda."): kind for name, kind in _KINDS.items()
}
"""The numbers in a block, by what the pickle calls it; that it lay on a GPU is of no matter."""

NUMBERS = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"} | {
    f"{sign}{size}": code if sign == "i" else code.upper()
    for sign in "iu"
    for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
}
"""NumPy's names of the kinds of numbers, and `struct`'s."""


@dataclass(frozen=True)
class Storage:
    """A block of numbers that lies elsewhere in the file."""

    kind: torch.dtype
    key: str
    count: int


@dataclass(frozen=True)
class StoredTensor:
    """A tensor whose numbers are not read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Options(dict[str, Any], Standin):
    """Stands in for `argparse.Namespace`: the options that a program was run with, by name."""

    def __init__(self) -> None:  # else a dict takes any pairs
        super().__init__()

    def build(self, state: Any) -> None:
        """Take the options."""
        self.update({name: value for name, value in state.items() if isinstance(name, str)})


class NumberKind(Standin):
    """Stands in for a NumPy dtype of one number."""

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str):
            raise ValueError(f"it has a {type(name).__name__} where a kind of numbers is wanted")
        self.code = NUMBERS[name]

    def build(self, state: Any) -> None:
        """Refuse another order of bytes than this machine's and all checkpoints'."""
        if state[1] == ">":
            raise ValueError("its numbers have their most significant byte first")


def storage(reference: Any) -> Storage:
    """A reference to a block of numbers, as both forms of `torch.save` write it."""
    what, kind, key, _, count, *view = reference
    if what != "storage" or not isinstance(kind, Name) or any(one is not None for one in view):
        raise ValueError("it refers to something that is no block of numbers")
    if not isinstance(key, str) or type(count) is not int or count < 0:
        raise ValueError("it refers to a block of numbers without a name or a size")
    return Storage(KINDS[kind.path], key, count)


def _tensor(block: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    """A tensor within its block: no number is read from beyond it, and none twice."""
    numbers = (offset, *shape, *stride)
    if not isinstance(block, Storage) or any(type(one) is not int or one < 0 for one in numbers):
        raise ValueError("it has a tensor without a block of numbers, or of a shape that is none")
    if len(shape) != len(stride) or len(shape) > 8 or math.prod(shape) > block.count:
        raise ValueError("it has a tensor of more numbers than its block holds")
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if math.prod(shape) and offset + last >= block.count:
        raise ValueError("it has a tensor that reaches beyond its block of numbers")
    return StoredTensor(block, offset, tuple(shape), tuple(stride))


def _parameter(tensor: Any, *_: Any) -> StoredTensor:
    if not isinstance(tensor, StoredTensor):
        raise ValueError("it has a parameter that is no tensor")
    return tensor


def _ordered(*items: Any) -> dict[str, Any]:
    return {plain_key(name): value for pairs in items for name, value in pairs}


def _number(kind: Any, content: Any) -> Any:
    return struct.unpack(f"<{kind.code}", _bytes(content))[0]


def _bytes(content: Any, encoding: Any = "latin1") -> bytes:
    if isinstance(content, str) and encoding in ("latin1", "latin-1"):
        return content.encode("latin1")
    if not isinstance(content, bytes):
        raise ValueError(f"it has a {type(content).__name__} where bytes are wanted")
    return content


CALLS: Mapping[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered,
    "argparse.Namespace": Options,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "numpy.dtype": NumberKind,
    "numpy.core.multiarray.scalar": _number,
    "numpy._core.multiarray.scalar": _number,
    "_codecs.encode": _bytes,
}
INERT = frozenset(KINDS)

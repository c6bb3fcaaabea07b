"""A pickled array of dicts of numbers, read without running anything that the pickle names."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, final

import numpy as np


def read_entries(file: BinaryIO) -> Sequence[Any]:
    """The entries of the object array whose pickle begins here.

    Raises `ValueError` for a pickle that names anything but arrays, dtypes and numbers.
    """
    try:
        array = _Inert(file, encoding="latin1").load()
    except (pickle.UnpicklingError, AttributeError, TypeError, EOFError, IndexError) as error:
        raise ValueError(f"it holds a pickle that is not read: {error}") from error
    if not isinstance(array, _Array):
        raise ValueError(f"it holds a pickle of {type(array).__name__}")
    return array.entries


class _Array:
    """Stands for a pickled array: keeps the list that is its content."""

    entries: Sequence[Any] = ()

    def __init__(self, *_: Any) -> None:
        """What an array is made of arrives as its state."""

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.entries = state[-1]


class _Type:
    """Stands for a pickled dtype: keeps its name, then also its order of bytes."""

    def __init__(self, name: str, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.name = state[1] + self.name


def _scalar(kind: _Type, content: bytes | str) -> Any:
    return np.frombuffer(_encode(content), np.dtype(kind.name)).item()


def _encode(content: bytes | str, *_: Any) -> bytes:
    return content.encode("latin1") if isinstance(content, str) else content


_STANDS_FOR: Mapping[str, Callable[..., Any]] = {
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "numpy.core.multiarray._reconstruct": _Array,
    "numpy._core.multiarray._reconstruct": _Array,
    "numpy.core.multiarray.scalar": _scalar,
    "numpy._core.multiarray.scalar": _scalar,
    "_codecs.encode": _encode,
}


@final
class _Inert(pickle.Unpickler):
    """Knows stand-ins, and refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STANDS_FOR[f"{module}.{name}"]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}") from None

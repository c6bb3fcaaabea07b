"""Features that lie image by image: every image has regions of its own, as many as it has."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from .features import FeatureSource, to_regions

if TYPE_CHECKING:
    from ..batch import Regions

SAMPLED = 16
Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Single:
    """What lies there for one image.

    features: (regions, dim)
    boxes:    (regions, 4), x1 y1 x2 y2 in pixels, or None
    size:     width and height in pixels, or None
    """

    features: NDArray[Any]
    boxes: NDArray[Any] | None = None
    size: tuple[float, float] | None = None


class Reader(ABC):
    """Images one by one, by number.

    ids:     of the images
    lengths: how many bytes lie there for each image: (images,)
    """

    ids: tuple[str, ...]
    lengths: NDArray[np.int64]

    @abstractmethod
    def where(self, number: int) -> str:
        """The place of an image, in words for a message."""

    @abstractmethod
    def count(self, number: int) -> int:
        """How many regions an image has, found without reading all of them."""

    @abstractmethod
    def read(self, number: int) -> Single:
        """What lies there for an image. Raises `ValueError` or `OSError` where it is damaged."""


@final
class SeparateFeatures(FeatureSource):
    """Images that a reader reads one by one; a batch is padded to its longest image."""

    def __init__(
        self, reader: Reader, ids: Sequence[str], numbers: NDArray[np.int64], fingerprint: str
    ) -> None:
        """Image n of `ids` has the number `numbers[n]` with the reader."""
        self.reader, self.ids, self.numbers = reader, tuple(ids), numbers
        self.fingerprint = fingerprint

    @classmethod
    def all_of(cls, reader: Reader) -> SeparateFeatures:
        """Every image that the reader has, under its own id.

        The fingerprint is of the ids, of how many bytes lie there for each image, and of the
        features and boxes of 16 images.
        """
        source = cls(reader, reader.ids, np.arange(len(reader.ids)), "")
        digest = hashlib.sha256("\n".join(reader.ids).encode() + reader.lengths.tobytes())
        for number in np.unique(np.linspace(0, len(source) - 1, SAMPLED, dtype=np.int64)).tolist():
            single = source._read(number)
            digest.update(single.features.tobytes())
            digest.update(b"" if single.boxes is None else single.boxes.tobytes())
        source.fingerprint = digest.hexdigest()
        return source

    @property
    def regions(self) -> int:
        return self._longest

    @property
    def dim(self) -> int:
        return int(self._first.features.shape[1])

    @property
    def has_boxes(self) -> bool:
        return self._first.boxes is not None

    def rows(self, indices: ArrayLike) -> Regions:
        chosen = self.numbers[np.asarray(indices, dtype=np.int64)].tolist()
        singles = [self._read(number) for number in chosen]
        counts = np.array([len(single.features) for single in singles], dtype=np.int64)
        longest = counts.max(initial=1)
        arrays: dict[str, NDArray[Any]] = {
            "features": np.zeros((len(singles), longest, self.dim), np.float32),
            "mask": np.arange(longest)[None] < counts[:, None],
        }
        if self.has_boxes:
            arrays["boxes"] = np.zeros((len(singles), longest, 4), np.float32)
        if self._first.size is not None:
            arrays["sizes"] = np.array([one.size for one in singles], np.float32).reshape(-1, 2)
        for row, (single, count) in enumerate(zip(singles, counts, strict=True)):
            arrays["features"][row, :count] = single.features
            if self.has_boxes:
                arrays["boxes"][row, :count] = single.boxes
        return to_regions(arrays)

    def select(self, ids: Sequence[str]) -> SeparateFeatures:
        return SeparateFeatures(self.reader, ids, self.numbers[self.find(ids)], self.fingerprint)

    def numbered(self, ids: Sequence[str], numbers: NDArray[np.int64]) -> SeparateFeatures:
        """The same features under other ids: image n of `ids` has the number `numbers[n]`."""
        return SeparateFeatures(self.reader, ids, self.numbers[numbers], self.fingerprint)

    @cached_property
    def _longest(self) -> int:
        return max(self._try(self.reader.count, number) for number in self.numbers.tolist())

    @cached_property
    def _first(self) -> Single:
        single = self._try(self.reader.read, int(self.numbers[0]))
        if single.features.ndim != 2:
            raise self._unlike(int(self.numbers[0]), single.features.shape, "(regions, dim)")
        return single

    def _read(self, number: int) -> Single:
        """One image, which must have what the first one has."""
        single = self._try(self.reader.read, number)
        wanted = (len(single.features), self.dim)
        if single.features.shape != wanted or not len(single.features):
            raise self._unlike(number, single.features.shape, f"(regions, {self.dim})")
        if self.has_boxes:
            found = None if single.boxes is None else single.boxes.shape
            if found != (wanted[0], 4):
                raise self._unlike(number, found, f"{(wanted[0], 4)} for boxes")
        if self._first.size is not None and single.size is None:
            raise self._unlike(number, None, "a width and a height")
        return single

    def _try(self, look: Callable[[int], Result], number: int) -> Result:
        try:
            return look(number)
        except (ValueError, OSError, KeyError, EOFError, TypeError) as error:
            raise DataError(
                f"{self.reader.where(number)} cannot be read ({error}). Fetch the file again."
            ) from error

    def _unlike(self, number: int, found: object, wanted: str) -> DataError:
        return DataError(
            f"{self.reader.where(number)} has {found} where the other images have {wanted}. "
            "Fetch the features of all images from one source."
        )

"""Region features as a data set offers them, wherever and however they lie on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from ..batch import Regions


class FeatureSource(ABC):
    """Region features of many images, by row; what is read becomes `Regions` in float32.

    ids:         of the images, in the order of their rows
    fingerprint: a SHA-256 that changes with the features
    weights:     the fingerprint of the extractor's weights, empty where it is not known
    """

    ids: tuple[str, ...]
    fingerprint: str
    weights: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    @abstractmethod
    def regions(self) -> int:
        """The most regions that an image has, real ones or padding."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """How many features a region has."""

    @property
    @abstractmethod
    def has_boxes(self) -> bool:
        """Whether every region's box is known."""

    @abstractmethod
    def rows(self, indices: ArrayLike) -> Regions:
        """The features of some images, by their row numbers and in that order.

        Raises `DataError` for a file that is damaged.
        """

    @abstractmethod
    def select(self, ids: Sequence[str]) -> FeatureSource:
        """The same features for some of the images, in the order of `ids`; nothing is copied.

        Raises `DataError` when an image has no features here.
        """

"""Region features as a data set offers them, wherever and however they lie on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError

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

    def find(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The rows of some images: (len(ids),). Raises `DataError` when an image is not there."""
        rows = {image: row for row, image in enumerate(self.ids)}
        missing = [image for image in ids if image not in rows]
        if missing:
            raise DataError(
                f"{len(missing):,} of {len(ids):,} images have no features, the first is "
                f"{missing[0]!r}. Extract the features of all pictures of the split."
            )
        return np.array([rows[image] for image in ids], dtype=np.int64)


def to_regions(arrays: Mapping[str, NDArray[Any]]) -> Regions:
    """Arrays by the names of the fields of `Regions`; all regions are real without a mask."""
    import torch

    from ..batch import Regions

    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    features = tensors.pop("features").float()
    mask = tensors.pop("mask", torch.ones(features.shape[:2], dtype=torch.bool))
    return Regions(features, mask, **tensors)

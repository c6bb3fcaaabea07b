"""Features in one large .npy file, as the field's data sets have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .layouts import Listing
from .shards import Shard
from .store import FeatureStore

COMPARED = 16


def open_array(path: Path, listing: Listing) -> FeatureStore:
    """Features (rows, regions, dim) with a row for each image, or one for each caption.

    In the second form the rows of one image are equal. That is how they are told apart: by their
    number, and by comparing some rows, never by the name of the split. Nothing is read whole.
    Raises `DataError` when the rows fit the captions in neither form.
    """
    features = Shard(path).arrays["features"]
    images, captions = len(listing.image_ids), len(listing.captions)
    if len(features) not in (images, captions):
        raise DataError(
            f"{path} has {len(features):,} rows for {images:,} images with {captions:,} captions. "
            "Give features with a row for each image, or for each caption."
        )
    if len(features) == images:
        rows = np.arange(images)
    else:
        _, rows = np.unique(listing.caption_images, return_index=True)
        _check_repetition(path, features, listing.caption_images, rows)
    _check_difference(path, features, rows)
    return FeatureStore.from_array(path, listing.image_ids, rows)


def _check_repetition(
    path: Path, features: NDArray[Any], caption_images: NDArray[np.int64], firsts: NDArray[np.int64]
) -> None:
    """The last row of an image must equal its first."""
    lasts = len(caption_images) - 1 - np.unique(caption_images[::-1], return_index=True)[1]
    for image in _sample(len(firsts)):
        if not np.array_equal(features[firsts[image]], features[lasts[image]]):
            raise DataError(
                f"{path} has a row for each caption, but rows {firsts[image]} and {lasts[image]} "
                "of one image differ. Check that the features and the ids are of the same split."
            )


def _check_difference(path: Path, features: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Images that follow each other must differ, or the ids are of captions and not of images."""
    sample = _sample(len(rows) - 1)
    equal = [np.array_equal(features[rows[n]], features[rows[n + 1]]) for n in sample]
    if sum(equal) > len(sample) / 2:
        raise DataError(
            f"{path} has equal rows for different images ({sum(equal)} of {len(sample)} that were "
            "compared). Check that the ids are those of images, not of captions."
        )


def _sample(count: int) -> NDArray[np.int64]:
    """Some numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(COMPARED, count)).astype(np.int64))

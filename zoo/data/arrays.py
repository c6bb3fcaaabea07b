"""Features in one large .npy file, with boxes and sizes beside it, as the field has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import DataError
from .features import FeatureSource, to_regions
from .shards import Shard, gather
from .side_files import find_side_files, read_sizes

if TYPE_CHECKING:
    from ..batch import Regions
    from .layouts import Listing

COMPARED = 16
SAMPLED = 64


@dataclass(frozen=True, eq=False)
class Column:
    """One array of which each image has a row, and which row that is: (images,)."""

    shard: Shard
    rows: NDArray[np.int64]

    def read(self, images: NDArray[np.int64]) -> NDArray[Any]:
        """The values of some images, in that order."""
        places = np.stack([np.zeros_like(images), self.rows[images]], 1)
        return gather([self.shard], places, ["values"])["values"]


@final
class ArrayFeatures(FeatureSource):
    """Features of a .npy file, and boxes of another if there are any; sizes are in memory."""

    def __init__(
        self,
        ids: Sequence[str],
        columns: Mapping[str, Column],
        sizes: NDArray[np.float32] | None,
        fingerprint: str,
    ) -> None:
        """`columns` are features and perhaps boxes, `sizes` of all images: (images, 2)."""
        self.ids, self.fingerprint = tuple(ids), fingerprint
        self.columns, self.sizes = dict(columns), sizes

    @property
    def regions(self) -> int:
        return self.columns["features"].shard.place("values").shape[1]

    @property
    def dim(self) -> int:
        return self.columns["features"].shard.place("values").shape[2]

    @property
    def has_boxes(self) -> bool:
        return "boxes" in self.columns

    def rows(self, indices: ArrayLike) -> Regions:
        images = np.asarray(indices, dtype=np.int64)
        arrays = {name: column.read(images) for name, column in self.columns.items()}
        if "boxes" in arrays:
            arrays["boxes"] = arrays["boxes"].astype(np.float32)
        if self.sizes is not None:
            arrays["sizes"] = self.sizes[images]
        return to_regions(arrays)

    def select(self, ids: Sequence[str]) -> ArrayFeatures:
        chosen = self.find(ids)
        columns = {name: Column(one.shard, one.rows[chosen]) for name, one in self.columns.items()}
        sizes = None if self.sizes is None else self.sizes[chosen]
        return ArrayFeatures(ids, columns, sizes, self.fingerprint)


def open_array(path: Path, listing: Listing) -> ArrayFeatures:
    """Features (rows, regions, dim) with a row for each image, or one for each caption.

    In the second form the rows of one image are equal. That is how they are told apart: by their
    number, and by comparing some rows, never by the name of the split. Boxes and sizes that lie
    beside the features, under one of their known names, are read in the same way. Nothing is read
    whole: of these many gigabytes, the fingerprint is of the shape, of 64 rows of features and of
    boxes, and of all sizes.
    Raises `DataError` when the rows fit the captions in neither form.
    """
    features = _column(path, listing, "features", 3)
    values = features.shard.arrays["values"]
    _check_difference(path, values, features.rows)
    content = f"{values.shape} {values.dtype}".encode() + _sampled(values)
    columns = {"features": features}
    beside = find_side_files(path)
    if "boxes" in beside:
        columns["boxes"] = _column(beside["boxes"], listing, "boxes", 3)
        _check_boxes(beside["boxes"], columns["boxes"].shard, path, values.shape)
        content += _sampled(columns["boxes"].shard.arrays["values"])
    sizes = None
    if "sizes" in beside:
        sizes = read_sizes(beside["sizes"])
        sizes = sizes[image_rows(beside["sizes"], len(sizes), listing, "sizes")]
        content += sizes.tobytes()
    return ArrayFeatures(listing.image_ids, columns, sizes, hashlib.sha256(content).hexdigest())


def _column(path: Path, listing: Listing, what: str, axes: int) -> Column:
    shard = Shard(path)
    place = shard.place("values")
    if len(place.shape) != axes or not place.shape[0]:
        raise DataError(
            f"{path} has the shape {place.shape}, and {what} are (images, regions, dim). "
            "Fetch the file again."
        )
    rows = image_rows(path, place.shape[0], listing, what)
    if place.shape[0] != len(rows):
        _check_repetition(path, shard.arrays["values"], listing.caption_images)
    return Column(shard, rows)


def image_rows(path: Path, count: int, listing: Listing, what: str) -> NDArray[np.int64]:
    """The row of each image, where there are so many rows: (images,)."""
    images, captions = len(listing.image_ids), len(listing.captions)
    if count == images:
        return np.arange(images)
    described, firsts = np.unique(listing.caption_images, return_index=True)
    if count != captions or len(described) != images:
        raise DataError(
            f"{path} has {count:,} rows for {images:,} images with {captions:,} captions. "
            f"Give {what} with a row for each image, or for each caption."
        )
    return firsts.astype(np.int64)


def _check_repetition(path: Path, values: NDArray[Any], caption_images: NDArray[np.int64]) -> None:
    """The last row of an image must equal its first."""
    firsts = np.unique(caption_images, return_index=True)[1]
    lasts = len(caption_images) - 1 - np.unique(caption_images[::-1], return_index=True)[1]
    for image in _sample(len(firsts)):
        # As bytes, for NaN equals nothing.
        if values[firsts[image]].tobytes() != values[lasts[image]].tobytes():
            raise DataError(
                f"{path} has a row for each caption, but rows {firsts[image]} and {lasts[image]} "
                "of one image differ. Check that the features and the ids are of the same split."
            )


def _check_difference(path: Path, values: NDArray[Any], rows: NDArray[np.int64]) -> None:
    """Images that follow each other must differ, or the ids are of captions and not of images."""
    sample = _sample(len(rows) - 1)
    equal = [np.array_equal(values[rows[n]], values[rows[n + 1]]) for n in sample]
    if sum(equal) > len(sample) / 2:
        raise DataError(
            f"{path} has equal rows for different images ({sum(equal)} of {len(sample)} that were "
            "compared). Check that the ids are those of images, not of captions."
        )


def _check_boxes(path: Path, boxes: Shard, features_path: Path, features: tuple[int, ...]) -> None:
    found, wanted = boxes.place("values").shape[1:], (features[1], 4)
    if found != wanted:
        raise DataError(
            f"{path} has boxes of the shape {found} an image, and {features_path.name} wants "
            f"{wanted}. Fetch both of one source, or move the boxes away."
        )


def _sampled(values: NDArray[Any]) -> bytes:
    rows = np.linspace(0, len(values) - 1, SAMPLED).astype(np.int64)
    return values[rows].tobytes()


def _sample(count: int) -> NDArray[np.int64]:
    """Some numbers below `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(COMPARED, count)).astype(np.int64))

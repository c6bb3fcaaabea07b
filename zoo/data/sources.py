"""Where the region features of a split lie, and in which form: found by the files, not by names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .arrays import open_array
from .features import FeatureSource
from .store import FeatureStore

if TYPE_CHECKING:
    from .layouts import Listing


def find_features(root: Path, split: str, listing: Listing) -> FeatureSource | None:
    """The features of a split that lie beside its captions in `root`, or None.

    Raises `DataError` when those that are there do not fit the listing.
    """
    array = root / f"{split}_ims.npy"
    return open_array(array, listing) if array.is_file() else None


def open_features(path: str | Path, listing: Listing, split: str) -> FeatureSource:
    """The features at `path`, in any form that is known, of a listing's images in their order.

    Raises `DataError` when there are none, or not of every image.
    """
    path = Path(path)
    if path.suffix == ".npy":
        return open_array(path, listing)
    if (path / f"{split}_ims.npy").is_file():
        return open_array(path / f"{split}_ims.npy", listing)
    return select_images(FeatureStore.open(path), listing)


def select_images(source: FeatureSource, listing: Listing) -> FeatureSource:
    """The features of a listing's images, under whichever of their names the source has them all.

    Raises `DataError` when an image has no features there under any name.
    """
    known = set(source.ids)
    for names in _names(listing):
        if known.issuperset(names):
            return source.select(names)
    return source.select(listing.image_ids)


def _names(listing: Listing) -> Iterator[list[str]]:
    """What the images may be called: file with folders, file, its stem, COCO's number in it; id."""
    if listing.file_names is not None:
        files = [PurePosixPath(name) for name in listing.file_names]
        yield [str(file) for file in files]
        yield [file.name for file in files]
        yield [file.stem for file in files]
        numbers = [re.fullmatch(r"(?:COCO_\w+_)?0*(\d+)", file.stem) for file in files]
        if all(numbers):
            yield [number[1] for number in numbers if number]
    yield list(listing.image_ids)

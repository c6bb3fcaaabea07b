"""A split of a data set: images, captions, and which belong together."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from .arrays import open_array
from .features import FeatureSource
from .layouts import Listing, read_listing
from .store import FeatureStore

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_FOLDERS = ("images", "flickr30k-images", "Flicker8k_Dataset")


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split. It has pictures, features, both, or captions alone.

    image_ids:      (images,)
    captions:       (captions,)
    caption_images: (captions,) int64, the row of the image that each caption describes
    image_paths:    (images,), the pictures, or None
    features:       of the images, in their order, or None
    """

    name: str
    split: str
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    caption_images: np.ndarray[Any, np.dtype[np.int64]]
    image_paths: tuple[Path, ...] | None = None
    features: FeatureSource | None = None

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of ids, captions, their map, and the features or the pictures' sizes in bytes.

        Where the files lie does not matter.
        """
        content: Any = None
        if self.features is not None:
            content = self.features.fingerprint
        elif self.image_paths is not None:
            content = [path.stat().st_size for path in self.image_paths]
        parts = [self.image_ids, self.captions, self.caption_images.tolist(), content]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def matches(self) -> Tensor:
        """(images, captions), True where the caption describes the image."""
        import torch

        rows = torch.arange(len(self.image_ids))
        return rows[:, None] == torch.from_numpy(self.caption_images)[None, :]

    def captions_of(self, image_row: int) -> tuple[str, ...]:
        """The captions of one image."""
        rows = np.flatnonzero(self.caption_images == image_row)
        return tuple(self.captions[row] for row in rows)


def open_dataset(path: str | Path, split: str, *, features: str | Path | None = None) -> Dataset:
    """Open a split of the data set in a folder, whichever layout the folder has.

    Captions come from `SPLIT_caps.txt` and `SPLIT_ids.txt`, or else from a Karpathy
    `dataset_NAME.json`; pictures from an images folder beside them; features from the store
    `features`, or else from `SPLIT_ims.npy`, which is not read into memory. The split "val" is the
    same as "dev". Raises `InputError` or `DataError` for a folder that is no data set, lacks the
    split, or contradicts itself.

    >>> dataset = open_dataset("data/flickr8k", "test")                # doctest: +SKIP
    >>> len(dataset.image_ids), len(dataset.captions)                  # doctest: +SKIP
    (1000, 5000)
    """
    folder, split = Path(path), "dev" if split == "val" else split
    listing = read_listing(folder, split)
    array = folder / f"{split}_ims.npy"
    store: FeatureSource | None = None
    if features is not None:
        store = _select(FeatureStore.open(Path(features)), listing)
    elif array.exists():
        store = open_array(array, listing)
    return Dataset(
        listing.name,
        split,
        listing.image_ids,
        listing.captions,
        listing.caption_images,
        _find_pictures(folder, listing, required=store is None),
        store,
    )


def _select(store: FeatureStore, listing: Listing) -> FeatureStore:
    """The features of the split's images, which a store may know by id or by file name."""
    known = set(store.ids)
    names = listing.file_names or ()
    for ids in (names, [Path(name).name for name in names]):
        if ids and known.issuperset(ids):
            return store.select(ids)
    return store.select(listing.image_ids)


def _find_pictures(folder: Path, listing: Listing, required: bool) -> tuple[Path, ...] | None:
    places = [parent / name for parent in (folder, folder.parent) for name in IMAGE_FOLDERS]
    images = next((place for place in places if place.is_dir()), None)
    if images is None or listing.file_names is None:
        return None
    paths = tuple(images / name for name in listing.file_names)
    missing = [path for path in paths if not path.is_file()]
    if missing and required:
        raise DataError(
            f"{len(missing):,} of {len(paths):,} pictures are not there, the first {missing[0]}. "
            f"Put them into {images}, or give features."
        )
    return None if missing else paths

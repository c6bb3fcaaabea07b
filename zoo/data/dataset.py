"""A split of a data set: images, captions, and which belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataError
from .features import FeatureSource
from .layouts import Listing, canonical_split, first_images, recognise
from .layouts.listing import PairRows
from .sources import find_features, open_features

if TYPE_CHECKING:
    from torch import Tensor

IMAGE_FOLDERS = ("images", "flickr30k-images", "Flicker8k_Dataset")


@dataclass(frozen=True, eq=False)
class Dataset:
    """One split. It has pictures, features, both, or captions alone.

    image_ids:   (images,)
    captions:    (captions,)
    pairs:       (pairs, 2) int64, the rows of an image and of a caption that describes it; sorted
                 by caption, then by image; every caption has one at least
    image_paths: (images,), the pictures, or None
    features:    of the images, in their order, or None
    layout:      in which its files lie, in words
    """

    name: str
    split: str
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    pairs: PairRows
    image_paths: tuple[Path, ...] | None = None
    features: FeatureSource | None = None
    layout: str = ""

    @cached_property
    def caption_images(self) -> PairRows:
        """(captions,) int64, the row of the (first) image that each caption describes."""
        return first_images(self.pairs)

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
        described = self.caption_images if len(self.pairs) == len(self.captions) else self.pairs
        parts = [self.image_ids, self.captions, described.tolist(), content]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def matches(
        self, images: Sequence[int] | None = None, captions: Sequence[int] | None = None
    ) -> Tensor:
        """(images, captions), True where the caption describes the image; of all, or of some rows.

        A row of `images` or `captions` may come more than once.
        """
        import torch

        chosen = np.arange(len(self.image_ids)) if images is None else np.asarray(images)
        described = self._described if captions is None else self._described[list(captions)]
        matches = np.zeros((len(chosen), len(described)), dtype=bool)
        for column in described.T:  # no array of all three sizes
            matches |= chosen[:, None] == column[None, :]
        return torch.from_numpy(matches)

    @cached_property
    def _described(self) -> PairRows:
        """(captions, most images of a caption), the rows of its images; -1 is none."""
        _, starts, counts = np.unique(self.pairs[:, 1], return_index=True, return_counts=True)
        described = np.full((len(counts), counts.max(initial=1)), -1)
        places = np.arange(len(self.pairs)) - np.repeat(starts, counts)
        described[self.pairs[:, 1], places] = self.pairs[:, 0]
        return described

    def captions_of(self, image_row: int) -> tuple[str, ...]:
        """The captions of one image."""
        rows = self.pairs[self.pairs[:, 0] == image_row, 1]
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
    found, split = recognise(path, split), canonical_split(split)
    listing = found.read(split)
    source = (
        find_features(found.root, split, listing)
        if features is None
        else open_features(features, listing, split)
    )
    return Dataset(
        listing.name,
        split,
        listing.image_ids,
        listing.captions,
        listing.pairs,
        _find_pictures(found.root, listing, required=source is None),
        source,
        found.words(split),
    )


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

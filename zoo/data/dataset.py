"""A split of a data set: images, captions, and which belong together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .features import FeatureSource
from .layouts import PairRows, canonical_split, first_images, recognise
from .picture_folders import find_pictures
from .side_files import find_side_files
from .sources import features_beside, open_features

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """One split. It has pictures, features, both, or captions alone.

    image_ids:   (images,)
    captions:    (captions,)
    pairs:       (pairs, 2) int64, the rows of an image and of a caption that describes it; sorted
                 by caption, then by image; every caption has one at least
    image_paths: (images,), the pictures, or None
    features:    of the images, in their order, or None
    layout:      in which its files lie, in words
    side_files:  what else lies beside them, by kind ("parses", "overlaps"; docs/features.md)
    """

    name: str
    split: str
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    pairs: PairRows
    image_paths: tuple[Path, ...] | None = None
    features: FeatureSource | None = None
    layout: str = ""
    side_files: Mapping[str, Path] = field(default_factory=dict)

    def __repr__(self) -> str:
        """In a line, whatever its size.

        >>> open_dataset("flickr8k", split="test")  # doctest: +SKIP
        Dataset(f8k test: 1,000 images, 5,000 captions, photographs)
        """
        counts = f"{len(self.image_ids):,} images, {len(self.captions):,} captions"
        seen = [", photographs" if self.image_paths else "", ", features" if self.features else ""]
        return f"Dataset({self.name} {self.split}: {counts}{''.join(seen)})"

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
    """Open a split of the data set in a folder, whichever layout of docs/data.md the folder has.

    path:     the folder of a data set, one around it that holds no other, or one caption file
    split:    "train", "dev" (or "val"), "test", "testall", or another that the files name; "all" is
              the one split of files that name none
    features: of the images, in any form of docs/features.md; by default those beside the captions.
              They stay on the disk, and batches of them are read

    Pictures are found in an images folder beside the captions. Raises `InputError` for a folder
    that is no data set, holds several, or lacks the split, and `DataError` for files that are
    damaged or contradict each other.

    >>> dataset = open_dataset("data/flickr8k", "test")                # doctest: +SKIP
    >>> len(dataset.image_ids), len(dataset.captions), dataset.layout  # doctest: +SKIP
    (1000, 5000, 'SCAN precomp: test_caps.txt, test_ids.txt')
    """
    found, split = recognise(path, split), canonical_split(split)
    listing = found.read(split)
    if features is None:
        source = features_beside(found, split, listing)
    else:
        source = open_features(features, listing, split)
    return Dataset(
        listing.name,
        split,
        listing.image_ids,
        listing.captions,
        listing.pairs,
        find_pictures(found, listing, required=source is None),
        source,
        found.words(split),
        find_side_files(found.root / f"{split}_ims.npy"),
    )

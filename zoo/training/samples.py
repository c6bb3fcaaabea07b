"""What an epoch consists of and in which order: a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import Sampler

from ..data.dataset import Dataset
from .seeds import generator

Place = tuple[int, int]
"""An epoch and the index of an item in the data set."""


@dataclass(frozen=True)
class Sample:
    """One image with some of its captions, by their rows in the data set."""

    epoch: int
    image: int
    captions: tuple[int, ...]


class TrainingSet(TorchDataset[Sample]):
    """The samples of an epoch: one a caption, or one an image with some of its captions.

    A caption of several images comes once with each of them.

    Which captions an image brings is a function of (seed, epoch, image).
    """

    metainfo: Mapping[str, Any] = {}

    def __init__(
        self,
        dataset: Dataset,
        *,
        by: Literal["caption", "image"] = "caption",
        captions_per_image: int = 1,
        seed: int = 0,
    ) -> None:
        self.dataset, self.by = dataset, by
        self.captions_per_image, self.seed = captions_per_image, seed
        images, captions = dataset.pairs[np.argsort(dataset.pairs[:, 0], kind="stable")].T
        starts = np.searchsorted(images, np.arange(len(dataset.image_ids)))
        self.captions_of = np.split(captions, starts[1:])
        self.described = [row for row, own in enumerate(self.captions_of) if len(own)]

    def __len__(self) -> int:
        return len(self.dataset.pairs) if self.by == "caption" else len(self.described)

    def __getitem__(self, place: Place) -> Sample:
        epoch, index = place
        if self.by == "caption":
            image, caption = self.dataset.pairs[index].tolist()
            return Sample(epoch, image, (caption,))
        image = self.described[index]
        own = self.captions_of[image]
        chosen = generator(self.seed, "captions", epoch, image).permutation(own)
        return Sample(epoch, image, tuple(chosen[: self.captions_per_image].tolist()))


class EpochSampler(Sampler[Place]):
    """Yields (epoch, index) in an order that is a function of (seed, epoch).

    `start_at` sets the epoch, and a number of items that a resumed run has already seen.
    """

    def __init__(self, length: int, seed: int) -> None:
        self.length, self.seed = length, seed
        self.epoch, self.seen = 0, 0

    def __len__(self) -> int:
        return self.length

    def start_at(self, epoch: int, seen: int = 0) -> None:
        """Set where the next iteration begins."""
        self.epoch, self.seen = epoch, seen

    def __iter__(self) -> Iterator[Place]:
        order = generator(self.seed, "order", self.epoch).permutation(self.length)
        return iter([(self.epoch, int(index)) for index in order[self.seen :]])

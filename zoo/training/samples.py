"""What an epoch consists of and in which order: a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
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

    def lengths(self, epoch: int) -> NDArray[np.int64]:
        """How many words the longest caption of each sample of an epoch has."""
        words = [len(caption.split()) for caption in self.dataset.captions]
        samples = (self[epoch, index] for index in range(len(self)))
        return np.array([max(words[row] for row in sample.captions) for sample in samples])


@dataclass(frozen=True)
class Buckets:
    """Batches whose texts are of about the same length, so that little of them is padding.

    Of the random order, `pool` batches at a time are sorted by length; then the batches come in a
    random order. The last batch, if it is not full, stays the last.

    lengths: of the items of an epoch
    """

    lengths: Callable[[int], NDArray[np.int64]]
    batch_size: int
    pool: int

    def __call__(self, order: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.int64]:
        """An order of the items, in another one."""
        lengths, size = self.lengths(epoch)[order], self.batch_size
        full = len(order) // size * size
        pools = [
            start + np.argsort(lengths[start : min(start + self.pool * size, full)], kind="stable")
            for start in range(0, full, self.pool * size)
        ]
        batches = order[np.concatenate(pools)].reshape(-1, size) if full else order[:0]
        mixed = generator(seed, "buckets", epoch).permutation(batches)
        return np.concatenate([mixed.reshape(-1), order[full:]])


class EpochSampler(Sampler[Place]):
    """Yields (epoch, index) in an order that is a function of (seed, epoch).

    `start_at` sets the epoch, and a number of items that a resumed run has already seen.
    """

    def __init__(self, length: int, seed: int, buckets: Buckets | None = None) -> None:
        self.length, self.seed, self.buckets = length, seed, buckets
        self.epoch, self.seen = 0, 0

    def __len__(self) -> int:
        return self.length

    def start_at(self, epoch: int, seen: int = 0) -> None:
        """Set where the next iteration begins."""
        self.epoch, self.seen = epoch, seen

    def __iter__(self) -> Iterator[Place]:
        order = generator(self.seed, "order", self.epoch).permutation(self.length)
        if self.buckets is not None:
            order = self.buckets(order, self.seed, self.epoch)
        return iter([(self.epoch, int(index)) for index in order[self.seen :]])

"""Batches for training as a function of seed, epoch and position: the same for any number of
worker processes, and from any position on.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..batch import Batch, Photos, Regions
from ..data.dataset import Dataset
from ..errors import DataError
from ..interfaces import Pairs
from ..model import MatchingModel
from .gathering import shares
from .samples import Buckets, EpochSampler, Sample, TrainingSet
from .seeds import generator
from .stopping import STOPS


@dataclass(frozen=True)
class Division:
    """How a batch is divided among the processes.

    number, count: of this process, and of all
    whole:         each process prepares its share of the images and of the texts of one batch; if
                   not, its share of the samples, a batch of its own
    """

    number: int = 0
    count: int = 1
    whole: bool = True

    def samples(self, batch: Sequence[Sample]) -> Sequence[Sample]:
        """Those of which this process's batch is made."""
        return batch if self.whole else self._own(batch)

    def items(self, rows: list[int]) -> list[int]:
        """The images or captions, of all in the batch, that this process prepares; one, which
        counts for nothing, where it would have none.
        """
        return list(self._own(rows)) if self.whole else rows

    def _own(self, rows: Sequence[Any]) -> Sequence[Any]:
        sizes = shares(len(rows), self.count)
        start = sum(sizes[: self.number])
        return rows[start : start + sizes[self.number]] or rows[:1]


UNDIVIDED = Division()
GRACE = 30
"""Seconds that a worker still reads ahead once it has got SIGTERM."""


@dataclass(frozen=True)
class TrainingBatch:
    """Prepared images (each once), prepared texts, and which of them belong together.

    Where processes divide a batch, images and texts are those of this process, pairs those of all.
    """

    images: Photos | Regions
    texts: Batch
    pairs: Pairs

    def to(self, device: torch.device | str) -> TrainingBatch:
        """The same batch on another device."""
        return TrainingBatch(self.images.to(device), self.texts.to(device), self.pairs.to(device))

    def pin_memory(self) -> TrainingBatch:
        """The same batch in page-locked memory; a data loader calls this by its name."""
        return TrainingBatch(self.images.pin_memory(), self.texts.pin_memory(), self.pairs)


class Collate:
    """Turns samples into a batch: decodes, augments, tokenizes. Runs in the worker processes.

    The noise of an item depends on the seed, the epoch and the item; an image that comes once
    for each of its captions gets other noise each time. So processes, which `division` is about,
    prepare together what one process would prepare.
    """

    def __init__(
        self,
        model: MatchingModel,
        dataset: Dataset,
        inputs: str,
        seed: int,
        division: Division = UNDIVIDED,
    ) -> None:
        self.model, self.dataset, self.seed, self.division = model, dataset, seed, division
        self.items = image_items(dataset, inputs, model)

    def __call__(self, samples: Sequence[Sample]) -> TrainingBatch:
        """The batch of these samples, in their order, each image and each caption once."""
        samples = self.division.samples(samples)
        first = {sample.image: sample for sample in reversed(samples)}
        images = list(dict.fromkeys(sample.image for sample in samples))
        captions = list(dict.fromkeys(row for sample in samples for row in sample.captions))
        epoch = samples[0].epoch
        own_images, own_captions = self.division.items(images), self.division.items(captions)
        image_noise = [
            generator(self.seed, "image", epoch, image, *first[image].captions)
            for image in own_images
        ]
        text_noise = [generator(self.seed, "text", epoch, row) for row in own_captions]
        texts = [self.dataset.captions[row] for row in own_captions]
        return TrainingBatch(
            self.model.prepare_images(self.items.rows(own_images), image_noise),
            self.model.text_encoder.prepare(texts, text_noise),
            Pairs(
                torch.tensor(images),
                torch.tensor(captions),
                self.dataset.matches(images, captions),
            ),
        )


def training_loader(
    model: MatchingModel,
    dataset: Dataset,
    settings: Mapping[str, Any],
    seed: int,
    division: Division = UNDIVIDED,
    neighbours: int = 1,
) -> DataLoader[Any]:
    """The loader of training batches; `settings` are the recipe's `data`.

    Each of the processes that divide a batch has such a loader, and gets the samples of all.
    There are never more workers than processors, shared with the `neighbours` on this machine.
    Raises `DataError` when the data set has fewer items than one batch.
    """
    samples = TrainingSet(
        dataset,
        by=settings["by"],
        captions_per_image=settings["captions_per_image"],
        seed=seed,
    )
    size, drop_last = settings["batch_size"], settings["drop_last"]
    # No batch depends on the number of workers, so more of them than processors is only a loss.
    workers = min(settings["workers"], max(processors() // neighbours, 1))
    if len(samples) < (size if drop_last else 1):
        raise DataError(
            f"The training split of {dataset.name} has {len(samples)} {settings['by']}s, fewer "
            f"than one batch of {size}. Set data.batch_size={max(len(samples), 1)} or smaller."
        )
    pool = settings.get("bucket")
    buckets = Buckets(samples.lengths, size, pool) if pool else None
    return DataLoader(
        samples,
        batch_size=size,
        sampler=EpochSampler(len(samples), seed, buckets),
        drop_last=drop_last,
        num_workers=workers,
        collate_fn=Collate(model, dataset, settings["inputs"], seed, division),
        pin_memory=model.device.type == "cuda",
        persistent_workers=workers > 0,
        worker_init_fn=_leave_signals_to_the_run,
    )


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def end_workers(loader: DataLoader[Any]) -> None:
    """End the processes that read ahead for a loader, if it has any."""
    workers = getattr(loader, "_iterator", None)
    if workers is not None:
        loader._iterator = None
        workers._shutdown_workers()


def _leave_signals_to_the_run(worker: int) -> None:
    """A worker ends when the run tells it to, not by what the run answers by saving.

    Ctrl-C, and a scheduler, ask all processes at once. SIGTERM, with which Python ends those that
    do not end by themselves, works after `GRACE` seconds.
    """
    del worker
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE))


@dataclass(frozen=True)
class _Pictures:
    paths: Sequence[Path]

    def rows(self, images: Sequence[int]) -> list[Path]:
        return [self.paths[image] for image in images]


def image_items(dataset: Dataset, inputs: str, model: MatchingModel) -> Any:
    """What gives the raw images of some rows: paths of pictures, or a feature store.

    Raises `DataError` where there is none, with the way to have those that the model reads.
    """
    if inputs == "photos":
        if dataset.image_paths is None:
            raise DataError(
                f"The {dataset.split} split of {dataset.name} has no photographs. "
                "Put the images folder beside the captions, or set data.inputs=features."
            )
        return _Pictures(dataset.image_paths)
    if dataset.features is None:
        kind = model.config.features.kind if model.config else "grid"
        remedy = "Extract them (zoo extract IMAGES -o FEATURES) and pass --features FEATURES."
        if kind != "grid":
            remedy = f"Put {dataset.split}_ims.npy beside the captions (docs/features.md)."
        raise DataError(
            f"The {dataset.split} split of {dataset.name} has no {kind} features. {remedy}"
        )
    return dataset.features

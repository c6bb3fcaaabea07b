"""Images and captions of a split, encoded: what a model reads of it, and in which blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bars import Advance
from ..batch import Batch
from ..errors import DataError, InputError
from ..processes import Processes

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..data.features import FeatureSource
    from ..model import MatchingModel

ALONE = Processes()


def encode_image_blocks(
    model: MatchingModel,
    dataset: Dataset,
    start: int = 0,
    *,
    advance: Advance | None = None,
    processes: Processes = ALONE,
) -> Iterator[tuple[int, Batch]]:
    """The images of a split from number `start` on, encoded, as many as are scored at once.

    Each block comes with the number of its first image. Those of the other processes are left out.
    """
    dataset = readable(model, dataset)
    report = part_of(advance, "images", len(dataset.image_ids))
    if report is not None and start:
        report(start // processes.count)
    if dataset.features is not None:
        check_extractor(model, dataset.features)
    size = model.images_at_once
    starts = range(start, len(dataset.image_ids), size)
    for first in starts[processes.number :: processes.count]:
        rows = slice(first, min(first + size, len(dataset.image_ids)))
        if dataset.features is None:
            images: Any = list((dataset.image_paths or ())[rows])
        else:
            images = dataset.features.rows(np.arange(rows.start, rows.stop))
        yield first, model.encode_images(images, advance=report)


def encode_by_length(
    model: MatchingModel,
    captions: tuple[str, ...],
    *,
    advance: Advance | None = None,
    processes: Processes = ALONE,
) -> tuple[NDArray[np.int64], list[Batch]]:
    """Captions encoded in blocks of similar length, and the caption of each encoded row.

    Short captions are then never padded to the longest one of the split. Of several processes,
    each encodes some of the blocks, and all have all of them.
    """
    lengths = [len(model.text_encoder.words(caption)) for caption in captions]
    order = np.argsort(lengths, kind="stable")
    report = part_of(advance, "captions", len(captions))
    parts = [
        order[start : start + model.text_block] for start in range(0, len(order), model.text_block)
    ]
    blocks: dict[int, Batch] = {}
    for number in range(processes.number, len(parts), processes.count):
        chosen = [captions[row] for row in parts[number]]
        blocks[number] = model.encode_texts(chosen, advance=report)
    if processes.count > 1:
        for number in range(len(parts)):
            own = blocks[number].to("cpu") if number in blocks else None
            told = processes.told(own, by=number % processes.count)
            blocks[number] = blocks.get(number, told.to(model.device))
    return order, [blocks[number] for number in range(len(parts))]


def readable(model: MatchingModel, dataset: Dataset) -> Dataset:
    """The data set with that alone which the model reads: its features, or else its photographs.

    Features are read where they have the model's dim, photographs where the model has an
    extractor. Raises `DataError` when there is neither.
    """
    wanted = model.config.features.dim if model.config else None
    found = dataset.features.dim if dataset.features else None
    if found is not None and wanted in (found, None):
        return replace(dataset, image_paths=None)
    if dataset.image_paths is not None and model.extractor is not None:
        return replace(dataset, features=None)
    features = "no features" if found is None else f"features of dim {found}"
    pictures = "no pictures" if dataset.image_paths is None else "pictures"
    wants = f"features of dim {wanted}{' or photographs' if model.extractor is not None else ''}"
    raise DataError(
        f"{dataset.name} ({dataset.split}) has {features} and {pictures}, and the model reads "
        f"{wants}. Give such features (--features), or put the pictures into an images folder "
        "beside the captions for a model that reads photographs, such as chan-f8k."
    )


def check_extractor(model: MatchingModel, features: FeatureSource) -> None:
    """Refuse features that another extractor made: of the right shape, they would mean nothing.

    Raises `InputError`. A store that does not know its extractor, and a model that has none, pass.
    """
    if model.extractor is None or not features.weights:
        return
    from ..vision.extraction import weights_fingerprint

    own = weights_fingerprint(model.extractor)
    if own != features.weights:
        raise InputError(
            f"The features were made by an extractor with the weights {features.weights[:12]}, and "
            f"the model's own has {own[:12]}. Extract them with this model (zoo extract IMAGES -o "
            "FEATURES --model NAME), use the pictures, or leave the model's extractor out."
        )


def for_all(advance: Advance | None, processes: Processes) -> Advance | None:
    """Tells what all processes did, if they do as much as this one."""
    if advance is None or processes.count == 1:
        return advance
    so_far: Counter[str] = Counter()

    def scaled(what: str, done: int, total: int) -> None:
        step = min(done * processes.count, total - so_far[what])
        so_far[what] += step
        advance(what, step, total)

    return scaled


def part_of(advance: Advance | None, what: str, total: int) -> Callable[[int], None] | None:
    """Tells how much of one kind of work is done."""
    return None if advance is None else lambda done: advance(what, done, total)

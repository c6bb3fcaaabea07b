"""Scores of a whole split: what is read, encoded and compared, some images at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .bars import Advance
from .batch import Batch
from .device import multiplies_bfloat16
from .errors import DataError, InputError
from .exact_scoring import ExactScorer
from .scores import HeldScores, ScoresIndex, listing_fingerprint
from .scoring import check_finite, score_rows
from .version import code_version

if TYPE_CHECKING:
    from .data.dataset import Dataset
    from .data.features import FeatureSource
    from .model import MatchingModel

Precision = Literal["exact", "float32"]
"""How pairs are scored.

exact:   in bfloat16, and in float32 wherever that decides the rank of a match (`exact_scoring`)
float32: all in float32
"""


def score_dataset(
    model: MatchingModel, dataset: Dataset, *, advance: Advance | None = None
) -> Tensor:
    """Scores of every image with every caption of a split: (images, captions)."""
    held = HeldScores((len(dataset.image_ids), len(dataset.captions)))
    for rows, _ in score_in_blocks(model, dataset, advance=advance):
        held.append(rows)
    return torch.from_numpy(held.scores)


def score_in_blocks(
    model: MatchingModel,
    dataset: Dataset,
    *,
    done: int = 0,
    precision: Precision = "float32",
    advance: Advance | None = None,
) -> Iterator[tuple[NDArray[np.float32], float]]:
    """Scores of some images at a time, from number `done` on, with all captions.

    Each comes with the seconds that its scoring took, without encoding. All captions are encoded
    and kept; of the images, one block at a time is, but in "exact" scoring all are. The images are
    read as `readable` says, with its errors.
    """
    dataset = readable(model, dataset)
    order, texts = encode_by_length(model, dataset.captions, advance=advance)
    report = _part(advance, "score", len(dataset.image_ids) * len(order))
    if report is not None and done:
        report(done * len(order))
    exact = usable_precision(model, precision) == "exact"
    images = encode_image_blocks(model, dataset, 0 if exact else done, advance=advance)
    if exact:
        by_image = dataset.pairs[np.argsort(dataset.pairs[:, 0], kind="stable")]
        pairs = np.stack([by_image[:, 0], np.argsort(order)[by_image[:, 1]]], axis=1)
        blocks = _exact_rows(model, list(images), texts, pairs, done, report)
    else:
        blocks = _plain_rows(model, images, texts, done, report)
    for rows, seconds in blocks:
        restored = np.empty(rows.shape, np.float32)
        restored[:, order] = rows.numpy()
        yield restored, seconds


def usable_precision(model: MatchingModel, precision: Precision) -> Precision:
    """What a choice comes to: "exact" needs a method that scans, and a machine."""
    able = model.aligner.scans and multiplies_bfloat16(model.device)
    return precision if able else "float32"


def _plain_rows(
    model: MatchingModel,
    images: Iterable[Batch],
    texts: Sequence[Batch],
    first: int,
    report: Callable[[int], None] | None,
) -> Iterator[tuple[Tensor, float]]:
    captions = sum(map(len, texts))
    for block in images:
        started = _now(model)
        rows = torch.empty(len(block), captions)
        score_rows(
            model.aligner, block, texts, rows, first=first, device=model.device, advance=report
        )
        yield rows, _now(model) - started
        first += len(block)


def _exact_rows(
    model: MatchingModel,
    images: Sequence[Batch],
    texts: Sequence[Batch],
    pairs: NDArray[np.int64],
    done: int,
    report: Callable[[int], None] | None,
) -> Iterator[tuple[Tensor, float]]:
    """As `_plain_rows`; `images` are all of them, `pairs` rows of `images` and of `texts`."""
    started = _now(model)
    scorer = ExactScorer(model.aligner, images, texts, torch.from_numpy(pairs), model.device)
    first = 0
    for block in images:
        if first >= done:
            rows = scorer.rows(block, first, advance=report)
            check_finite(rows, first, 0)
            yield rows, _now(model) - started
            started = _now(model)
        first += len(block)


def encode_image_blocks(
    model: MatchingModel, dataset: Dataset, start: int = 0, *, advance: Advance | None = None
) -> Iterator[Batch]:
    """The images of a split from number `start` on, encoded, as many as are scored at once."""
    dataset = readable(model, dataset)
    report = _part(advance, "images", len(dataset.image_ids))
    if report is not None and start:
        report(start)
    if dataset.features is not None:
        check_extractor(model, dataset.features)
    size = model.images_at_once
    for first in range(start, len(dataset.image_ids), size):
        rows = slice(first, min(first + size, len(dataset.image_ids)))
        if dataset.features is None:
            images: Any = list((dataset.image_paths or ())[rows])
        else:
            images = dataset.features.rows(np.arange(rows.start, rows.stop))
        yield model.encode_images(images, advance=report)


def encode_by_length(
    model: MatchingModel, captions: tuple[str, ...], *, advance: Advance | None = None
) -> tuple[NDArray[np.int64], list[Batch]]:
    """Captions encoded in blocks of similar length, and the caption of each encoded row.

    Short captions are then never padded to the longest one of the split.
    """
    lengths = [len(model.text_encoder.words(caption)) for caption in captions]
    order = np.argsort(lengths, kind="stable")
    report = _part(advance, "captions", len(captions))
    blocks: list[Batch] = []
    for start in range(0, len(order), model.text_block):
        chosen = [captions[row] for row in order[start : start + model.text_block]]
        blocks.append(model.encode_texts(chosen, advance=report))
    return order, blocks


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
    from .vision.extraction import weights_fingerprint

    own = weights_fingerprint(model.extractor)
    if own != features.weights:
        raise InputError(
            f"The features were made by an extractor with the weights {features.weights[:12]}, and "
            f"the model's own has {own[:12]}. Extract them with this model (zoo extract IMAGES -o "
            "FEATURES --model NAME), use the pictures, or leave the model's extractor out."
        )


def scores_index(model: MatchingModel, dataset: Dataset, model_sha256: str = "") -> ScoresIndex:
    """What the scores of a split are of, as it is kept beside them."""
    pairs = np.asarray(dataset.pairs)
    return ScoresIndex(
        dataset=dataset.name,
        split=dataset.split,
        data_fingerprint=dataset.fingerprint,
        listing=listing_fingerprint(dataset.image_ids, dataset.captions, pairs),
        image_ids=dataset.image_ids,
        captions=len(dataset.captions),
        model=model.config.name if model.config else "",
        model_fingerprint=model_fingerprint(model),
        model_sha256=model_sha256,
        dtype=model_dtype(model),
        code=code_version(),
    )


def model_fingerprint(model: MatchingModel) -> str:
    """A SHA-256 of the configuration and of all parameters and buffers."""
    digest = hashlib.sha256((model.config.to_json() if model.config else "").encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def model_dtype(model: MatchingModel) -> str:
    """What the model computes in: "float32"."""
    kinds = (tensor.dtype for tensor in model.parameters() if tensor.is_floating_point())
    return str(next(kinds, torch.float32)).removeprefix("torch.")


def _now(model: MatchingModel) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)  # what is still being encoded is no scoring
    return time.monotonic()


def _part(advance: Advance | None, what: str, total: int) -> Callable[[int], None] | None:
    return None if advance is None else lambda done: advance(what, done, total)

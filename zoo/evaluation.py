"""How well a model retrieves, over a whole split: scores, ranks, and what they were measured on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .batch import Batch
from .device import device_words
from .errors import DataError, InputError
from .metrics import retrieval_report
from .scoring import score_all

if TYPE_CHECKING:
    from .data.dataset import Dataset
    from .data.features import FeatureSource
    from .model import MatchingModel

Advance = Callable[[str, int, int], None]
"""Told what is done, how much of it is done now, and how much there is in all."""


@dataclass(frozen=True)
class Evaluation:
    """One measurement: the figures, and everything needed to make them again.

    metrics:          R@1, R@5, R@10 both ways in percent, their sum, median and mean ranks
    ties:             "against": a candidate that scores like the match outranks it
    data_fingerprint: of ids, captions, their map and the pictures or features
    seconds:          encoding and scoring, wall clock
    scoring_seconds:  of that, scoring all pairs of encoded images and captions
    measured_on:      what computed it, for the times to mean something
    parameters:       of the model without its extractor, and all of them
    """

    dataset: str
    split: str
    protocol: str
    images: int
    captions: int
    metrics: dict[str, float]
    data_fingerprint: str
    ties: str = "against"
    dtype: str = "float32"
    device: str = "cpu"
    torch_version: str = torch.__version__
    date: str = ""
    seconds: float = 0.0
    scoring_seconds: float | None = None
    measured_on: str = ""
    parameters: int | None = None
    parameters_with_extractor: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values, figures to two decimals."""
        values = asdict(self)
        values["metrics"] = {name: round(value, 2) for name, value in self.metrics.items()}
        values["seconds"] = round(self.seconds, 1)
        if self.scoring_seconds is not None:
            values["scoring_seconds"] = round(self.scoring_seconds, 2)
        return values


def evaluate(
    model: MatchingModel, dataset: Dataset, *, advance: Advance | None = None
) -> Evaluation:
    """Measure R@K both ways on one split, all its images against all its captions.

    The images are read as `readable` says, with its errors.
    """
    dataset = readable(model, dataset)
    started = time.monotonic()
    encoded = encode_dataset(model, dataset, advance=advance)
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)  # what is still being encoded is no scoring
    ready = time.monotonic()
    scores = score_encoded(model, encoded, advance=advance)
    scored = time.monotonic()
    metrics = retrieval_report(scores, dataset.matches())
    extracting = sum(map(Tensor.numel, model.extractor.parameters())) if model.extractor else 0
    parameters = sum(map(Tensor.numel, model.parameters()))
    return Evaluation(
        dataset=dataset.name,
        split=dataset.split,
        protocol=f"{len(dataset.image_ids)} images, {len(dataset.captions)} captions, no folds",
        images=len(dataset.image_ids),
        captions=len(dataset.captions),
        metrics=metrics,
        data_fingerprint=dataset.fingerprint,
        device=str(model.device),
        date=datetime.now(UTC).date().isoformat(),
        seconds=scored - started,
        scoring_seconds=scored - ready,
        measured_on=device_words(model.device),
        parameters=parameters - extracting,
        parameters_with_extractor=parameters,
    )


def score_dataset(
    model: MatchingModel, dataset: Dataset, *, advance: Advance | None = None
) -> Tensor:
    """Scores of every image with every caption of a split: (images, captions)."""
    return score_encoded(model, encode_dataset(model, dataset, advance=advance), advance=advance)


@dataclass(frozen=True)
class Encoded:
    """A split, encoded; `order` is the caption of each encoded text."""

    images: list[Batch]
    texts: list[Batch]
    order: Tensor


def encode_dataset(
    model: MatchingModel, dataset: Dataset, *, advance: Advance | None = None
) -> Encoded:
    """The images and the captions of a split, in blocks of the size that is scored at once."""
    images = encode_dataset_images(model, dataset, advance=advance)
    order, texts = encode_by_length(model, dataset.captions, advance=advance)
    return Encoded(images, texts, order)


def score_encoded(
    model: MatchingModel, encoded: Encoded, *, advance: Advance | None = None
) -> Tensor:
    """Scores in the order of the captions: (images, captions)."""
    pairs = sum(map(len, encoded.images)) * len(encoded.order)
    scores = score_all(
        model.aligner,
        encoded.images,
        encoded.texts,
        device=model.device,
        advance=_part(advance, "score", pairs),
    )
    restored = torch.empty_like(scores)
    restored[:, encoded.order] = scores
    return restored


def encode_dataset_images(
    model: MatchingModel, dataset: Dataset, *, advance: Advance | None = None
) -> list[Batch]:
    """The images of a split, encoded, in blocks of the size that the model scores at once."""
    dataset = readable(model, dataset)
    report = _part(advance, "images", len(dataset.image_ids))
    if dataset.features is None:
        paths = list(dataset.image_paths or ())
        return model.encode_images(paths, advance=report).split(model.image_block)
    check_extractor(model, dataset.features)
    blocks = []
    for start in range(0, len(dataset.image_ids), model.image_block):
        rows = range(start, min(start + model.image_block, len(dataset.image_ids)))
        blocks.append(model.encode_images(dataset.features.rows(list(rows)), advance=report))
    return blocks


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


def encode_by_length(
    model: MatchingModel, captions: tuple[str, ...], *, advance: Advance | None = None
) -> tuple[Tensor, list[Batch]]:
    """Captions encoded in blocks of similar length, and the caption of each encoded row.

    Short captions are then never padded to the longest one of the split.
    """
    lengths = [len(model.text_encoder.words(caption)) for caption in captions]
    order = sorted(range(len(captions)), key=lengths.__getitem__)
    report = _part(advance, "captions", len(captions))
    blocks: list[Batch] = []
    for start in range(0, len(order), model.text_block):
        chosen = [captions[row] for row in order[start : start + model.text_block]]
        blocks.append(model.encode_texts(chosen, advance=report))
    return torch.tensor(order), blocks


def _part(advance: Advance | None, what: str, total: int) -> Callable[[int], None] | None:
    return None if advance is None else lambda done: advance(what, done, total)

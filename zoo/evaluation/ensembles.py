"""Several models as one: the mean of their scores, from matrices on disk.

The field's ensembles are the mean of two models' scores as they are (Lee et al., Stacked cross
attention, ECCV 2018, and its successors). A model whose scores spread further then has more to
say than the other; with `standardise` each matrix first gets the mean 0 and the deviation 1, which
leaves the ranks of that model alone as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from ..scores import SavedScores, ScoresIndex

ROWS = 128  # images whose scores are in memory at once
ALIKE = ("device", "torch_version", "measured_on", "selection", "seed")
"""Facts of an ensemble where all of its models have the same."""


@dataclass(frozen=True)
class Ensemble:
    """Saved scores of the same images and captions, and how much each counts.

    weights:     of each of the parts; None counts all alike
    standardise: whether each matrix first gets the mean 0 and the deviation 1

    Raises `DataError` for parts of other images, captions or pairs, and `InputError` for weights
    that cannot be used.
    """

    parts: Sequence[SavedScores]
    weights: Sequence[float] | None = None
    standardise: bool = False

    def __post_init__(self) -> None:
        _check_weights(self.weights, len(self.parts))
        check_same_data(self.parts)

    @property
    def shares(self) -> list[float]:
        """The weights, which sum up to 1."""
        weights = [1.0] * len(self.parts) if self.weights is None else self.weights
        return [weight / math.fsum(weights) for weight in weights]

    @property
    def name(self) -> str:
        """Of all parts: "chan-f8k + mfa-f8k"."""
        return " + ".join(part.index.model for part in self.parts)

    def blocks(self, done: int = 0) -> Iterator[NDArray[np.float32]]:
        """The scores of some images at a time, from number `done` on: (images, captions).

        Raises `InputError` where the scores of a part are all the same and would be standardised.
        """
        scales = [_scale(part) if self.standardise else (0.0, 1.0) for part in self.parts]
        matrices = [part.scores for part in self.parts]
        for start in range(done, len(self.parts[0].index.image_ids), ROWS):
            total = np.zeros((), np.float64)
            for matrix, share, (mean, deviation) in zip(matrices, self.shares, scales, strict=True):
                rows = matrix[start : start + ROWS].astype(np.float64)
                total = total + share / deviation * (rows - mean)
            yield total.astype(np.float32)

    def index(self) -> ScoresIndex:
        """What the scores of the ensemble are of, as it is kept beside them."""
        indices = [part.index for part in self.parts]
        made_of: dict[str, Any] = {
            "models": [index.model for index in indices],
            "model_fingerprints": [index.model_fingerprint for index in indices],
            "weights": self.shares,
            "standardise": self.standardise,
        }
        return indices[0].model_copy(
            update={
                "model": self.name,
                "model_fingerprint": _digest(made_of),
                "model_sha256": "",
                "data_fingerprint": _one([index.data_fingerprint for index in indices]),
                "dtype": _one([index.dtype for index in indices]),
                "code": _one([index.code for index in indices]),
                "facts": {"ensemble": made_of, **_common_facts(indices)},
            }
        )


def check_same_data(parts: Sequence[SavedScores]) -> None:
    """Raise `DataError` where scores are not all of the same images, captions and pairs."""
    first = parts[0]
    for part in parts[1:]:
        if part.index.listing != first.index.listing:
            raise DataError(
                f"{first.folder} and {part.folder} hold scores of other images or captions "
                f"({_words(first)}, and {_words(part)}), so they cannot be set against each other. "
                "Evaluate all models on one split of one data set."
            )


def _words(part: SavedScores) -> str:
    index = part.index
    return (
        f"{index.dataset} {index.split}, {len(index.image_ids):,} images and "
        f"{index.captions:,} captions, {index.listing[:12]}"
    )


def _scale(part: SavedScores) -> tuple[float, float]:
    """Mean and deviation of all scores, which are read twice and never held."""
    scores = part.scores
    blocks = [slice(start, start + ROWS) for start in range(0, len(scores), ROWS)]
    mean = math.fsum(scores[rows].sum(dtype=np.float64) for rows in blocks) / scores.size
    squares = math.fsum(np.square(scores[rows] - np.float64(mean)).sum() for rows in blocks)
    deviation = math.sqrt(squares / scores.size)
    if not deviation > 0 or not math.isfinite(deviation):
        raise InputError(
            f"The scores in {part.folder} have the deviation {deviation}, so they cannot be "
            "standardised. Leave that model out, or evaluate it again."
        )
    return mean, deviation


def _check_weights(weights: Sequence[float] | None, parts: int) -> None:
    if parts < 2:
        raise InputError("An ensemble has at least two models. Name another one.")
    if weights is None:
        return
    sound = all(math.isfinite(weight) and weight > 0 for weight in weights)
    if len(weights) != parts or not sound:
        raise InputError(
            f"The weights {', '.join(f'{weight:g}' for weight in weights)} do not fit {parts} "
            "models. Give a number above 0 for each."
        )


def _common_facts(indices: Sequence[ScoresIndex]) -> dict[str, Any]:
    first, *others = (index.facts for index in indices)
    alike = {
        fact: first[fact]
        for fact in ALIKE
        if fact in first and all(other.get(fact) == first[fact] for other in others)
    }
    for fact in ("parameters", "parameters_with_extractor"):
        counts = [facts.get(fact) for facts in (first, *others)]
        if None not in counts:
            alike[fact] = sum(count or 0 for count in counts)
    return alike


def _one(values: Sequence[str]) -> str:
    """The value of all parts, or those that there are where they differ."""
    if len(set(values)) == 1:
        return values[0]
    return ", ".join(dict.fromkeys(values))


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()

"""How sure a figure is, and whether two models differ: from ranks alone, nothing is scored again.

What is drawn is an image with its captions. The captions of one image are no independent queries
(an image that is easy to find is easy to find by all of them), so drawing captions one by one would
give intervals that are too narrow. What is ranked stays the whole split: the intervals are about
other queries of this kind, not about a larger or smaller collection, and not about other seeds of
the training.

Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile
interval); Sakai, Evaluating evaluation metrics based on the bootstrap, SIGIR 2006 (both systems on
the same drawn queries); Smucker, Allan and Carterette, A comparison of statistical significance
tests for information retrieval evaluation, CIKM 2007 (Fisher's randomisation test).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..metrics import Ranks

Numbers = NDArray[np.float64]

RECALLS = tuple(f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10))
FIGURES = (*RECALLS, "rsum")
SAMPLES = 10_000
BLOCK = 2**22  # drawn numbers in memory at once


@dataclass(frozen=True)
class Tally:
    """What each image of a fold adds to the figures: its own query and those of its captions.

    A caption of several images counts for each of them with an equal share.

    hits:    (images, recalls), queries whose match is among the first K
    queries: (images, recalls), how many there are
    """

    hits: Numbers
    queries: Numbers

    def figures(self, weights: Numbers) -> Numbers:
        """(samples, figures) in percent, for how often each image was drawn: (samples, images)."""
        recalls = 100 * (weights @ self.hits) / (weights @ self.queries)
        return np.append(recalls, recalls.sum(1, keepdims=True), axis=1)

    def parts(self) -> Numbers:
        """What each image adds to the figures of the fold, which are their sums: (images, figures).

        In percent; the queries that it has are counted among those of the whole fold.
        """
        recalls = 100 * self.hits / self.queries.sum(0)
        return np.append(recalls, recalls.sum(1, keepdims=True), axis=1)


@dataclass(frozen=True)
class Interval:
    """A figure as it was measured, and the interval of it over drawn images."""

    figure: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How far a second model is ahead of a first, on the same queries.

    low, high: the interval of the difference over drawn images
    p:         how often a difference at least so large comes about where the models are the same
               but for chance: two-sided, never 0
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def tally(ranks: Ranks) -> Tally:
    """Count the hits of each image and of its captions."""
    rows, columns = ranks.pairs.T
    shares = 1 / np.bincount(columns)[columns]
    images, recalls = np.arange(len(ranks.images)), []
    for owners, share, found in (
        (images, np.ones(len(images)), ranks.images),
        (rows, shares, ranks.texts[columns]),
    ):
        queries = np.bincount(owners, share, len(images))
        recalls += [
            (np.bincount(owners, share * (found < k), len(images)), queries) for k in (1, 5, 10)
        ]
    hits, counts = zip(*recalls, strict=True)
    return Tally(np.stack(hits, 1), np.stack(counts, 1))


def intervals(
    folds: Sequence[Ranks], *, samples: int = SAMPLES, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Percentile bootstrap intervals of each recall and of their sum, by the figure's name.

    `folds` are the ranks of each fold, one without folds; images are drawn within theirs. The
    same seed gives the same intervals. Raises `InputError` for a level outside 0..1.
    """
    tallies = [tally(ranks) for ranks in folds]
    drawn = _bootstrap([[one] for one in tallies], samples, seed)[:, 0]
    low, high = _quantiles(drawn, level)
    whole = _whole(tallies)
    return {name: Interval(whole[k], low[k], high[k]) for k, name in enumerate(FIGURES)}


def paired_test(
    first: Sequence[Ranks],
    second: Sequence[Ranks],
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Compare two models on the same queries, for each recall and their sum.

    The interval draws images, the same for both models. The p-value is of Fisher's randomisation
    test: where the models are the same, whose result an image has is chance, so they are swapped
    image by image. For R@1 of images that is McNemar's exact test, estimated; for captions
    McNemar's would take those of one image for independent.

    Raises `InputError` for folds of other queries.
    """
    ours, theirs = [tally(ranks) for ranks in first], [tally(ranks) for ranks in second]
    if [one.queries.tolist() for one in ours] != [one.queries.tolist() for one in theirs]:
        raise InputError(
            "The two models were not measured on the same queries: images and captions do not "
            "agree. Measure both on one split, under one protocol."
        )
    drawn = _bootstrap(list(zip(ours, theirs, strict=True)), samples, seed)
    low, high = _quantiles(drawn[:, 1] - drawn[:, 0], level)
    chance = _randomisation(ours, theirs, samples, seed)
    one, two = _whole(ours), _whole(theirs)
    return {
        name: Difference(one[k], two[k], two[k] - one[k], low[k], high[k], chance[k])
        for k, name in enumerate(FIGURES)
    }


def _whole(tallies: Sequence[Tally]) -> list[float]:
    every = [one.figures(np.ones((1, len(one.hits))))[0] for one in tallies]
    figures: list[float] = np.mean(every, 0).tolist()
    return figures


def _bootstrap(folds: Sequence[Sequence[Tally]], samples: int, seed: int) -> Numbers:
    """(samples, models, figures) of drawn images; a fold has the tallies of some models."""
    generator = np.random.default_rng([seed, 0])
    total: Any = 0.0
    for models in folds:
        images = len(models[0].hits)

        def draw(count: int, models: Sequence[Tally] = models, images: int = images) -> Numbers:
            often = generator.multinomial(images, np.full(images, 1 / images), count)
            weights = often.astype(np.float64)
            return np.stack([model.figures(weights) for model in models], 1)

        total = total + _in_blocks(draw, samples, images)
    drawn: Numbers = total / len(folds)
    return drawn


def _randomisation(
    first: Sequence[Tally], second: Sequence[Tally], samples: int, seed: int
) -> list[float]:
    """The p-value of each figure: (figures,)."""
    generator = np.random.default_rng([seed, 1])
    parts = [two.parts() - one.parts() for one, two in zip(first, second, strict=True)]
    differences = np.concatenate(parts)

    def swap(count: int) -> Numbers:
        signs = 1.0 - 2.0 * generator.integers(0, 2, (count, len(differences)))
        swapped: Numbers = signs @ differences
        return swapped

    swapped = _in_blocks(swap, samples, len(differences))
    # Sums of the same numbers in another order differ in their last digits: that is no difference.
    reached = np.abs(swapped) >= np.abs(differences.sum(0)) - 1e-9
    p: list[float] = ((1 + reached.sum(0)) / (1 + samples)).tolist()
    return p


def _in_blocks(draw: Callable[[int], Numbers], samples: int, images: int) -> Numbers:
    """Samples drawn some at a time, so that memory does not grow with their number."""
    return np.concatenate([draw(count) for count in _counts(samples, max(1, BLOCK // images))])


def _counts(samples: int, most: int) -> Iterator[int]:
    if samples < 1:
        raise InputError(f"{samples} samples were asked for. Give a number from 1 on.")
    yield from (min(most, samples - start) for start in range(0, samples, most))


def _quantiles(drawn: Numbers, level: float) -> tuple[list[float], list[float]]:
    if not 0 < level < 1:
        raise InputError(f"The level {level} is no share between 0 and 1. Give 0.95, say.")
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0).tolist()
    return low, high

"""Retrieval metrics over a full score matrix, by counting ranks.

The R@K that this field reports is what information retrieval calls hit rate: the percentage of
queries that find any of their matches among the first K. Its recall divides by the matches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError

ROWS = 256  # images whose scores are in memory at once; the matrix may be a map of a file

Rows = NDArray[np.int64]
Ties = Literal["against", "legacy"]
"""Who ranks first among equal scores.

against: every other candidate before the match, so that a constant score earns nothing
legacy:  the candidate with the highest number, as in the field's programs, which read
         `np.argsort(scores)[::-1]` (with a stable sort; see docs/evaluation.md)
"""


@dataclass(frozen=True)
class Ranks:
    """How many candidates outrank the best match of each query; 0 is best.

    images: (images,), of each image's best caption among the captions
    texts:  (captions,), of each caption's best image among the images
    pairs:  (pairs, 2), the image and the caption of what belongs together
    """

    images: Rows
    texts: Rows
    pairs: Rows


@dataclass(frozen=True)
class Share:
    """Which rows of a matrix are here, where several processes have some each.

    here:  (images,), True for a row that is; the matrix may hold anything in the others
    total: an array's sum over all processes, to each of them
    """

    here: NDArray[np.bool_]
    total: Callable[[NDArray[Any]], NDArray[Any]]

    @classmethod
    def whole(cls, rows: int) -> Share:
        """All of them are."""
        return cls(np.ones(rows, np.bool_), lambda values: values)

    def values(self, matrix: NDArray[Any], rows: Rows, columns: Rows) -> NDArray[Any]:
        """Some entries of the matrix, wherever they are: (entries,)."""
        found, own = np.zeros(len(rows), matrix.dtype), self.here[rows]
        found[own] = matrix[rows[own], columns[own]]
        return self.total(found)


def retrieval_ranks(
    scores: Any,
    pairs: ArrayLike,
    ties: Ties = "against",
    *,
    images: ArrayLike | None = None,
    texts: ArrayLike | None = None,
    share: Share | None = None,
) -> Ranks:
    """Ranks both ways over scores (images, texts), in one pass over its rows.

    `scores` is an array, a tensor or a map of a file; `pairs` (pairs, 2) has the row and the column
    of what belongs together. With `images` or `texts`, the numbers of some rows or columns, only
    those are looked at, as if there were no others. With a `share`, only its rows of the scores
    are read, and each process that has one is given the ranks of all. Raises `InputError` for NaN
    or infinite scores, for pairs outside the matrix, and for an image or a text without a match.

    >>> ranks = retrieval_ranks([[0.9, 0.2], [0.8, 0.1]], [[0, 0], [1, 1]])
    >>> ranks.images.tolist(), ranks.texts.tolist()
    ([0, 1], [0, 1])
    """
    matrix, all_pairs = np.asarray(scores), np.asarray(pairs, np.int64)
    if matrix.dtype.kind in "biu":  # they have no infinity, by which matches are left out below
        matrix = matrix.astype(np.float64)
    _check_shapes(matrix, all_pairs)
    rows, columns = _numbers(images, matrix.shape[0]), _numbers(texts, matrix.shape[1])
    kept = _renumbered(all_pairs, rows, columns, matrix.shape)
    check_matched(all_pairs, rows, columns)
    share = share or Share.whole(len(matrix))
    matched = share.values(matrix, rows[kept[:, 0]], columns[kept[:, 1]])
    _check_finite(matched, rows[kept[:, 0]], columns[kept[:, 1]])
    of_images = _best(kept[:, 0], kept[:, 1], matched, len(rows))
    of_texts = _best(kept[:, 1], kept[:, 0], matched, len(columns))
    ranks = Ranks(np.zeros(len(rows), np.int64), np.zeros(len(columns), np.int64), kept)
    for start in range(0, len(rows), ROWS):
        here = np.arange(start, min(start + ROWS, len(rows)))
        here = here[share.here[rows[here]]]
        block = matrix[rows[here]][:, columns]
        _check_finite(block, rows[here, None], columns)
        own = kept[slice(*np.searchsorted(kept[:, 0], (start, start + ROWS)))]
        own = own[np.isin(own[:, 0], here)]
        block[np.searchsorted(here, own[:, 0]), own[:, 1]] = -np.inf  # no match is outranked by
        # another match of the same query
        ahead = _outranks(block, of_images.rows(here), np.arange(len(columns))[None], ties)
        ranks.images[here] = np.count_nonzero(ahead, axis=1)
        ahead = _outranks(block, of_texts.columns(), here[:, None], ties)
        ranks.texts[:] += np.count_nonzero(ahead, axis=0)
    return Ranks(share.total(ranks.images), share.total(ranks.texts), kept)


@dataclass(frozen=True)
class _Best:
    """The score of each query's best match, and its number: the last among equals."""

    scores: NDArray[Any]
    numbers: Rows

    def rows(self, some: Rows) -> _Best:
        return _Best(self.scores[some, None], self.numbers[some, None])

    def columns(self) -> _Best:
        return _Best(self.scores[None], self.numbers[None])


def _best(queries: Rows, candidates: Rows, matched: NDArray[Any], count: int) -> _Best:
    scores = np.full(count, -np.inf, matched.dtype)
    np.maximum.at(scores, queries, matched)
    numbers = np.zeros(count, np.int64)
    top = matched == scores[queries]
    np.maximum.at(numbers, queries[top], candidates[top])
    return _Best(scores, numbers)


def check_matched(pairs: Rows, images: Rows, texts: Rows) -> None:
    """Raise `InputError` for an image without a match among the texts, or a text without one."""
    both = np.isin(pairs[:, 0], images) & np.isin(pairs[:, 1], texts)
    for what, queries, column in (("Image", images, 0), ("Text", texts, 1)):
        lonely = queries[~np.isin(queries, pairs[both, column])]
        if len(lonely):
            raise InputError(
                f"{what} {lonely[0]} has no match among those that are ranked ({len(lonely):,} "
                f"such of {len(queries):,}). Leave queries without a match out."
            )


def _outranks(block: NDArray[Any], best: _Best, numbers: Rows, ties: Ties) -> NDArray[np.bool_]:
    """Where a candidate stands before the match: (images, texts)."""
    ahead: NDArray[np.bool_]
    if ties == "against":
        ahead = block >= best.scores
    elif ties == "legacy":
        ahead = (block > best.scores) | ((block == best.scores) & (numbers > best.numbers))
    else:
        raise InputError(f"There is no tie policy {ties!r}. Choose against or legacy.")
    return ahead


def _numbers(chosen: ArrayLike | None, count: int) -> Rows:
    return np.arange(count) if chosen is None else np.asarray(chosen, np.int64)


def _renumbered(pairs: Rows, rows: Rows, columns: Rows, shape: tuple[int, ...]) -> Rows:
    """The pairs among some rows and columns, by their places there, in the order of the rows."""
    places = [np.full(size, -1) for size in shape]
    for place, chosen in zip(places, (rows, columns), strict=True):
        place[chosen] = np.arange(len(chosen))
    moved = np.stack([places[0][pairs[:, 0]], places[1][pairs[:, 1]]], 1)
    moved = moved[(moved >= 0).all(1)]
    return moved[np.argsort(moved[:, 0], kind="stable")]


def _check_shapes(scores: NDArray[Any], pairs: Rows) -> None:
    sound = scores.ndim == 2 and 0 not in scores.shape and pairs.ndim == 2 and pairs.shape[1] == 2
    if not sound or (pairs < 0).any() or (pairs >= scores.shape).any():
        raise InputError(
            f"Scores of shape {scores.shape} and pairs of shape {pairs.shape} do not fit. Give "
            "scores as (images, texts), at least one of each, and pairs as (pairs, 2), the row and "
            "the column of what belongs together."
        )


def _check_finite(scores: NDArray[Any], rows: Rows, columns: Rows) -> None:
    """Raise for a score that is not; `rows` and `columns`, broadcast, say where each one stands."""
    finite = np.isfinite(scores)
    if finite.all():
        return
    row, column, score = (
        np.broadcast_to(values, scores.shape)[~finite][0] for values in (rows, columns, scores)
    )
    raise InputError(
        f"The score of image {row} with text {column} is {score}. "
        "A metric over it would be wrong: find the item whose features or text give it."
    )


def ranks_report(ranks: Ranks) -> dict[str, float]:
    """The metrics of some ranks both ways.

    `i2t_` finds texts for an image, `t2i_` images for a text. `r1 r5 r10` are percentages and
    `rsum` their sum; `medr` and `meanr` are the median and mean rank, 1 being best.

    >>> pairs = np.array([[0, 0], [1, 1], [2, 2]])
    >>> report = ranks_report(Ranks(np.array([0, 0, 4]), np.array([0, 9, 20]), pairs))
    >>> round(report["rsum"], 1), report["i2t_medr"], report["t2i_medr"]
    (400.0, 1.0, 10.0)
    """
    recalls = _recalls("i2t", ranks.images) | _recalls("t2i", ranks.texts)
    means = _rank_means("i2t", ranks.images) | _rank_means("t2i", ranks.texts)
    return recalls | {"rsum": sum(recalls.values())} | means


def retrieval_report(scores: Any, pairs: ArrayLike, ties: Ties = "against") -> dict[str, float]:
    """Metrics both ways over scores (images, texts) and the pairs of what belongs together.

    Raises the errors of `retrieval_ranks`.

    >>> report = retrieval_report(np.eye(20), np.stack([np.arange(20)] * 2, 1))
    >>> report["rsum"], report["i2t_medr"]
    (600.0, 1.0)
    """
    return ranks_report(retrieval_ranks(scores, pairs, ties))


def _recalls(way: str, ranks: Rows) -> dict[str, float]:
    return {f"{way}_r{k}": 100 * float((ranks < k).mean()) for k in (1, 5, 10)}


def _rank_means(way: str, ranks: Rows) -> dict[str, float]:
    # The field floors the median of zero-based ranks before it adds one.
    middle = float(np.floor(np.median(ranks)))
    return {f"{way}_medr": middle + 1, f"{way}_meanr": float(ranks.mean()) + 1}

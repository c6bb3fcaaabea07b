"""Queries that a model answers wrongly: the worst of them, and those that it misses by least."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..metrics import ROWS, Ranks, Rows, Ties
from .recalls import WAYS

SHOWN = 5  # candidates of a query
Kind = Literal["worst", "near"]


@dataclass(frozen=True)
class Candidate:
    """One that was ranked for a query.

    number: its row (of an image) or its column (of a text) in the matrix
    match:  whether it belongs to the query
    """

    number: int
    score: float
    match: bool


@dataclass(frozen=True)
class Failure:
    """A query whose best match does not rank first.

    way:     "i2t": an image looks for texts; "t2i": a text looks for images
    kind:    "worst": its match ranks lowest; "near": another scores only just as high
    number:  its row (of an image) or its column (of a text) in the matrix
    rank:    of its best match; 1 would be right
    among:   how many candidates there were
    gap:     by how much the first candidate scores above its best match
    matches: what belongs to it, the best first
    top:     what ranks first, the best first
    """

    way: str
    kind: Kind
    number: int
    rank: int
    among: int
    gap: float
    matches: tuple[Candidate, ...]
    top: tuple[Candidate, ...]


@dataclass(frozen=True)
class Fold:
    """The rows and the columns of a score matrix that are ranked together, and how they rank."""

    rows: Rows
    columns: Rows
    ranks: Ranks


def find_failures(scores: Any, folds: Sequence[Fold], ties: Ties, count: int) -> list[Failure]:
    """The worst queries and then the near misses, so many of each, both ways.

    `scores` (images, texts) may be a map of a file: it is read by blocks, once.
    """
    gaps = [_gaps(scores, fold) for fold in folds]
    found = []
    for way in WAYS:
        ranks = [fold.ranks.images if way == "i2t" else fold.ranks.texts for fold in folds]
        chosen = _choose(ranks, [both[way] for both in gaps], count)
        for kind, part, place in chosen:
            rank, gap = int(ranks[part][place]) + 1, float(gaps[part][way][place])
            found.append(_failure(scores, folds[part], ties, (way, kind, place, rank, gap)))
    return found


def _choose(
    ranks: Sequence[Rows], gaps: Sequence[NDArray[Any]], count: int
) -> Iterator[tuple[Kind, int, int]]:
    """Kind, fold and place of each query to show; none is shown as both kinds."""
    places = np.array([(part, place) for part, of in enumerate(ranks) for place in range(len(of))])
    rank, gap = np.concatenate(ranks), np.concatenate(gaps)
    missed = np.flatnonzero(rank > 0)
    worst = missed[np.argsort(-rank[missed], kind="stable")][:count]
    others = np.setdiff1d(missed, worst)
    near = others[np.argsort(gap[others], kind="stable")][:count]
    kinds: tuple[tuple[Kind, Rows], ...] = (("worst", worst), ("near", near))
    for kind, queries in kinds:
        for part, place in places[queries].reshape(-1, 2).tolist():
            yield kind, part, place


def _gaps(scores: Any, fold: Fold) -> dict[str, NDArray[Any]]:
    """For each image and each text, the first candidate's score less its best match's."""
    sizes = {"i2t": len(fold.rows), "t2i": len(fold.columns)}
    best = {way: np.full(size, -np.inf) for way, size in sizes.items()}
    first = {way: np.full(size, -np.inf) for way, size in sizes.items()}
    pairs = fold.ranks.pairs
    for start in range(0, len(fold.rows), ROWS):
        block = np.asarray(scores[fold.rows[start : start + ROWS]])[:, fold.columns]
        here = pairs[(pairs[:, 0] >= start) & (pairs[:, 0] < start + len(block))]
        matched = block[here[:, 0] - start, here[:, 1]]
        np.maximum.at(best["i2t"], here[:, 0], matched)
        np.maximum.at(best["t2i"], here[:, 1], matched)
        first["i2t"][start : start + len(block)] = block.max(axis=1)
        np.maximum(first["t2i"], block.max(axis=0), out=first["t2i"])
    return {way: first[way] - best[way] for way in WAYS}


def _failure(
    scores: Any, fold: Fold, ties: Ties, query: tuple[str, Kind, int, int, float]
) -> Failure:
    way, kind, place, rank, gap = query
    pairs = fold.ranks.pairs
    if way == "i2t":
        number, numbers = int(fold.rows[place]), fold.columns
        values, matching = np.asarray(scores[number])[numbers], pairs[pairs[:, 0] == place, 1]
    else:
        number, numbers = int(fold.columns[place]), fold.rows
        values, matching = np.asarray(scores[:, number])[numbers], pairs[pairs[:, 1] == place, 0]
    match = np.zeros(len(numbers), bool)
    match[matching] = True
    order = _order(values, match, ties)

    def candidates(places: Rows) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(int(numbers[one]), float(values[one]), bool(match[one])) for one in places
        )

    return Failure(
        way,
        kind,
        number,
        rank,
        len(numbers),
        gap,
        candidates(order[match[order]]),
        candidates(order[:SHOWN]),
    )


def _order(values: NDArray[Any], match: NDArray[np.bool_], ties: Ties) -> Rows:
    """The candidates, the best first; among equals as the tie policy has it."""
    second = match if ties == "against" else -np.arange(len(values))
    return np.lexsort((second, -values))

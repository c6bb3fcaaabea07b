"""What is ranked against what: how many images, which captions, and in how many folds.

All of it is a choice of rows and columns of one score matrix, so a matrix on disk can be measured
under any protocol without being made again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from .errors import InputError
from .metrics import Ranks, Rows, Share, Ties, check_matched, ranks_report, retrieval_ranks
from .spelling import nearest

AUTO = "auto"


@dataclass(frozen=True)
class Protocol:
    """How the scores of a split are measured; as it stands, all of them and at once.

    folds:    consecutive parts of the images, each measured alone with its captions; every metric
              is the mean over them, ranks too
    images:   only the first so many of the split; None takes all
    captions: only the first so many of each image; None takes all
    name:     in the field's tables, if it is one of those
    """

    folds: int = 1
    images: int | None = None
    captions: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        for what in ("folds", "images", "captions"):
            if (value := getattr(self, what)) is not None and value < 1:
                raise InputError(f"A protocol has {what}={value}. Give a number from 1 on.")


PROTOCOLS: Mapping[str, Protocol] = {
    name: Protocol(folds, images, 5, name)
    for name, images, folds in (
        ("f8k", 1000, 1),
        ("f30k-1k", 1000, 1),
        ("coco-5k", 5000, 1),
        ("coco-1k", 5000, 5),
    )
}
"""Those of the field's tables. Each takes the first five captions of an image."""


def choose_protocol(
    name: str = AUTO,
    *,
    folds: int | None = None,
    images: int | None = None,
    captions: int | Literal["all"] | None = None,
) -> Protocol:
    """The protocol of that name, with other folds, images or captions where they are given.

    "auto" takes all that there is, at once. Raises `InputError` for an unknown name.

    >>> choose_protocol("coco-1k").folds, choose_protocol("coco-5k", captions="all").captions
    (5, None)
    """
    if name not in (AUTO, *PROTOCOLS):
        raise InputError(f"No protocol is called {name!r}. {nearest(name, (AUTO, *PROTOCOLS))}")
    changes: dict[str, Any] = {"folds": folds, "images": images, "captions": captions}
    changes = {what: value for what, value in changes.items() if value is not None}
    if captions == "all":
        changes["captions"] = None
    chosen = PROTOCOLS.get(name, Protocol())
    return replace(chosen, **changes, name="") if changes else chosen


@dataclass(frozen=True)
class Measured:
    """What a protocol gave.

    name:     the field's name of what was done, "own" where it has none
    words:    what was done, with its counts
    images:   how many were measured, in all folds together
    captions: likewise
    ranks:    of each fold
    metrics:  the mean over the folds
    """

    name: str
    words: str
    images: int
    captions: int
    ranks: tuple[Ranks, ...]
    metrics: dict[str, float]


def measure(
    scores: Any,
    pairs: Rows,
    protocol: Protocol | None = None,
    ties: Ties = "against",
    *,
    dataset: str = "",
    share: Share | None = None,
) -> Measured:
    """Measure scores (images, captions) with their pairs (pairs, 2) under a protocol.

    The name of the data set tells what the field calls it where the protocol has no name. Of a
    `share`, only its rows of the scores are read (`retrieval_ranks`). Raises
    `InputError` where there are fewer images than it takes, or they do not part into its folds,
    and the errors of `retrieval_ranks`.
    """
    protocol, shape = protocol or Protocol(), np.shape(scores)
    folds = folds_of(protocol, pairs, shape)
    ranks = tuple(
        retrieval_ranks(scores, pairs, ties, images=rows, texts=columns, share=share)
        for rows, columns in folds
    )
    reports = [ranks_report(fold) for fold in ranks]
    images, captions = sum(len(rows) for rows, _ in folds), sum(len(texts) for _, texts in folds)
    return Measured(
        _name(protocol, dataset, images, captions),
        _words(protocol.folds, (images, captions), shape),
        images,
        captions,
        ranks,
        {key: float(np.mean([report[key] for report in reports])) for key in reports[0]},
    )


def folds_of(protocol: Protocol, pairs: Rows, shape: tuple[int, ...]) -> list[tuple[Rows, Rows]]:
    """The images and the captions of each fold, as rows and columns of a matrix of that shape.

    Raises `InputError` as `measure` does: call it before the scores are made.
    """
    rows, columns = _selected(protocol, pairs, shape)
    if len(rows) % protocol.folds:
        raise InputError(
            f"{len(rows):,} images do not part into {protocol.folds} folds of one size. Give a "
            "number of folds that divides them."
        )
    parts = np.split(rows, protocol.folds)
    whole = protocol.folds == 1
    folds = [(part, columns if whole else _texts_of(pairs, part, columns)) for part in parts]
    for part, texts in folds:
        check_matched(pairs, part, texts)
    return folds


def _selected(protocol: Protocol, pairs: Rows, shape: tuple[int, ...]) -> tuple[Rows, Rows]:
    """The images and the captions that a protocol looks at."""
    count = protocol.images or shape[0]
    if count > shape[0]:
        raise InputError(
            f"The protocol {protocol.name or 'that was given'} takes {count:,} images, and the "
            f"split has {shape[0]:,}. Choose another protocol or another split."
        )
    rows, columns = np.arange(count), np.arange(shape[1])
    if protocol.captions is not None:
        columns = _first_captions(pairs, protocol.captions)
    return rows, columns if count == shape[0] else _texts_of(pairs, rows, columns)


def _first_captions(pairs: Rows, count: int) -> Rows:
    """The captions that are among the first so many of an image."""
    ordered = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    starts = np.searchsorted(ordered[:, 0], ordered[:, 0])
    return np.unique(ordered[np.arange(len(ordered)) - starts < count, 1])


def _texts_of(pairs: Rows, rows: Rows, columns: Rows) -> Rows:
    """Those of the captions that belong to one of the images."""
    return np.intersect1d(pairs[np.isin(pairs[:, 0], rows), 1], columns)


def _name(protocol: Protocol, dataset: str, images: int, captions: int) -> str:
    families = {name: name.split("-")[0] for name in PROTOCOLS}
    for name, known in PROTOCOLS.items():
        if dataset in families.values() and families[name] != dataset:
            continue  # counts alone do not make Flickr8k a row of Flickr30K's table
        counts = known.folds, known.images, (known.images or 0) * (known.captions or 0)
        meant = name == protocol.name if protocol.name else families[name] == dataset
        if meant and counts == (protocol.folds, images, captions):
            return name
    return "own"


def _words(folds: int, taken: tuple[int, int], all_there: tuple[int, ...]) -> str:
    images, captions = (
        f"{some} of {every}" if some < every else str(some)
        for some, every in zip(taken, all_there, strict=True)
    )
    if folds == 1:
        return f"{images} images, {captions} captions, no folds"
    return f"{folds} folds of {taken[0] // folds} images, {captions} captions in all"

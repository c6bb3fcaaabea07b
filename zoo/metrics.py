"""Retrieval metrics over a full score matrix, by counting ranks.

The R@K that this field reports is what information retrieval calls hit rate: the percentage of
queries that find any of their matches among the first K. Its recall divides by the matches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import InputError

ROWS = 256  # rows compared at once, so that no second matrix of the size of the scores is made


def first_match_rank(scores: Tensor, matches: Tensor) -> Tensor:
    """How many candidates outrank each query's best match: (queries,), 0 is best.

    `scores` and `matches` are (queries, candidates). A tie counts against the match, so that a
    constant score earns nothing. Raises `InputError` for NaN or infinite scores, for shapes that
    differ, and for a query without a match.
    """
    _check(scores, matches)
    ranks = [
        _ranks(block, found)
        for block, found in zip(torch.split(scores, ROWS), torch.split(matches, ROWS), strict=True)
    ]
    return torch.cat(ranks)


def _ranks(scores: Tensor, matches: Tensor) -> Tensor:
    best_match = scores.masked_fill(~matches, -torch.inf).amax(dim=1, keepdim=True)
    return ((scores >= best_match) & ~matches).sum(dim=1)


def _check(scores: Tensor, matches: Tensor) -> None:
    if scores.shape != matches.shape or scores.ndim != 2 or 0 in scores.shape:
        raise InputError(
            f"Scores of shape {tuple(scores.shape)} and matches of shape {tuple(matches.shape)} "
            "do not fit. Give both as (queries, candidates), with at least one of each."
        )
    finite = torch.stack([block.isfinite().all(dim=1).all() for block in torch.split(scores, ROWS)])
    if not finite.all():
        row, column = (~scores.isfinite()).nonzero()[0].tolist()
        raise InputError(
            f"The score of query {row} with candidate {column} is {scores[row, column].item()}. "
            "A metric over it would be wrong: find the item whose features or text give it."
        )
    lonely = (~matches.any(dim=1)).nonzero()
    if len(lonely):
        raise InputError(
            f"Query {int(lonely[0])} has no match among {matches.shape[1]} candidates "
            f"({len(lonely)} such queries). Leave queries without a match out."
        )


def retrieval_report(scores: Tensor, matches: Tensor) -> dict[str, float]:
    """Metrics both ways over (images, texts) scores and the mask of what belongs together.

    `i2t_` finds texts for an image, `t2i_` images for a text. `r1 r5 r10` are percentages and
    `rsum` their sum; `medr` and `meanr` are the median and mean rank, 1 being best.

    >>> report = retrieval_report(torch.eye(20), torch.eye(20, dtype=torch.bool))
    >>> report["rsum"], report["i2t_medr"]
    (600.0, 1.0)
    """
    images, texts = first_match_rank(scores, matches), first_match_rank(scores.T, matches.T)
    recalls = _recalls("i2t", images) | _recalls("t2i", texts)
    ranks = _rank_means("i2t", images) | _rank_means("t2i", texts)
    return recalls | {"rsum": sum(recalls.values())} | ranks


def _recalls(way: str, ranks: Tensor) -> dict[str, float]:
    return {f"{way}_r{k}": 100 * (ranks < k).double().mean().item() for k in (1, 5, 10)}


def _rank_means(way: str, ranks: Tensor) -> dict[str, float]:
    # The field floors the median of zero-based ranks before it adds one.
    middle = ranks.double().quantile(0.5).floor().item()
    return {f"{way}_medr": middle + 1, f"{way}_meanr": ranks.double().mean().item() + 1}

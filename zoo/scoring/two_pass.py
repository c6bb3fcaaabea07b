"""Scoring a block for a loss that needs few of its pairs: all once, those few again with gradients.

A loss over hardest negatives depends on at most three pairs of each match: on the match and on the
best-scoring negative either way. So all pairs are scored without gradients, in bfloat16 where that
gains and bounds what it does not know; the loss says which of them it may need; these are scored in
float32, with gradients. Loss and gradients are those of scoring all with gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from ..device import multiplies_bfloat16
from ..interfaces import Aligner, Loss, Pairs, Scan, Similarity

Needed = Callable[[Scan], Tensor]
"""From what is known of the scores to the pairs that a loss may need: (images, texts), bool."""

Compare = Callable[[Any, Any], Similarity]
Gather = Callable[[Scan], Scan]

FEW = 0.2
"""The share of a block's pairs up to which they are sooner scored as a list than with the block."""

LEAST = 16
"""With fewer images or texts, three pairs of each match are not few."""


def selection(loss: Loss, pairs: Pairs) -> Needed | None:
    """What a loss may need of a block; None: all, or the block is too small to gain by it."""
    if not loss.selects or min(pairs.matches.shape) < LEAST:
        return None
    return partial(loss.needed, pairs=pairs)


def score_block(
    aligner: Aligner[Any, Any],
    images: Batch,
    texts: Batch,
    needed: Needed | None = None,
    *,
    compare: Compare | None = None,
    gather: Gather | None = None,
    first: int = 0,
) -> Similarity:
    """As `aligner(images, texts)`, with gradients where the loss needs them.

    needed:  says which pairs a loss needs that reads the scores alone; None: all. Other scores may
             be bfloat16's, where they are certain to be none that such a loss takes, and there are
             no levels
    compare: compares all of them, where that is not left to the aligner
    gather:  where these images are rows of a larger block: from a scan of these to that of all, of
             which `needed` speaks; `first` is the row of the first of these
    """
    compare = compare or aligner
    if needed is not None and aligner.pairwise and torch.is_grad_enabled():
        for scan in _scans(aligner, compare, images, texts):
            wanted = needed(gather(scan) if gather else scan)
            if wanted.float().mean() <= FEW:
                return _again(aligner, images, texts, scan, wanted[first : first + len(images)])
    return compare(images, texts)


def _scans(
    aligner: Aligner[Any, Any], compare: Compare, images: Batch, texts: Batch
) -> Iterator[Scan]:
    """What is known of all scores, the soonest known first."""
    if aligner.scans and multiplies_bfloat16(next(iter(images.tensors().values())).device):
        with torch.no_grad():
            scan = aligner.scan(aligner.rounded(images), aligner.rounded(texts))
        yield scan
    with torch.no_grad():
        scores = compare(images, texts).scores.float()
    yield Scan(scores, torch.zeros_like(scores))


def _again(
    aligner: Aligner[Any, Any], images: Batch, texts: Batch, scan: Scan, wanted: Tensor
) -> Similarity:
    """The scores of a scan, with those that are wanted in float32 and with gradients."""
    rows = wanted.nonzero()
    again = aligner.score_pairs(images, texts, rows).scores.float()
    image, text = rows.T
    # What float32 gave before stays as it was to the last bit, so that the loss takes the same.
    known = scan.errors[image, text] == 0
    values = torch.where(known, scan.scores[image, text], again.detach())
    exact = values + (again - again.detach())
    return Similarity(scan.scores.index_put((image, text), exact))

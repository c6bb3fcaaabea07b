"""Scoring a block for a loss that needs few of its pairs: all once, those few again with gradients.

A loss over hardest negatives depends on at most three pairs of each match: on the match and on the
best-scoring negative either way. So all pairs are scored without gradients, in bfloat16 where that
gains and bounds what it does not know; the loss says which of them it may need; these are scored in
float32, with gradients. Loss and gradients are those of scoring all with gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from .batch import Batch
from .device import multiplies_bfloat16
from .interfaces import Aligner, Scan, Similarity

Needed = Callable[[Scan], Tensor]
"""From what is known of the scores to the pairs that a loss may need: (images, texts), bool."""

FEW = 0.2
"""The share of a block's pairs up to which they are sooner scored as a list than with the block."""

LEAST = 16
"""With fewer images or texts, three pairs of each match are not few."""


def score_block(
    aligner: Aligner[Any, Any], images: Batch, texts: Batch, needed: Needed | None = None
) -> Similarity:
    """As `aligner(images, texts)`, with gradients where the loss needs them.

    needed: says which pairs a loss needs that reads the scores alone; None: all. Other scores may
            be bfloat16's, where they are certain to be none that such a loss takes, and there are
            no levels
    """
    if needed is not None and _worth_while(aligner, images, texts):
        for scan in _scans(aligner, images, texts):
            wanted = needed(scan)
            if wanted.float().mean() <= FEW:
                return _again(aligner, images, texts, scan, wanted)
    return aligner(images, texts)


def _worth_while(aligner: Aligner[Any, Any], images: Batch, texts: Batch) -> bool:
    enough = min(len(images), len(texts)) >= LEAST
    return enough and aligner.pairwise and torch.is_grad_enabled()


@torch.no_grad()
def _scans(aligner: Aligner[Any, Any], images: Batch, texts: Batch) -> Iterator[Scan]:
    """What is known of all scores, the soonest known first."""
    if aligner.scans and multiplies_bfloat16(next(iter(images.tensors().values())).device):
        yield aligner.scan(aligner.rounded(images), aligner.rounded(texts))
    scores = aligner(images, texts).scores.float()
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

"""What published programs compute, written by us from their algorithms, to measure beside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..batch import Fragments

SHARD = 128
HARD_ALIGNMENT = (
    "CHAN's evaluation as released (Pan et al., CVPR 2023; github.com/ppanzx/CHAN, "
    "lib/evaluation.py), written by us from its algorithm: both sides in shards of 128, captions "
    "padded to the longest of the set, one float32 product, padding set to -1 by a mask of the "
    "product's size, a maximum with its indices, pooling of what is not -1. Its copies from and to "
    "float64 are left out."
)


def hard_alignment(images: Tensor, texts: Fragments, pooling: str) -> Tensor:
    """Images (images, regions, dim) with every caption, shard by shard: (images, texts)."""
    scores = []
    for shard in texts.split(SHARD):
        product = images.flatten(0, 1) @ shard.embeddings.flatten(0, 1).T
        similarity = product.view(*images.shape[:2], *shard.mask.shape)  # (i, r, t, w)
        mask = images.new_ones(product.shape[0], 1) @ shard.mask.to(images).view(1, -1)
        best = similarity.masked_fill(mask.view_as(similarity) == 0, -1).max(dim=1)[0]
        real = best != -1
        if pooling == "lse":
            score = (best / 0.1).masked_fill(~real, -torch.inf).logsumexp(dim=-1)
        else:
            score = (best * real).sum(dim=-1) / real.sum(dim=-1)
        scores.append(score)
    return torch.cat(scores, dim=1)


def widened(texts: Fragments, longest: int) -> Fragments:
    """Padded to so many words."""
    missing = max(0, longest - texts.mask.shape[1])
    return Fragments(
        pad(texts.embeddings, (0, 0, 0, missing)), pad(texts.mask, (0, missing), value=False)
    )

"""What published programs compute, written by us from their algorithms, to measure beside."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, pad

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


STACKED_ATTENTION = (
    "SCAN's program as released (Lee et al., ECCV 2018; github.com/kuanghuei/SCAN, model.py), "
    "written by us from its algorithm: shards of 128, a loop over their captions, each cut to its "
    "words and repeated for every image; dot products, leaky ReLU, L2 norm over the queries, "
    "softmax over the sources, attended vectors formed, the mean of their cosines with the queries."
)


def stacked_attention(images: Tensor, texts: Fragments, attend: str, sharpness: float) -> Tensor:
    """Scores of images (images, regions, dim) with all captions, in which one side attends."""
    lines = []
    for regions in images.split(SHARD):  # type: ignore[no-untyped-call]
        columns = []
        for embeddings, mask in zip(texts.embeddings, texts.mask, strict=True):
            words = embeddings[None, : int(mask.sum())].contiguous().repeat(len(regions), 1, 1)
            queries, sources = (words, regions) if attend == "words" else (regions, words)
            seen = _attended(queries, sources, sharpness)
            lengths = queries.norm(dim=2) * seen.norm(dim=2)
            cosines = (queries * seen).sum(dim=2) / lengths.clamp(min=1e-8)
            columns.append(cosines.mean(dim=1, keepdim=True))
        lines.append(torch.cat(columns, dim=1))
    return torch.cat(lines)


def _attended(queries: Tensor, sources: Tensor, sharpness: float) -> Tensor:
    """The vector that each query attends to: (images, queries, dim)."""
    logits = leaky_relu(torch.bmm(sources, queries.transpose(1, 2)), 0.1)
    logits = logits / (logits.pow(2).sum(dim=2, keepdim=True).sqrt() + 1e-8)
    shares = (sharpness * logits.transpose(1, 2).contiguous()).softmax(dim=2)
    seen = torch.bmm(sources.transpose(1, 2), shares.transpose(1, 2).contiguous())
    return seen.transpose(1, 2).contiguous()

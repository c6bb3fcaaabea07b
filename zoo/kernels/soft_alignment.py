"""Soft alignment: every fragment of one side attends to the fragments of the other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from ..batch import Fragments
from ..options import check_positive
from .packing import CELLS, in_full


@dataclass(frozen=True)
class Attention:
    """How fragments of one side (queries) attend to those of the other (sources).

    a = softmax over the sources of sharpness * x, where x are the logits, put through what follows
    in this order. The form with all of it is SCAN's (Lee et al., ECCV 2018).

    sharpness:    the inverse temperature
    leak:         leaky ReLU with this negative slope; None: none
    normalize:    each source's logits are divided by (their L2 norm over the queries of the same
                  item + 1e-8)
    spare_single: items with a single query keep their raw logits: a norm over one query would
                  leave the sign alone
    """

    sharpness: float
    leak: float | None = None
    normalize: bool = False
    spare_single: bool = False

    def __post_init__(self) -> None:
        check_positive("sharpness", self.sharpness)


def attention_weights(
    logits: Tensor, queries: Tensor, sources: Tensor, attention: Attention
) -> Tensor:
    """What share of its attention each query gives to each source: (..., queries, sources).

    logits:  (..., queries, sources)
    queries: (..., queries), True where the query is real; the others do not enter the norm
    sources: (..., sources), True where the source is real; the others get exactly 0

    The masks are broadcast against the logits. Each item has at least one real source. Over them
    the weights sum to 1, for padded queries too.
    """
    x = logits.masked_fill(~queries.unsqueeze(-1), 0)
    shaped = x if attention.leak is None else leaky_relu(x, attention.leak)
    if attention.normalize:
        norm = torch.linalg.vector_norm(shaped, dim=-2, keepdim=True)
        shaped = shaped / (norm + 1e-8)
    if attention.spare_single:
        single = queries.sum(dim=-1) == 1
        shaped = torch.where(single[..., None, None], x, shaped)
    return (
        (attention.sharpness * shaped).masked_fill(~sources.unsqueeze(-2), -torch.inf).softmax(-1)
    )


def attended_cosine(weights: Tensor, similarity: Tensor, gram: Tensor) -> Tensor:
    """Cosine of each query with the average of the sources that it attends to: (..., queries).

    weights:    (..., queries, sources)
    similarity: (..., queries, sources), dot products of queries of unit length with the sources
    gram:       (..., sources, sources), dot products of the sources with one another

    cos(q, sum_k a_k x_k) = a.s / sqrt(a.(G a)), with s = X q and G = X X^T: the attended vector is
    never formed. Leading axes are broadcast.
    """
    along = (weights * similarity).sum(dim=-1)
    square = (weights * (weights @ gram)).sum(dim=-1)
    # Rounding leaves an error of about eps in the square of a mean of unit vectors: what is below
    # that is not known from 0, may even be negative, and has a root without a useful gradient.
    return along / square.clamp(min=torch.finfo(square.dtype).eps).sqrt()


def soft_alignment(
    queries: Fragments,
    sources: Fragments,
    attention: Attention,
    *,
    logits: tuple[Fragments, Fragments] | None = None,
) -> Tensor:
    """Each query's cosine with the average of what it attends to in each source item.

    logits: the weights come from the dot products of these two, on the queries' and on the
            sources' side, with the same masks; without it, from those of queries and sources

    Queries are of unit length. Without gradients, memory beyond the result is bounded by `CELLS`.
    Computed in float32 at least, under autocast too. Padding may hold anything finite.
    Yields (source items, query items, query fragments), -inf where the query is padding.
    """
    with torch.autocast(sources.mask.device.type, enabled=False):
        values = _clean(sources)
        gram = (values @ values.mT)[:, None]  # (sources, 1, fragments, fragments)
        asked, keys = (queries, values) if logits is None else (logits[0], _clean(logits[1]))
        size = max(1, CELLS // (queries.mask.shape[1] * max(1, sources.mask.numel())))
        blocks = []
        for start in range(0, len(queries), size):
            mask = queries.mask[start : start + size]
            similarity = _dot_products(_clean(queries[start : start + size]), values)
            raw = similarity
            if logits is not None:
                raw = _dot_products(_clean(asked[start : start + size]), keys)
            weights = attention_weights(raw, mask, sources.mask[:, None], attention)
            cosine = attended_cosine(weights, similarity, gram)
            blocks.append(cosine.masked_fill(~mask, -torch.inf))
        return torch.cat(blocks, dim=1)


def _clean(fragments: Fragments) -> Tensor:
    """The embeddings, 0 where there is padding."""
    return in_full(fragments.embeddings).masked_fill(~fragments.mask[..., None], 0)


def _dot_products(queries: Tensor, sources: Tensor) -> Tensor:
    """(source items, query items, queries, sources)."""
    return queries @ sources[:, None].mT

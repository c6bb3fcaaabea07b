"""Attention between fragments: who attends to whom, and the cosine with what is attended to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from ..ops import in_full
from ..options import check_positive


@dataclass(frozen=True)
class Attention:
    """How fragments of one side (queries) attend to those of the other (sources).

    a = softmax over the sources of sharpness * x, where x are the logits, put through what follows
    in this order. The form with leak and norm is SCAN's (Lee et al., ECCV 2018).

    sharpness:    the inverse temperature
    leak:         leaky ReLU with this negative slope; None: none
    normalize:    each source's logits are divided by (their L2 norm over the queries of the same
                  item + 1e-8)
    spare_single: items with a single query keep their raw logits: a norm over one query would
                  leave only the sign

    >>> Attention(sharpness=9, leak=0.1, normalize=True)
    Attention(sharpness=9, leak=0.1, normalize=True, spare_single=False)
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

    The masks are broadcast against the logits. Each item has at least one real source: over these
    the weights of a query sum to 1, those of a padded query too. In float32 at least.
    """
    real = in_full(logits).masked_fill(~queries[..., None], 0)
    single = (queries.sum(dim=-1) == 1)[..., None, None] if attention.spare_single else None
    return weigh(real, ~sources[..., None, :], attention, single, sources_axis=-1)


def weigh(
    logits: Tensor,
    padding: Tensor | None,
    attention: Attention,
    single: Tensor | None,
    sources_axis: int,
) -> Tensor:
    """The weights where the logits of padded queries are 0 and the queries' axis is -2.

    padding: True where the source is not real, or None if all are
    single:  True where the query is its item's only one and spared, or None if none is
    """
    shaped = logits if attention.leak is None else leaky_relu(logits, attention.leak)
    scale: Tensor | float = attention.sharpness
    if attention.normalize:
        # A reduction of squares: `vector_norm` is many times slower along an axis but the last.
        # The root has no gradient at 0.
        square = shaped.square().sum(dim=-2, keepdim=True)
        norm = square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
        scale = attention.sharpness / (norm + 1e-8)
    sharp = shaped * scale
    if single is not None:
        sharp = torch.where(single, attention.sharpness * logits, sharp)
    if padding is not None:
        # In place: nothing else holds the product, and its gradient does not need it.
        sharp.masked_fill_(padding, -torch.inf)
    return sharp.softmax(dim=sources_axis)


def attended_cosine(weights: Tensor, similarity: Tensor, gram: Tensor) -> Tensor:
    """Cosine of each query with the average of the sources that it attends to: (..., queries).

    weights:    (..., queries, sources)
    similarity: (..., queries, sources), dot products of queries of unit length with the sources
    gram:       (..., sources, sources), dot products of the sources with one another

    cos(q, sum_k a_k x_k) = a.s / sqrt(a.G a), with s = X q and G = X X^T: the attended vector is
    never formed. Leading axes are broadcast. In float32 at least.
    """
    with torch.autocast(weights.device.type, enabled=False):
        weights, similarity, gram = in_full(weights), in_full(similarity), in_full(gram)
        # einsum does not expand an axis that the Gram matrices lack; matmul would.
        mixed = torch.einsum("...qs,...sk->...qk", weights, gram)
        return cosine((weights * similarity).sum(dim=-1), (weights * mixed).sum(dim=-1))


def cosine(along: Tensor, square: Tensor) -> Tensor:
    """What dot product and squared length make: along / sqrt(square).

    Rounding leaves an error of about eps in the square of a mean of vectors of unit length. What is
    below is not known from 0, may even be negative, and its root has no useful gradient: it is
    taken as eps.
    """
    return along / square.clamp(min=torch.finfo(square.dtype).eps).sqrt()

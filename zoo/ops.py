"""Small tensor operations that several methods share.

One alphabet everywhere: i images, t texts, r regions, w words, d dim.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from .batch import Fragments


def pad(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack rows of different lengths: (items, longest, ...), and the mask of what is real.

    >>> pad([torch.tensor([5, 6]), torch.tensor([7])])
    (tensor([[5, 6],
            [7, 0]]), tensor([[ True,  True],
            [ True, False]]))
    """
    mask = pad_sequence([row.new_ones(len(row), dtype=torch.bool) for row in rows], True)
    return pad_sequence(list(rows), True), mask


def unpack(values: Tensor, mask: Tensor, fill: float = -torch.inf) -> Tensor:
    """Put values that were packed by a mask back into their places.

    values: (n, kept), for the places (items, fragments) where `mask` is True, in their order
    Yields (n, items, fragments), `fill` where the mask is False.
    """
    places = values.new_full((len(values), *mask.shape), fill)
    places[:, mask] = values
    return places


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear map that starts Xavier uniform, its bias 0."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def l2_normalize(embeddings: Tensor) -> Tensor:
    """Scale to unit length along the last axis: x / (||x|| + 1e-8); a zero vector stays zero.

    In float32 at least: to float16, 1e-8 is 0.
    """
    full = in_full(embeddings)
    length: Tensor = torch.linalg.vector_norm(full, dim=-1, keepdim=True)
    return (full / (length + 1e-8)).to(embeddings.dtype)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean along the last axis over the entries that the mask keeps."""
    return values.masked_fill(~mask, 0).sum(dim=-1) / mask.sum(dim=-1)


def weighted_mean(values: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
    """Mean of fragments, weighted by the softmax of the logits that the mask keeps: (..., dim).

    values: (..., fragments, dim); logits and mask: (..., fragments), broadcast

    >>> values = torch.tensor([[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]])
    >>> weighted_mean(values, torch.zeros(3), torch.tensor([True, True, False]))
    tensor([2., 3.])
    """
    shares = logits.masked_fill(~mask, -torch.inf).softmax(dim=-1)
    return (shares[..., None, :] @ values).squeeze(-2)


def in_full(values: Tensor) -> Tensor:
    """In float32, or in float64 where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def linear_in_full(layer: nn.Linear, values: Tensor) -> Tensor:
    """What a linear map makes of values, in float32 at least, however its weights are stored.

    For layers between the encodings and the scores, which rank: call it where autocast is off.

    >>> linear_in_full(nn.Linear(2, 1).bfloat16(), torch.ones(3, 2)).dtype
    torch.float32
    """
    bias: Tensor | None = layer.bias
    full = bias if bias is None else in_full(bias)
    return nn.functional.linear(in_full(values), in_full(layer.weight), full)


def dot_products(images: Fragments, texts: Fragments) -> Tensor:
    """Of each word with each region: (images, texts, words, regions), -inf at padding."""
    products = torch.einsum("twd,ird->itwr", texts.embeddings, images.embeddings)
    real = texts.mask[None, :, :, None] & images.mask[:, None, None, :]
    return products.masked_fill(~real, -torch.inf)

"""Soft alignment on a GPU: from dot products to cosines in one pass, and back in another.

The dot products are a product of matrices, which the device's own library makes. What follows them,
weights, a.s and a.G a, is some fifteen passes over them when it is written in torch; here each is
read once (twice where there is a norm over the queries), and nothing of their size is stored. Going
back, all of it is computed again, and the gradient of the dot products alone is stored.

One program has one source item and a block of query items, whose query fragments it takes one after
the other: all sources of a fragment are a column of its tile, so the softmax runs along columns and
G a is a small product of matrices. Sources are padded to a power of two. From `MOST` sources on the
tile would not fit: torch's form is used. To make the dot products here, too, would spare writing
and reading them once, and pad 36 sources to 64 in the product that costs most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from .attention import Attention
from .triton_device import Gpu

MOST = 128
"""Sources of an item, at most; half as many where shared memory is below `AMPLE`."""

AMPLE = 160 * 2**10

SIZES = ["sources", "queries", "items"]
"""These vary from batch to batch; a kernel is not compiled anew for those that 16 divides."""

EPSILON = tl.constexpr(torch.finfo(torch.float32).eps)
TINY = tl.constexpr(torch.finfo(torch.float32).tiny)
SMALLEST_NORM = tl.constexpr(torch.finfo(torch.float32).tiny ** 0.5)


class AttendedCosines(torch.autograd.Function):
    """(source items, queries, query items), as `weigh` and `cosine` make them."""

    @staticmethod
    def forward(
        ctx: Any,
        similarity: Tensor,
        logits: Tensor | None,
        gram: Tensor,
        padding: Tensor | None,
        single: Tensor | None,
        attention: Attention,
    ) -> Tensor:
        """similarity, logits: (source items, sources, queries, query items); None: the similarity.

        gram:    (source items, sources, sources)
        padding: (source items, sources), True where there is none; None: nowhere
        single:  (query items,), True where the one query is spared the norm; None: nowhere
        """
        similarity, gram = similarity.contiguous(), gram.contiguous()
        logits = None if logits is None else logits.contiguous()
        ctx.save_for_backward(similarity, logits, gram, padding, single)
        ctx.attention = attention
        items, sources, queries, others = similarity.shape
        cosines = similarity.new_empty(items, queries, others)
        inputs = similarity, logits, gram, padding, single
        _launch(_cosines, inputs, (cosines,), attention, Tile.of(sources, others, gradients=False))
        return cosines

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Of the similarities, the logits and the Gram matrices."""
        similarity, logits, gram, *_ = ctx.saved_tensors
        of_similarity = torch.empty_like(similarity)
        of_logits = of_similarity if logits is None else torch.empty_like(logits)
        _, sources, _, others = similarity.shape
        tile = Tile.of(sources, others, gradients=True)
        blocks = triton.cdiv(others, tile.items)
        of_gram = gram.new_empty(len(gram), blocks, *gram.shape[1:])
        results = gradients.contiguous(), of_similarity, of_logits, of_gram
        _launch(_gradients, ctx.saved_tensors, results, ctx.attention, tile)
        return (
            of_similarity,
            None if logits is None else of_logits,
            of_gram.sum(dim=1),
            *(None, None, None),
        )


def fits(sources: int, device: torch.device) -> bool:
    """Whether a tile takes so many sources there."""
    ample = Gpu.of(device).shared_memory >= AMPLE
    return sources <= (MOST if ample else MOST // 2)


@dataclass(frozen=True)
class Tile:
    """What one program computes at a time: sources of one fragment of so many query items.

    As many as leave most of what is computed in registers. Gradients take twice as much.
    """

    sources: int
    items: int
    warps: int

    @classmethod
    def of(cls, sources: int, items: int, gradients: bool) -> Tile:
        """For so many sources and query items; tensor cores take 16 of either at least."""
        high = max(16, triton.next_power_of_2(sources))
        numbers, most = (1024, 32) if gradients else (2048, 64)
        wide = min(max(16, numbers // high), most, max(16, triton.next_power_of_2(items)))
        return cls(high, wide, 4 if high <= MOST // 2 else 8)


def _launch(
    kernel: Any,
    inputs: tuple[Tensor | None, ...],
    results: tuple[Tensor, ...],
    attention: Attention,
    tile: Tile,
) -> None:
    """One program for each source item and tile of query items."""
    similarity, logits, gram, padding, single = inputs
    assert similarity is not None
    source_items, sources, queries, items = similarity.shape
    if not similarity.numel():
        return
    with torch.cuda.device_of(similarity):
        kernel[(source_items, triton.cdiv(items, tile.items))](
            similarity,
            similarity if logits is None else logits,
            gram,
            gram if padding is None else padding.contiguous().view(torch.uint8),
            gram if single is None else single.contiguous().view(torch.uint8),
            *results,
            sources,
            queries,
            items,
            float(attention.sharpness),
            1.0 if attention.leak is None else float(attention.leak),
            own_logits=logits is not None,
            normalize=attention.normalize,
            padded=padding is not None,
            spared=single is not None,
            source_tile=tile.sources,
            item_tile=tile.items,
            num_warps=tile.warps,
        )


@triton.jit(do_not_specialize=SIZES)
def _cosines(
    similarity,  # (source items, sources, queries, query items)
    logits,  # likewise
    gram,  # (source items, sources, sources)
    padding,  # (source items, sources), not 0 where the source is none
    single,  # (query items,), not 0 where the one query is spared
    cosines,  # (source items, queries, query items)
    sources,
    queries,
    items,
    sharpness,
    leak,
    own_logits: tl.constexpr,
    normalize: tl.constexpr,
    padded: tl.constexpr,
    spared: tl.constexpr,
    source_tile: tl.constexpr,
    item_tile: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    item = tl.program_id(1) * item_tile + tl.arange(0, item_tile)
    first, inside, there = _places(row, item, padding, sources, queries, items, padded, source_tile)
    alone = _alone(single, item, items, spared, item_tile)
    norms = _norms(logits + first, inside, alone, queries, items, leak, normalize)
    products = _gram(gram, row, sources, source_tile)
    for query in range(queries):
        logit = tl.load(logits + first + query * items, mask=inside, other=0.0)
        alike = logit
        if own_logits:
            alike = tl.load(similarity + first + query * items, mask=inside, other=0.0)
        shaped = _shaped(logit, alone, leak)
        weights = _weights(shaped * _scale(norms, alone, sharpness, normalize), there)
        mixed = tl.dot(products, weights, input_precision="tf32x3")
        square = tl.maximum(tl.sum(weights * mixed, axis=0), EPSILON)
        cosine = tl.sum(weights * alike, axis=0) / tl.sqrt_rn(square)
        tl.store(cosines + (row * queries + query) * items + item, cosine, mask=item < items)


@triton.jit(do_not_specialize=SIZES)
def _gradients(
    similarity,
    logits,
    gram,
    padding,
    single,
    gradients,  # (source items, queries, query items)
    of_similarity,  # (source items, sources, queries, query items)
    of_logits,  # likewise; where there are no logits of their own, it is of_similarity
    of_gram,  # (source items, blocks of query items, sources, sources)
    sources,
    queries,
    items,
    sharpness,
    leak,
    own_logits: tl.constexpr,
    normalize: tl.constexpr,
    padded: tl.constexpr,
    spared: tl.constexpr,
    source_tile: tl.constexpr,
    item_tile: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    item = tl.program_id(1) * item_tile + tl.arange(0, item_tile)
    first, inside, there = _places(row, item, padding, sources, queries, items, padded, source_tile)
    alone = _alone(single, item, items, spared, item_tile)
    norms = _norms(logits + first, inside, alone, queries, items, leak, normalize)
    scale = _scale(norms, alone, sharpness, normalize)
    products = _gram(gram, row, sources, source_tile)
    of_scale = tl.zeros([source_tile, item_tile], tl.float32)
    of_products = tl.zeros([source_tile, source_tile], tl.float32)
    for query in range(queries):
        logit = tl.load(logits + first + query * items, mask=inside, other=0.0)
        alike = logit
        if own_logits:
            alike = tl.load(similarity + first + query * items, mask=inside, other=0.0)
        shaped = _shaped(logit, alone, leak)
        weights = _weights(shaped * scale, there)
        mixed = tl.dot(products, weights, input_precision="tf32x3")
        square = tl.sum(weights * mixed, axis=0)
        along = tl.sum(weights * alike, axis=0)
        known = tl.maximum(square, EPSILON)
        given = gradients + (row * queries + query) * items + item
        of_along = tl.load(given, mask=item < items, other=0.0) / tl.sqrt_rn(known)
        of_square = tl.where(square >= EPSILON, -0.5 * of_along * along / known, 0.0)
        of_weights = alike * of_along[None, :] + 2 * mixed * of_square[None, :]
        centered = of_weights - tl.sum(weights * of_weights, axis=0)[None, :]
        of_sharp = weights * centered
        of_scale += of_sharp * shaped
        of_products = tl.dot(
            weights * of_square[None, :], weights.T, of_products, input_precision="tf32x3"
        )
        of_alike = weights * of_along[None, :]
        of_logit = of_sharp * scale * _slope(logit, alone, leak)
        if own_logits:
            tl.store(of_similarity + first + query * items, of_alike, mask=inside)
        else:
            of_logit += of_alike
        tl.store(of_logits + first + query * items, of_logit, mask=inside)
    if normalize:
        # A norm that is not known from 0 has no gradient, and what is spared has no norm.
        has_norm = (norms > SMALLEST_NORM) & (alone[None, :] == 0)
        of_norm = -of_scale * scale / ((norms + 1e-8) * norms)
        of_norm = tl.where(has_norm, of_norm, 0.0)
        tl.debug_barrier()  # what was stored above is read here, by other threads too
        for query in range(queries):
            logit = tl.load(logits + first + query * items, mask=inside, other=0.0)
            stored = of_logits + first + query * items
            more = of_norm * _shaped(logit, alone, leak) * _slope(logit, alone, leak)
            tl.store(stored, tl.load(stored, mask=inside, other=0.0) + more, mask=inside)
    source = tl.arange(0, source_tile)
    block = (row * tl.num_programs(1) + tl.program_id(1)) * sources
    both = (source < sources)[:, None] & (source < sources)[None, :]
    kept = (block + source[:, None]) * sources + source[None, :]
    tl.store(of_gram + kept, of_products, mask=both)


@triton.jit
def _places(
    row, item, padding, sources, queries, items, padded: tl.constexpr, source_tile: tl.constexpr
):
    """Where a tile's first query fragment lies, what of it is there, and which sources are real."""
    source = tl.arange(0, source_tile)
    first = (row * sources + source[:, None]) * queries * items + item[None, :]
    there = source < sources
    inside = there[:, None] & (item < items)[None, :]
    if padded:
        there = there & (tl.load(padding + row * sources + source, mask=there, other=1) == 0)
    return first, inside, there


@triton.jit
def _gram(gram, row, sources, source_tile: tl.constexpr):
    """The dot products of the item's sources with one another."""
    source = tl.arange(0, source_tile)
    both = (source < sources)[:, None] & (source < sources)[None, :]
    cell = (row * sources + source[:, None]) * sources + source[None, :]
    return tl.load(gram + cell, mask=both, other=0.0)


@triton.jit
def _alone(single, item, items, spared: tl.constexpr, item_tile: tl.constexpr):
    """Which query items have one fragment that keeps its raw logits."""
    if spared:
        return tl.load(single + item, mask=item < items, other=0).to(tl.int1)
    return tl.zeros([item_tile], tl.int1)


@triton.jit
def _shaped(logit, alone, leak):
    """Through the leaky ReLU."""
    return tl.where((logit > 0) | alone[None, :], logit, leak * logit)


@triton.jit
def _slope(logit, alone, leak):
    """Of the leaky ReLU."""
    return tl.where((logit > 0) | alone[None, :], 1.0, leak)


@triton.jit
def _norms(logits, inside, alone, queries, items, leak, normalize: tl.constexpr):
    """Of each source's logits over the query fragments of each item."""
    square = inside.to(tl.float32) * 0
    if normalize:
        for query in range(queries):
            logit = tl.load(logits + query * items, mask=inside, other=0.0)
            shaped = _shaped(logit, alone, leak)
            square += shaped * shaped
    return tl.sqrt_rn(tl.maximum(square, TINY))


@triton.jit
def _scale(norms, alone, sharpness, normalize: tl.constexpr):
    """What logits are multiplied by before the softmax."""
    if normalize:
        return tl.where(alone[None, :], sharpness, sharpness / (norms + 1e-8))
    return norms * 0 + sharpness


@triton.jit
def _weights(sharp, there):
    """The softmax over the sources that are real."""
    sharp = tl.where(there[:, None], sharp, float("-inf"))
    shares = tl.exp(sharp - tl.max(sharp, axis=0)[None, :])
    return shares / tl.sum(shares, axis=0)[None, :]

"""Soft alignment on a GPU: from dot products to cosines in one pass, and back in another.

`soft_passes` is the same in torch's operations, some fifteen passes over the dot products; here
each is read once, or twice where there is a norm over the queries, and nothing of their size is
stored. Going back, all is made again and the gradients alone are stored.

One program has one source item and some query items of one length, whose fragments it takes one
after the other: all sources of a fragment are a column of its tile, so the softmax runs along
columns and G a is a small product of matrices. Sources are padded to a power of two; where they are
more than `MOST`, the tile would not fit. The dot products stay the library's: made here, they would
pad 36 sources to 64 in the product that costs most, to spare writing and reading them once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from .attention import Attention
from .runs import Run
from .soft_passes import Gradients
from .triton_device import Gpu

MOST = 128
"""Sources of an item, at most; half as many where shared memory is below `AMPLE`."""

AMPLE = 160 * 2**10

SIZES = ["sources", "queries", "items", "pitch", "start"]
"""These vary from batch to batch; a kernel is not compiled anew for those that 16 divides."""

EPSILON = tl.constexpr(torch.finfo(torch.float32).eps)
TINY = tl.constexpr(torch.finfo(torch.float32).tiny)


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


def cosines(
    similarity: Tensor, logits: Tensor, gram: Tensor, runs: Iterable[Run], attention: Attention
) -> Tensor:
    """As `soft_passes.cosines`, in float32."""
    items, sources, pitch = similarity.shape
    found = similarity.new_empty(items, pitch)
    for run in runs:
        tile = Tile.of(sources, run.items, gradients=False)
        _launch(_cosines, tile, (similarity, logits, gram, found), run, attention)
    return found


def gradients(
    gradient: Tensor,
    similarity: Tensor,
    logits: Tensor,
    gram: Tensor,
    runs: Iterable[Run],
    attention: Attention,
) -> Gradients:
    """As `soft_passes.gradients`, in float32."""
    items, sources, _ = similarity.shape
    of_similarity, of_logits = torch.empty_like(similarity), torch.empty_like(similarity)
    of_gram = gram.new_zeros(items, sources, sources)
    gradient = gradient.contiguous()
    for run in runs:
        tile = Tile.of(sources, run.items, gradients=True)
        parts = gram.new_empty(items, triton.cdiv(run.items, tile.items), sources, sources)
        tensors = (similarity, logits, gram, gradient, of_similarity, of_logits, parts)
        _launch(_gradients, tile, tensors, run, attention)
        of_gram += parts.sum(dim=1)
    return Gradients(of_similarity, of_logits, of_gram)


def _launch(
    kernel: object, tile: Tile, tensors: tuple[Tensor, ...], run: Run, attention: Attention
) -> None:
    """One program for each source item and tile of the run's query items."""
    similarity, logits, *_ = tensors
    items, sources, pitch = similarity.shape
    spared = attention.spare_single and run.length == 1
    with torch.cuda.device_of(similarity):
        kernel[items, triton.cdiv(run.items, tile.items)](  # type: ignore[index]
            *tensors,
            sources,
            run.length,
            run.items,
            pitch,
            run.start,
            float(attention.sharpness),
            1.0 if attention.leak is None or spared else float(attention.leak),
            own_logits=logits.data_ptr() != similarity.data_ptr(),
            normalize=attention.normalize and not spared,
            source_tile=tile.sources,
            item_tile=tile.items,
            num_warps=tile.warps,
        )


@triton.jit(do_not_specialize=SIZES)
def _cosines(
    similarity,  # (source items, sources, pitch)
    logits,  # likewise
    gram,  # (source items, sources + 1, sources), of which the last row is not read
    cosines,  # (source items, pitch)
    sources,
    queries,  # fragments of each query item
    items,
    pitch,
    start,  # where the run begins in it
    sharpness,
    leak,
    own_logits: tl.constexpr,
    normalize: tl.constexpr,
    source_tile: tl.constexpr,
    item_tile: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    item = tl.program_id(1) * item_tile + tl.arange(0, item_tile)
    source = tl.arange(0, source_tile)
    real = source < sources
    inside = real[:, None] & (item < items)[None, :]
    first = (row * sources + source[:, None]) * pitch + start + item[None, :]
    norms = _norms(logits + first, inside, queries, items, leak, normalize)
    products = _gram(gram, row, source, sources)
    for query in range(queries):
        logit = tl.load(logits + first + query * items, mask=inside, other=0.0)
        alike = logit
        if own_logits:
            alike = tl.load(similarity + first + query * items, mask=inside, other=0.0)
        shaped = tl.where(logit > 0, logit, leak * logit)
        weights = _weights(shaped * _scale(norms, sharpness, normalize), real)
        mixed = tl.dot(products, weights, input_precision="tf32x3")
        square = tl.maximum(tl.sum(weights * mixed, axis=0), EPSILON)
        cosine = tl.sum(weights * alike, axis=0) / tl.sqrt_rn(square)
        tl.store(cosines + row * pitch + start + query * items + item, cosine, mask=item < items)


@triton.jit(do_not_specialize=SIZES)
def _gradients(
    similarity,
    logits,
    gram,
    gradients,  # (source items, pitch)
    of_similarity,  # (source items, sources, pitch)
    of_logits,  # likewise
    of_gram,  # (source items, tiles of query items, sources, sources)
    sources,
    queries,
    items,
    pitch,
    start,
    sharpness,
    leak,
    own_logits: tl.constexpr,
    normalize: tl.constexpr,
    source_tile: tl.constexpr,
    item_tile: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    item = tl.program_id(1) * item_tile + tl.arange(0, item_tile)
    source = tl.arange(0, source_tile)
    real = source < sources
    inside = real[:, None] & (item < items)[None, :]
    first = (row * sources + source[:, None]) * pitch + start + item[None, :]
    norms = _norms(logits + first, inside, queries, items, leak, normalize)
    scale = _scale(norms, sharpness, normalize)
    products = _gram(gram, row, source, sources)
    of_scale = tl.zeros([source_tile, item_tile], tl.float32)
    of_products = tl.zeros([source_tile, source_tile], tl.float32)
    for query in range(queries):
        logit = tl.load(logits + first + query * items, mask=inside, other=0.0)
        alike = logit
        if own_logits:
            alike = tl.load(similarity + first + query * items, mask=inside, other=0.0)
        shaped = tl.where(logit > 0, logit, leak * logit)
        weights = _weights(shaped * scale, real)
        mixed = tl.dot(products, weights, input_precision="tf32x3")
        square = tl.sum(weights * mixed, axis=0)
        along = tl.sum(weights * alike, axis=0)
        known = tl.maximum(square, EPSILON)
        given = gradients + row * pitch + start + query * items + item
        of_along = tl.load(given, mask=item < items, other=0.0) / tl.sqrt_rn(known)
        of_square = tl.where(square >= EPSILON, -0.5 * of_along * along / known, 0.0)
        of_weights = alike * of_along[None, :] + 2 * mixed * of_square[None, :]
        centered = of_weights - tl.sum(weights * of_weights, axis=0)[None, :]
        of_sharp = weights * centered
        of_scale += of_sharp * shaped
        of_products = tl.dot(
            weights * of_square[None, :], weights.T, of_products, input_precision="tf32x3"
        )
        of_logit = of_sharp * scale * tl.where(logit > 0, 1.0, leak)
        tl.store(of_similarity + first + query * items, weights * of_along[None, :], mask=inside)
        tl.store(of_logits + first + query * items, of_logit, mask=inside)
    if normalize:
        of_norm = -of_scale * scale / ((norms + 1e-8) * norms)  # 0 where all logits are
        tl.debug_barrier()  # what was stored above is read here, by other threads too
        for query in range(queries):
            logit = tl.load(logits + first + query * items, mask=inside, other=0.0)
            slope = tl.where(logit > 0, 1.0, leak)
            stored = of_logits + first + query * items
            more = of_norm * slope * slope * logit
            tl.store(stored, tl.load(stored, mask=inside, other=0.0) + more, mask=inside)
    tile = row * tl.num_programs(1) + tl.program_id(1)
    kept = (tile * sources + source[:, None]) * sources + source[None, :]
    tl.store(of_gram + kept, of_products, mask=real[:, None] & real[None, :])


@triton.jit
def _gram(gram, row, source, sources):
    """The dot products of the item's sources with one another."""
    cell = (row * (sources + 1) + source[:, None]) * sources + source[None, :]
    real = source < sources
    return tl.load(gram + cell, mask=real[:, None] & real[None, :], other=0.0)


@triton.jit
def _norms(logits, inside, queries, items, leak, normalize: tl.constexpr):
    """Of each source's logits, through the leaky ReLU, over the fragments of each query item."""
    square = inside.to(tl.float32) * 0
    if normalize:
        for query in range(queries):
            logit = tl.load(logits + query * items, mask=inside, other=0.0)
            shaped = tl.where(logit > 0, logit, leak * logit)
            square += shaped * shaped
    return tl.sqrt_rn(tl.maximum(square, TINY))


@triton.jit
def _scale(norms, sharpness, normalize: tl.constexpr):
    """What logits are multiplied by before the softmax."""
    if normalize:
        return sharpness / (norms + 1e-8)
    return norms * 0 + sharpness


@triton.jit
def _weights(sharp, real):
    """The softmax over the sources that are real."""
    sharp = tl.where(real[:, None], sharp, float("-inf"))
    shares = tl.exp(sharp - tl.max(sharp, axis=0)[None, :])
    return shares / tl.sum(shares, axis=0)[None, :]

"""Hard alignment: every fragment of one side takes its single best fragment of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from ..batch import Fragments
from ..ops import in_full
from .choice import uses_triton
from .gathering import gathered_gradients
from .packing import Codes, Packing
from .rounding import HALF, Rounded, product_errors, sums_in_float32

ROWS, COLUMNS = 64 * 36, 512
"""Fragments of either side multiplied at once: 4.5 MiB of similarities in float32, of all shapes
tried the fastest on a CPU with 1 MiB of second-level cache a core (benchmarks/README.md)."""

FEW = 0.2
"""The share of codes with a gradient below which each is sooner followed than all multiplied."""

NARROWEST = 16
"""With fewer rows or columns a CPU's library adds up in another order, to other last bits."""

Gradients = tuple[Tensor, Tensor]
"""Of the queries (queries, dim) and of the entries (items, fragments, dim)."""


def hard_alignment(
    queries: Fragments, codebooks: Fragments, *, dtype: torch.dtype | None = None
) -> Codes:
    """Each query fragment's dot product with its best fragment of each item's codebook.

    c[item, q] = max_k <codebook[item, k], q>

    dtype: that the dot products are computed in and, but for those of kernels in Triton, rounded
           to; None: float32, or float64 where the embeddings are, under autocast too

    Padding is never multiplied on the queries' side and left out of the maximum on the other.
    Gradients reach the best fragment alone, the first of equals. Memory is bounded by `ROWS` times
    `COLUMNS`, beyond the result and, where there are gradients, a number for each code. Yields a
    code for each codebook item and real query fragment, float32 at least.
    """
    packing = Packing.of(queries.mask)
    device = codebooks.mask.device
    kind = dtype or torch.promote_types(queries.embeddings.dtype, codebooks.embeddings.dtype)
    align: Any = _Best.apply
    if kind != torch.float64 and uses_triton(device):
        from .triton_hard import Best

        align = Best.apply  # of products of two halves it loses nothing
    elif dtype is None:
        kind = torch.promote_types(kind, torch.float32)
    with torch.autocast(device.type, enabled=False):
        packed = packing.pack(queries.embeddings.to(kind))
        best = align(packed, codebooks.embeddings.to(kind), ~codebooks.mask)
        return Codes(in_full(best), packing)


def rounded_hard_alignment(queries: Rounded, codebooks: Rounded) -> tuple[Codes, Codes]:
    """As `hard_alignment`, in bfloat16; and how far each code may be from the one in float32.

    A maximum moves no further than what it is taken of.
    """
    with sums_in_float32():
        codes = hard_alignment(queries.fragments, codebooks.fragments, dtype=HALF)
    rows = codes.packing.rows
    sizes = queries.lengths.flatten()[rows], queries.errors.flatten()[rows]
    return codes, Codes(product_errors(codes.values, sizes, codebooks), codes.packing)


class _Best(torch.autograd.Function):
    """(items, queries), remembering which entry was the best and no similarity."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, entries: Tensor, padding: Tensor) -> Tensor:
        best = entries.new_empty(len(entries), len(queries))
        places = None
        if any(ctx.needs_input_grad):
            places = torch.empty(best.shape, dtype=torch.long, device=best.device)
            ctx.save_for_backward(queries, entries, places)
        _fill(best, places, queries, entries, padding)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Of a loss over hardest negatives few codes have a gradient, of others most have."""
        if not gradients[0].is_cpu:
            return *gathered_gradients(gradients[0], *ctx.saved_tensors), None
        few = gradients[0].count_nonzero() < FEW * gradients[0].numel()
        return *(_few if few else _many)(gradients[0], *ctx.saved_tensors), None


def _few(gradients: Tensor, queries: Tensor, entries: Tensor, places: Tensor) -> Gradients:
    """Item by item, of those codes alone that have a gradient."""
    of_queries, of_entries = torch.zeros_like(queries), torch.zeros_like(entries)
    for item, gradient in enumerate(gradients):
        asked = gradient.nonzero()[:, 0]
        best, weights = places[item, asked], gradient[asked, None]
        of_queries.index_add_(0, asked, weights * entries[item, best])
        of_entries[item].index_add_(0, best, weights * queries[asked])
    return of_queries, of_entries


def _many(gradients: Tensor, queries: Tensor, entries: Tensor, places: Tensor) -> Gradients:
    """Two products with a matrix that has the gradient at each query's best entry, and zeros."""
    of_queries, of_entries = torch.zeros_like(queries), torch.empty_like(entries)
    fragments = entries.shape[1]
    for items in _slices(len(entries), max(1, ROWS // fragments)):
        chosen = gradients.new_zeros(len(gradients[items]), fragments, len(queries))
        rows = chosen.scatter_(1, places[items, None], gradients[items, None]).flatten(0, 1)
        of_queries.addmm_(rows.T, entries[items].flatten(0, 1))
        of_entries[items] = (rows @ queries).view_as(entries[items])
    return of_queries, of_entries


def _fill(
    best: Tensor, places: Tensor | None, queries: Tensor, entries: Tensor, padding: Tensor
) -> None:
    """The largest product of each item with each query, and where it is, block after block."""
    count, fragments, _ = entries.shape
    padded = bool(padding.any())
    together = max(1, ROWS // fragments)
    rows_held = max(NARROWEST, min(count, together) * fragments)
    buffer = entries.new_empty(rows_held * max(NARROWEST, min(len(queries), COLUMNS)))
    for items in _slices(count, together):
        rows = _widened(entries[items].flatten(0, 1))
        for columns in _slices(len(queries), COLUMNS):
            block = _widened(queries[columns])
            held = buffer[: len(rows) * len(block)].view(len(rows), len(block))
            products = torch.mm(rows, block.T, out=held)[: padding[items].numel()]
            similarity = products.view(-1, fragments, len(block))[..., : len(queries[columns])]
            if padded:
                similarity.masked_fill_(padding[items][..., None], -torch.inf)
            if places is None:
                best[items, columns] = similarity.amax(dim=1)
            else:
                best[items, columns], places[items, columns] = similarity.max(dim=1)


def _widened(vectors: Tensor) -> Tensor:
    """With zero vectors behind them where they are too few."""
    return pad(vectors, (0, 0, 0, max(0, NARROWEST - len(vectors))))


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))

"""Hard alignment: every fragment of one side takes its single best fragment of the other."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..batch import Fragments
from ..ops import in_full
from .packing import Codes, Packing
from .rounding import HALF, Rounded, product_errors, sums_in_float32

ROWS, COLUMNS = 64 * 36, 512
"""Fragments of either side multiplied at once: 4.5 MiB of similarities in float32, of all shapes
tried the fastest on a CPU with 1 MiB of second-level cache a core (benchmarks/README.md)."""

NARROWEST = 16
"""Fewer columns than that, and a CPU's library multiplies in another order: other last bits."""


def hard_alignment(
    queries: Fragments, codebooks: Fragments, *, dtype: torch.dtype | None = None
) -> Codes:
    """Each query fragment's dot product with its best fragment of each item's codebook.

    c[item, q] = max_k <codebook[item, k], q>

    dtype: that the dot products are computed in and rounded to; None: float32, or float64 where
           the embeddings are, under autocast too

    Padding is never multiplied on the queries' side and left out of the maximum on the other.
    Gradients reach the best fragment alone. Without gradients, memory beyond the result is bounded
    by `ROWS` times `COLUMNS`. Yields a code for each codebook item and real query fragment,
    float32 at least.
    """
    packing = Packing.of(queries.mask)
    with torch.autocast(codebooks.mask.device.type, enabled=False):
        packed = packing.pack(_in(dtype, queries.embeddings))
        entries = _in(dtype, codebooks.embeddings)
        best = _best if torch.is_grad_enabled() else _best_in_place
        return Codes(in_full(best(packed, entries, ~codebooks.mask)), packing)


def rounded_hard_alignment(queries: Rounded, codebooks: Rounded) -> tuple[Codes, Codes]:
    """As `hard_alignment`, in bfloat16; and how far each code may be from the one in float32.

    A maximum moves no further than what it is taken of.
    """
    with sums_in_float32():
        codes = hard_alignment(queries.fragments, codebooks.fragments, dtype=HALF)
    rows = codes.packing.rows
    sizes = queries.lengths.flatten()[rows], queries.errors.flatten()[rows]
    return codes, Codes(product_errors(codes.values, sizes, codebooks), codes.packing)


def _in(dtype: torch.dtype | None, embeddings: Tensor) -> Tensor:
    return in_full(embeddings) if dtype is None else embeddings.to(dtype)


def _best(queries: Tensor, entries: Tensor, padding: Tensor) -> Tensor:
    """(items, queries), with a graph for gradients."""
    similarity = (entries.flatten(0, 1) @ queries.T).view(*padding.shape, len(queries))
    if padding.any():
        similarity = similarity.masked_fill(padding[..., None], -torch.inf)
    return similarity.amax(dim=1)


def _best_in_place(queries: Tensor, entries: Tensor, padding: Tensor) -> Tensor:
    """(items, queries), block after block in one buffer."""
    count, fragments, _ = entries.shape
    best = entries.new_empty(count, len(queries))
    padded = bool(padding.any())
    together = max(1, ROWS // fragments)
    rows_held = max(NARROWEST, min(count, together) * fragments)
    buffer = entries.new_empty(rows_held * max(NARROWEST, min(len(queries), COLUMNS)))
    for items in _slices(count, together):
        rows = _widened(entries[items].flatten(0, 1))
        for columns in _slices(len(queries), COLUMNS):
            block = _widened(queries[columns])
            held = buffer[: len(rows) * len(block)].view(len(rows), len(block))
            products = torch.mm(rows, block.T, out=held)
            similarity = products[: padding[items].numel()].view(-1, fragments, len(block))
            if padded:
                similarity.masked_fill_(padding[items][..., None], -torch.inf)
            best[items, columns] = similarity.amax(dim=1)[:, : len(queries[columns])]
    return best


def _widened(vectors: Tensor) -> Tensor:
    """With zero vectors behind them where they are too few."""
    return pad(vectors, (0, 0, 0, max(0, NARROWEST - len(vectors))))


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))

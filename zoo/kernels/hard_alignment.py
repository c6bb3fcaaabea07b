"""Hard alignment: every fragment of one side takes its single best fragment of the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag, pad

from ..batch import Fragments
from ..ops import in_full
from .choice import uses_triton
from .packing import Codes, Packing
from .rounding import HALF, Rounded, product_errors, sums_in_float32

ROWS, COLUMNS = 64 * 36, 512
"""Fragments of either side multiplied at once: 4.5 MiB of similarities in float32, of all shapes
tried the fastest on a CPU with 1 MiB of second-level cache a core (docs/benchmarks.md)."""

LARGER = 8
"""Times as many of either on other devices, where each block costs launches. Not yet measured."""

NARROWEST = 16
"""With fewer rows or columns a CPU's library adds up in another order, to other last bits."""


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
    kind, fused = _computed(queries, codebooks, dtype)
    with torch.autocast(device.type, enabled=False):
        packed, entries = packing.pack(queries.embeddings.to(kind)), codebooks.embeddings.to(kind)
        asked = packed, entries, ~codebooks.mask, fused, torch.is_grad_enabled()
        best: Tensor = _Best.apply(*asked)  # type: ignore[no-untyped-call]
        return Codes(in_full(best), packing)


def listed_hard_alignment(queries: Fragments, codebooks: Fragments, pairs: Tensor) -> Codes:
    """As `hard_alignment`, to the last bit, of some pairs: (1, fragments), the items being pairs.

    pairs: (pairs, 2), rows of a query item and of a codebook item
    """
    longest = queries.mask.shape[1]
    packing = Packing.of(queries.mask[pairs[:, 0]])
    pair, place = packing.rows // longest, packing.rows % longest
    asking, items = pairs[pair, 0] * longest + place, pairs[pair, 1]
    kind, fused = _computed(queries, codebooks, None)
    with torch.autocast(codebooks.mask.device.type, enabled=False):
        vectors, entries = queries.embeddings.flatten(0, 1).to(kind), codebooks.embeddings.to(kind)
        asked = vectors, entries, ~codebooks.mask, asking, items, fused, torch.is_grad_enabled()
        best: Tensor = _BestListed.apply(*asked)  # type: ignore[no-untyped-call]
        return Codes(best[None], packing)


def rounded_hard_alignment(queries: Rounded, codebooks: Rounded) -> tuple[Codes, Codes]:
    """As `hard_alignment`, in bfloat16; and how far each code may be from the one in float32.

    A maximum moves no further than what it is taken of.
    """
    with sums_in_float32():
        codes = hard_alignment(queries.fragments, codebooks.fragments, dtype=HALF)
    rows = codes.packing.rows
    sizes = queries.lengths.flatten()[rows], queries.errors.flatten()[rows]
    return codes, Codes(product_errors(codes.values, sizes, codebooks), codes.packing)


def _computed(
    queries: Fragments, codebooks: Fragments, dtype: torch.dtype | None
) -> tuple[torch.dtype, bool]:
    """What the dot products are computed of, and whether by a kernel in Triton."""
    kind = dtype or torch.promote_types(queries.embeddings.dtype, codebooks.embeddings.dtype)
    fused = kind != torch.float64 and uses_triton(codebooks.mask.device)
    if dtype is None and not fused:  # in Triton products of two halves lose nothing
        kind = torch.promote_types(kind, torch.float32)
    return kind, fused


class _Best(torch.autograd.Function):
    """(items, queries), remembering which entry was the best and no similarity.

    `fused` is whether a kernel in Triton makes it, `keep` whether there may be a backward:
    `needs_input_grad` does not see `no_grad`.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, entries: Tensor, padding: Tensor, fused: bool, keep: bool
    ) -> Tensor:
        remember = keep and any(ctx.needs_input_grad)
        best, places = (_fused if fused else _filled)(queries, entries, padding, remember)
        if places is not None:
            ctx.save_for_backward(queries, entries, places)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, entries, places = ctx.saved_tensors
        item, asking = gradients[0].nonzero(as_tuple=True)
        best = item * entries.shape[1] + places[item, asking]
        found = _follow(gradients[0][item, asking], asking, best, queries, entries)
        return *found, None, None, None


class _BestListed(torch.autograd.Function):
    """(codes,), of a query and an item each; otherwise as `_Best`."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        entries: Tensor,
        padding: Tensor,
        asking: Tensor,
        items: Tensor,
        fused: bool,
        keep: bool,
    ) -> Tensor:
        remember = keep and any(ctx.needs_input_grad)
        make = _fused_listed if fused else _filled_listed
        best, places = make(queries, entries, padding, asking, items, remember)
        if places is not None:
            ctx.save_for_backward(queries, entries, asking, items, places)
        return best

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, entries, asking, items, places = ctx.saved_tensors
        some = gradients[0].nonzero()[:, 0]
        best = items[some] * entries.shape[1] + places[some]
        found = _follow(gradients[0][some], asking[some], best, queries, entries)
        return *found, None, None, None, None, None


def _follow(
    gradients: Tensor, asking: Tensor, best: Tensor, queries: Tensor, entries: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of queries and entries, from those of codes that have one.

    asking, best: (codes,), the row of each code's query and of its entry among all entries
    """
    flat, queries = in_full(entries).flatten(0, 1), in_full(queries)
    of_queries = _weighted_sums(flat, best, asking, gradients, len(queries))
    of_entries = _weighted_sums(queries, asking, best, gradients, len(flat))
    return of_queries, of_entries.view_as(entries)


def _weighted_sums(
    vectors: Tensor, rows: Tensor, places: Tensor, weights: Tensor, count: int
) -> Tensor:
    """(count, dim), at each place the sum of the rows that belong there, each times its weight."""
    ascending, order = places.sort(stable=True)
    starts = torch.searchsorted(ascending, torch.arange(count, device=places.device))
    weights = weights[order].to(vectors.dtype)
    return embedding_bag(rows[order], vectors, starts, mode="sum", per_sample_weights=weights)


def _fused(*asked: Any) -> tuple[Tensor, Tensor | None]:
    from .triton_hard import largest

    return largest(*asked)


def _filled(
    queries: Tensor, entries: Tensor, padding: Tensor, remember: bool
) -> tuple[Tensor, Tensor | None]:
    """The largest products and, to be remembered, the place of each: (items, queries) both."""
    best = entries.new_empty(len(entries), len(queries))
    places = torch.empty(best.shape, dtype=torch.long, device=best.device) if remember else None
    _fill(best, places, queries, entries, padding)
    return best, places


def _fill(
    best: Tensor, places: Tensor | None, queries: Tensor, entries: Tensor, padding: Tensor
) -> None:
    """The largest product of each item with each query, and where it is, block after block."""
    count, fragments, _ = entries.shape
    padded = bool(padding.any())
    larger = 1 if entries.is_cpu else LARGER
    together, most = max(1, larger * ROWS // fragments), larger * COLUMNS
    rows_held = max(NARROWEST, min(count, together) * fragments)
    buffer = entries.new_empty(rows_held * max(NARROWEST, min(len(queries), most)))
    for items in _slices(count, together):
        rows = _widened(entries[items].flatten(0, 1))
        for columns in _slices(len(queries), most):
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


def _fused_listed(*asked: Any) -> tuple[Tensor, Tensor | None]:
    from .triton_hard import listed

    return listed(*asked)


def _filled_listed(
    queries: Tensor,
    entries: Tensor,
    padding: Tensor,
    asking: Tensor,
    items: Tensor,
    remember: bool,
) -> tuple[Tensor, Tensor | None]:
    """As `_filled`, of those queries that ask an item: (codes,) both."""
    best = entries.new_empty(len(asking))
    places = torch.empty_like(asking) if remember else None
    _fill_listed(best, places, queries, entries, padding, asking, items)
    return best, places


def _fill_listed(
    best: Tensor,
    places: Tensor | None,
    queries: Tensor,
    entries: Tensor,
    padding: Tensor,
    asking: Tensor,
    items: Tensor,
) -> None:
    """As `_fill`, of those queries that ask an item, item after item."""
    fragments = entries.shape[1]
    padded = bool(padding.any())
    buffer = queries.new_zeros(COLUMNS, queries.shape[1])
    order = items.argsort(stable=True)
    counts = items.bincount(minlength=len(entries)).tolist()
    for item, asked in enumerate(torch.split(order, counts)):
        rows = _widened(entries[item])
        for some in torch.split(asked, COLUMNS):
            held = buffer[: len(some)]
            torch.index_select(queries, 0, asking[some], out=held)
            block = buffer[: max(NARROWEST, len(some))]
            similarity = torch.mm(rows, block.T)[:fragments, : len(some)]
            if padded:
                similarity.masked_fill_(padding[item, :, None], -torch.inf)
            if places is None:
                best[some] = similarity.amax(dim=0)
            else:
                best[some], places[some] = similarity.max(dim=0)


def _widened(vectors: Tensor) -> Tensor:
    """With zero vectors behind them where they are too few."""
    missing = NARROWEST - len(vectors)
    return vectors if missing <= 0 else pad(vectors, (0, 0, 0, missing))


def _slices(count: int, size: int) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))

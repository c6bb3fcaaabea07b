"""Soft alignment: every fragment of one side attends to the fragments of the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isqrt

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..batch import Fragments
from .attention import Attention, attended_cosine, attention_weights, cosine, weigh
from .packing import in_full

__all__ = ["Attention", "attended_cosine", "attention_weights", "soft_alignment"]

CELLS = 2**19
"""Similarities held at once: 2 MiB in float32, so that what is done to them stays in the cache."""


def soft_alignment(
    queries: Fragments,
    sources: Fragments,
    attention: Attention,
    *,
    logits: tuple[Fragments, Fragments] | None = None,
) -> Tensor:
    """Each query's cosine with the average of what it attends to in each source item.

    logits: the weights come from the dot products of these two, for the fragments of `queries` and
            of `sources`; without it, from those of queries and sources themselves

    Queries are of unit length. Without gradients, memory beyond the result is bounded by `CELLS`.
    Computed in float32 at least, under autocast too. Padding may hold anything finite.
    Yields (source items, query items, query fragments), -inf where the query is padding.
    """
    asking, keys = logits or (None, None)
    with torch.autocast(sources.mask.device.type, enabled=False):
        rows, row_of = _blocks(sources, keys)
        columns, column_of = _blocks(queries, asking)
        grams = [row.values @ row.values.mT for row in rows]
        pairs = list(zip(rows, grams, strict=True))
        cosines = [
            torch.cat([_align(column, row, gram, attention) for row, gram in pairs])
            for column in columns
        ]
        longest = queries.mask.shape[1]
        padded = [pad(block.mT, (0, longest - block.shape[1])) for block in cosines]
        found = torch.cat(padded, dim=1)[row_of][:, column_of]
        return found.masked_fill(~queries.mask, -torch.inf)


@dataclass(frozen=True)
class _Block:
    """Items of about one length, cut to the longest; padding is 0.

    values: (items, fragments, dim)
    keys:   (items, fragments, dim), what the logits are made of, or None if the values
    mask:   (items, fragments), True where the fragment is real
    """

    values: Tensor
    keys: Tensor | None
    mask: Tensor


def _blocks(side: Fragments, keys: Fragments | None) -> tuple[list[_Block], Tensor]:
    """The items sorted by length, in blocks, and where each item is then to be found."""
    places = torch.arange(1, side.mask.shape[1] + 1, device=side.mask.device)
    lengths, order = (side.mask * places).amax(dim=1).sort(stable=True)

    def cut(fragments: Fragments, items: slice, longest: int) -> Tensor:
        chosen = order[items]
        embeddings = in_full(fragments.embeddings[chosen, :longest])
        return embeddings.masked_fill(~fragments.mask[chosen, :longest, None], 0)

    blocks = [
        _Block(
            cut(side, items, longest),
            None if keys is None else cut(keys, items, longest),
            side.mask[order[items], :longest],
        )
        for items, longest in _cuts(lengths.tolist())
    ]
    return blocks, order.argsort()


def _cuts(lengths: list[int]) -> Iterator[tuple[slice, int]]:
    """Slices of ascending lengths whose rectangles have at most isqrt(CELLS), and their longest."""
    start = 0
    for stop in range(1, len(lengths) + 1):
        if stop == len(lengths) or (stop + 1 - start) * lengths[stop] > isqrt(CELLS):
            yield slice(start, stop), lengths[stop - 1]
            start = stop


def _align(queries: _Block, sources: _Block, gram: Tensor, attention: Attention) -> Tensor:
    """(source items, query fragments, query items).

    In this order every reduction, over sources or over queries, adds whole rows of items, which is
    what a CPU does fastest.
    """
    similarity = _dot_products(queries.values, sources.values)
    logits = similarity
    if queries.keys is not None and sources.keys is not None:
        logits = _dot_products(queries.keys, sources.keys)
    padding = None if sources.mask.all() else ~sources.mask[:, :, None, None]
    alone = queries.mask.sum(dim=1) == 1
    single = alone if attention.spare_single and alone.any() else None
    weights = weigh(logits, padding, attention, single, sources_axis=-3)
    mixed = (gram @ weights.flatten(2)).view_as(weights)
    return cosine((weights * similarity).sum(dim=1), (weights * mixed).sum(dim=1))


def _dot_products(queries: Tensor, sources: Tensor) -> Tensor:
    """(source items, sources, query fragments, query items)."""
    columns = queries.transpose(0, 1).flatten(0, 1)
    products = sources.flatten(0, 1) @ columns.T
    return products.view(*sources.shape[:2], *queries.shape[1::-1])

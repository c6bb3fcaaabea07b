"""Soft alignment: every fragment of one side attends to the fragments of the other."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..batch import Fragments
from ..ops import in_full
from .attention import Attention, attended_cosine, attention_weights, cosine, weigh
from .choice import uses_triton
from .packing import cuts

__all__ = ["Attention", "attended_cosine", "attention_weights", "soft_alignment"]

CELLS = 2**19
"""Similarities held at once on a CPU: 2 MiB in float32, to stay in its cache from step to step."""

ACCELERATOR_CELLS = 2**25
"""On other devices, where each step costs a launch; 128 MiB in float32. Not yet measured."""


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
    asking, asked = logits or (None, None)
    with torch.autocast(sources.mask.device.type, enabled=False):
        columns, column_of = _blocks(queries, asking)
        rows, row_of = _blocks(sources, asked)
        grams = [row.values @ row.values.mT for row in rows]
        cosines = [
            torch.cat([_align(column, *row, attention) for row in zip(rows, grams, strict=True)])
            for column in columns
        ]
    longest = queries.mask.shape[1]
    padded = [pad(block.mT, (0, longest - block.shape[1])) for block in cosines]
    in_order = torch.cat(padded, dim=1)[row_of][:, column_of]
    return in_order.masked_fill(~queries.mask, -torch.inf)


@dataclass(frozen=True)
class _Block:
    """Items of about one length, cut to the longest. Padding is 0.

    values:  (items, fragments, dim)
    keys:    (items, fragments, dim), what logits are made of, or None: of the values
    padding: (items, fragments), True where the fragment is not real; None: nowhere
    single:  (items,), True where the item has one real fragment; None: nowhere
    """

    values: Tensor
    keys: Tensor | None
    padding: Tensor | None
    single: Tensor | None

    @classmethod
    def of(cls, values: Fragments, keys: Fragments | None) -> Self:
        padding, single = ~values.mask, values.mask.sum(dim=1) == 1
        return cls(
            _zero_padded(values),
            None if keys is None else _zero_padded(keys),
            padding if padding.any() else None,
            single if single.any() else None,
        )


def _zero_padded(fragments: Fragments) -> Tensor:
    return in_full(fragments.embeddings).masked_fill(~fragments.mask[..., None], 0)


def _blocks(values: Fragments, keys: Fragments | None) -> tuple[list[_Block], Tensor]:
    """The items sorted by length, in blocks; and where among the sorted each item is."""
    places = torch.arange(1, values.mask.shape[1] + 1, device=values.mask.device)
    lengths, order = (values.mask * places).amax(dim=1).sort(stable=True)
    cells = CELLS if values.mask.device.type == "cpu" else ACCELERATOR_CELLS

    def cut(fragments: Fragments, items: slice, longest: int) -> Fragments:
        rows = order[items]
        return Fragments(fragments.embeddings[rows, :longest], fragments.mask[rows, :longest])

    blocks = [
        _Block.of(cut(values, *place), None if keys is None else cut(keys, *place))
        for place in cuts(lengths.tolist(), isqrt(cells))
    ]
    return blocks, order.argsort()


def _align(queries: _Block, sources: _Block, gram: Tensor, attention: Attention) -> Tensor:
    """The cosines of two blocks: (source items, query fragments, query items).

    With query items as the last axis, whatever is added up over sources or over queries adds whole
    rows, which a CPU does several times faster than sums along the last axis.
    """
    similarity = _dot_products(queries.values, sources.values)
    logits = similarity
    if queries.keys is not None and sources.keys is not None:
        logits = _dot_products(queries.keys, sources.keys)
    padding = None if sources.padding is None else sources.padding[:, :, None, None]
    single = queries.single if attention.spare_single else None
    if similarity.dtype == torch.float32 and uses_triton(similarity.device):
        from .triton_soft import AttendedCosines, fits

        if fits(similarity.shape[1], similarity.device):
            own = None if logits is similarity else logits
            made = similarity, own, gram, sources.padding, single, attention
            return AttendedCosines.apply(*made)  # type: ignore[no-untyped-call, no-any-return]
    weights = weigh(logits, padding, attention, single, sources_axis=1)
    mixed = (gram @ weights.flatten(2)).view_as(weights)
    return cosine((weights * similarity).sum(dim=1), (weights * mixed).sum(dim=1))


def _dot_products(queries: Tensor, sources: Tensor) -> Tensor:
    """(source items, sources, query fragments, query items)."""
    columns = queries.transpose(0, 1).flatten(0, 1)
    products = sources.flatten(0, 1) @ columns.T
    return products.view(*sources.shape[:2], *queries.shape[1::-1])

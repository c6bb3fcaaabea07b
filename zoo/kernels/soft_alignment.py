"""Soft alignment: every fragment of one side attends to the fragments of the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..batch import Fragments
from ..ops import in_full
from . import soft_passes
from .attention import Attention, attended_cosine, attention_weights
from .choice import uses_triton
from .products import products_into
from .runs import Block, blocks
from .soft_passes import gram_matrices

__all__ = ["Attention", "attended_cosine", "attention_weights", "soft_alignment"]


class Sizes(NamedTuple):
    """How much is worked on at a time.

    rows, columns: fragments of either side that are multiplied at once
    cells:         similarities that go from step to step together
    """

    rows: int
    columns: int
    cells: int


CPU = Sizes(64 * 36, 1024, 2**18)
"""9 MiB and 1 MiB of similarities in float32; of the shapes tried no other was faster on a CPU with
1 MiB of second-level cache a core (docs/benchmarks.md)."""

ACCELERATOR = Sizes(2**13, 2**12, 2**25)
"""On other devices, where each step costs a launch; 128 MiB in float32. Not yet measured."""


def soft_alignment(
    queries: Fragments,
    sources: Fragments,
    attention: Attention,
    *,
    logits: tuple[Fragments, Fragments] | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Each query's cosine with the average of what it attends to in each source item.

    logits: the weights come from the dot products of these two, for the fragments of `queries` and
            of `sources`; without it, from those of queries and sources themselves
    dtype:  that the dot products are computed in and rounded to; None: float32, or float64 where
            the embeddings are, under autocast too. All that follows is in float32 at least

    Queries are of unit length. Padding may hold anything finite, and is never multiplied. Memory
    beyond the result is bounded by `CPU` or `ACCELERATOR`; where there are gradients, a number is
    kept for each fragment of one side with each of the other.
    Yields (source items, query items, query fragments), -inf where the query is padding.
    """
    sides = [queries, sources, *(logits or ())]
    inputs = [in_full(side.embeddings) for side in sides]
    masks = queries.mask, sources.mask
    apply: Any = _SoftAlignment.apply
    result: Tensor = apply(masks, attention, dtype, *inputs)
    return result


class _SoftAlignment(torch.autograd.Function):
    """Keeps the dot products, and makes what follows from them once more for the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        masks: tuple[Tensor, Tensor],
        attention: Attention,
        dtype: torch.dtype | None,
        *embeddings: Tensor,
    ) -> Tensor:
        kept: list[Tensor] | None = [] if any(ctx.needs_input_grad) else None
        with torch.autocast(masks[0].device.type, enabled=False):
            queries, sources = _sides(masks, embeddings)
            found = _align(queries, sources, attention, dtype, kept)
        if kept is not None:
            ctx.masks, ctx.attention, ctx.sides = masks, attention, len(embeddings)
            ctx.save_for_backward(*embeddings, *kept)
        result = found.new_full((len(found), masks[0].numel()), -torch.inf)
        result[sources.items[:, None], queries.order] = found
        return result.view(-1, *masks[0].shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # asked for once: a checkpoint gives them once
        embeddings, kept = saved[: ctx.sides], saved[ctx.sides :]
        with torch.autocast(gradient[0].device.type, enabled=False):
            both = queries, sources = _sides(ctx.masks, embeddings)
            packed = gradient[0].flatten(1)[sources.items[:, None], queries.order]
            found = _carry_back(packed, *both, list(kept), ctx.attention)
        by_place = [
            torch.zeros_like(side).flatten(0, 1).index_copy_(0, both[number % 2].order, one)
            for number, (side, one) in enumerate(zip(embeddings, found, strict=True))
        ]
        shaped = (one.view_as(side) for one, side in zip(by_place, embeddings, strict=True))
        return None, None, None, *shaped


@dataclass(frozen=True)
class _Side:
    """The real fragments of one side in blocks.

    parts:  for each block what is aligned, (fragments, dim), and, if they differ, what makes the
            logits
    order:  (fragments,), which of the flattened (items, longest) each is, over all blocks
    items:  (items,), likewise
    places: where among all fragments those of a block are
    """

    blocks: list[Block]
    parts: list[list[Tensor]]
    order: Tensor
    items: Tensor
    places: list[slice]

    @classmethod
    def of(cls, made: list[Block], embeddings: Sequence[Tensor]) -> _Side:
        flat = [one.flatten(0, 1) for one in embeddings]
        starts = accumulate((len(block.rows) for block in made), initial=0)
        return cls(
            made,
            [[one[block.rows] for one in flat] for block in made],
            torch.cat([block.rows for block in made]),
            torch.cat([block.items for block in made]),
            [slice(*bounds) for bounds in pairwise(starts)],
        )


def _sizes(mask: Tensor) -> Sizes:
    return CPU if mask.device.type == "cpu" else ACCELERATOR


def _sides(masks: tuple[Tensor, Tensor], embeddings: Sequence[Tensor]) -> tuple[_Side, _Side]:
    """Queries as columns, sources as rows; embeddings come in turn.

    Queries lie by place, sources item after item. So what is added up over the queries or over the
    sources of an item adds whole rows, and a source item's similarities lie in one piece.
    """
    sizes = _sizes(masks[0])
    columns = blocks(masks[0], sizes.columns, by_place=True)
    rows = blocks(masks[1], sizes.rows, by_place=False)
    return _Side.of(columns, embeddings[::2]), _Side.of(rows, embeddings[1::2])


class _Piece(NamedTuple):
    """Source items of one length that go from step to step together.

    items: their places among all source items
    rows:  their fragments, among those of the block
    gram:  as `gram_matrices` makes it
    """

    items: slice
    rows: slice
    gram: Tensor

    def of(self, values: Tensor) -> Tensor:
        """What belongs to them of a block's (fragments, n): (items, fragments, n)."""
        return values[self.rows].view(len(self.gram), -1, values.shape[1])

    def in_full(self, dots: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Of a block's dot products their similarities and logits, which may be the same."""
        full = [in_full(self.of(one)) for one in dots]
        return full[0], full[-1]


def _pieces(sources: _Side, number: int, widest: int) -> list[_Piece]:
    """Those of a block, where so many queries are compared at once."""
    pieces: list[_Piece] = []
    block, values = sources.blocks[number], sources.parts[number][0]
    item = sum(len(before.items) for before in sources.blocks[:number])
    for run in block.runs:
        size = max(1, _sizes(values).cells // (run.length * widest))
        whole = values[run.start : run.stop].view(run.items, run.length, -1)
        for some in torch.split(whole, size):
            start = pieces[-1].rows.stop if pieces else 0
            rows = slice(start, start + len(some) * run.length)
            pieces.append(_Piece(slice(item, item + len(some)), rows, gram_matrices(some)))
            item += len(some)
    return pieces


def _align(
    queries: _Side,
    sources: _Side,
    attention: Attention,
    dtype: torch.dtype | None,
    kept: list[Tensor] | None,
) -> Tensor:
    """The cosines: (source items, query fragments). Adds the dot products to `kept`."""
    found = queries.parts[0][0].new_empty(len(sources.items), len(queries.order))
    columns = [[_in(dtype, part) for part in parts] for parts in queries.parts]
    widest = max(len(parts[0]) for parts in columns)
    room = max(len(parts[0]) for parts in sources.parts) * widest
    buffers = [None if kept is not None else part.new_empty(room) for part in columns[0]]
    for number, parts in enumerate(sources.parts):
        ready = [_in(dtype, part) for part in parts]
        pieces = _pieces(sources, number, widest)
        for block, place, asked in zip(queries.blocks, queries.places, columns, strict=True):
            dots = list(map(products_into, buffers, ready, asked))
            if kept is not None:
                kept += dots
            for piece in pieces:
                similarity, logits = piece.in_full(dots)
                passes = _passes(similarity)
                made = passes.cosines(similarity, logits, piece.gram, block.runs, attention)
                found[piece.items, place] = made
    return found


def _carry_back(
    gradient: Tensor, queries: _Side, sources: _Side, kept: list[Tensor], attention: Attention
) -> list[Tensor]:
    """The gradients of all parts, (fragments, dim), of the sides in turn, from the cosines'."""
    # As (dim, fragments), which is the way round that oneDNN takes without copying.
    columns = [torch.cat(parts).T.contiguous() for parts in zip(*queries.parts, strict=True)]
    widest = max(len(block.rows) for block in queries.blocks)
    of_columns = [torch.zeros_like(column) for column in columns]
    of_rows = []
    for number, parts in enumerate(sources.parts):
        pieces = _pieces(sources, number, widest)
        of_grams = [torch.zeros_like(piece.gram[:, :-1]) for piece in pieces]
        of_dots = [gradient.new_empty(len(part), len(queries.order)) for part in parts]
        for block, place in zip(queries.blocks, queries.places, strict=True):
            dots, kept = kept[: len(parts)], kept[len(parts) :]
            for piece, of_gram in zip(pieces, of_grams, strict=True):
                similarity, logits = piece.in_full(dots)
                made = _passes(similarity).gradients(
                    gradient[piece.items, place],
                    similarity,
                    logits,
                    piece.gram,
                    block.runs,
                    attention,
                )
                of_gram += made.gram
                both = (made.similarity.add_(made.logits),) if len(parts) == 1 else made[:2]
                for of_dot, one in zip(of_dots, both, strict=True):
                    piece.of(of_dot)[..., place] = one
        for of_column, part, of_dot in zip(of_columns, parts, of_dots, strict=True):
            of_column += products_into(None, part.T, of_dot.T)
        of_rows.append([products_into(None, *both) for both in zip(of_dots, columns, strict=True)])
        for piece, of_gram in zip(pieces, of_grams, strict=True):
            # Of a Gram matrix X X^T, whose own gradient is symmetric: 2 H X.
            piece.of(of_rows[-1][0]).baddbmm_(of_gram, piece.of(parts[0]), alpha=2)
    of_sources = [torch.cat(rows) for rows in zip(*of_rows, strict=True)]
    turns = zip((column.T for column in of_columns), of_sources, strict=True)
    return [one for pair in turns for one in pair]


def _passes(similarity: Tensor) -> Any:
    """What makes cosines of similarities there: `triton_soft`, or torch in `soft_passes`."""
    if similarity.dtype == torch.float32 and uses_triton(similarity.device):
        from . import triton_soft

        if triton_soft.fits(similarity.shape[1], similarity.device):
            return triton_soft
    return soft_passes


def _in(dtype: torch.dtype | None, values: Tensor) -> Tensor:
    return values if dtype is None else values.to(dtype)

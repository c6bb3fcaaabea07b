"""Multiplying real fragments only, in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..batch import Fragments
from ..ops import in_full, unpack

CELLS = 2**22
"""Similarities held at once: 16 MiB in float32, which a CPU's allocator reuses."""

Assign = Callable[[Tensor], Tensor]
"""From similarities (items, fragments, queries) to one value for each item and query."""


def align(queries: Fragments, codebooks: Fragments, assign: Assign) -> Tensor:
    """What `assign` makes of each query fragment's similarities with each item's codebook.

    Padded queries are never multiplied: the real ones are packed side by side, whatever item they
    belong to. Padded codebook entries are; `assign` must leave them out. Without gradients, memory
    beyond the result is bounded by `CELLS`. Similarities are computed in float32 at least, under
    autocast too: rounding to half precision changes which fragment is the best.

    Yields (codebook items, query items, query fragments), -inf where the query is padding.
    """
    items, fragments = codebooks.mask.shape
    with torch.autocast(codebooks.mask.device.type, enabled=False):
        packed = in_full(queries.embeddings)[queries.mask]  # (queries, d)
        entries = in_full(codebooks.embeddings).flatten(0, 1)  # (items * fragments, d)
        blocks = [
            assign((entries @ block.T).view(items, fragments, -1))
            for block in torch.split(packed, max(1, CELLS // (items * fragments)))
        ]
        return unpack(torch.cat(blocks, dim=1), queries.mask)


def cuts(lengths: Sequence[int], most: int) -> Iterator[tuple[slice, int]]:
    """Slices of items, by ascending lengths, that hold at most so many fragments.

    A slice's items are padded to its longest, whose length comes with it. A slice of one item may
    exceed `most`.
    """
    start = 0
    for stop in range(1, len(lengths) + 1):
        if stop == len(lengths) or (stop + 1 - start) * lengths[stop] > most:
            yield slice(start, stop), lengths[stop - 1]
            start = stop

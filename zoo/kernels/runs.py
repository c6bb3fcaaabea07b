"""Real fragments side by side in blocks of bounded size, items of one length together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Run:
    """Consecutive fragments of a block: those of so many items of one length.

    start, stop: the place of the first fragment, and that after the last
    length:      fragments of each item
    """

    start: int
    stop: int
    length: int

    @property
    def items(self) -> int:
        """How many there are."""
        return (self.stop - self.start) // self.length


@dataclass(frozen=True)
class Block:
    """Fragments that are worked on together.

    rows:  (fragments,), which of the flattened (items, longest) each is
    items: (items,), which items they are of, by ascending length
    runs:  what lies where
    """

    rows: Tensor
    items: Tensor
    runs: tuple[Run, ...]


def blocks(mask: Tensor, most: int, *, by_place: bool) -> list[Block]:
    """The real fragments of items (items, longest) in blocks of at most `most`.

    by_place: in a run all first fragments come first, then all second ones; otherwise one item
              comes after the other. What is added up over the fragments of an item then adds whole
              rows, which a CPU does several times faster than sums along the last axis.

    An item is in one block, which it may exceed if it is alone there.
    """
    longest = mask.shape[1]
    real_first = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
    fragments = torch.arange(len(mask), device=mask.device)[:, None] * longest + real_first
    made = []
    for parts in _filled(mask.sum(dim=1), most):
        rows, runs, start = [], [], 0
        for length, items in parts:
            kept = fragments[items, :length]
            rows.append((kept.T if by_place else kept).flatten())
            runs.append(Run(start, start + len(rows[-1]), length))
            start = runs[-1].stop
        items = torch.cat([items for _, items in parts])
        made.append(Block(torch.cat(rows), items, tuple(runs)))
    return made


def _filled(lengths: Tensor, most: int) -> Iterator[list[tuple[int, Tensor]]]:
    """Items of each length, ascending, as many together as are not too many fragments."""
    ascending, order = lengths.sort(stable=True)
    counts = Counter(ascending.tolist())
    parts: list[tuple[int, Tensor]] = []
    left = most
    for length, items in zip(counts, torch.split(order, list(counts.values())), strict=True):
        while len(items):
            if parts and left < length:
                yield parts
                parts, left = [], most
            taken = max(1, left // length)
            parts.append((length, items[:taken]))
            left -= length * len(parts[-1][1])
            items = items[taken:]
    yield parts

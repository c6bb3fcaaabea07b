"""Real fragments side by side, and values that belong to them, without padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

Pool = Callable[..., Tensor]
"""From values (items, fragments, queries' items) of real fragments to (items, queries' items)."""


@dataclass(frozen=True)
class Packing:
    """The order in which the real fragments of padded items lie side by side.

    Items of one length make a group. In a group all first fragments come first, then all second
    ones: what is added up over the fragments of an item adds whole rows, which a CPU does several
    times faster than sums along the last axis.

    rows:   (fragments,), of the flattened (items, longest)
    groups: the length of each group and its items, by ascending length; on the CPU
    order:  (items,), where among the items of all groups each item is
    shape:  (items, longest)
    """

    rows: Tensor
    groups: tuple[tuple[int, Tensor], ...]
    order: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: Tensor) -> Self:
        """The packing of items with that mask (items, longest), True where a fragment is real."""
        # A GPU would be waited for at each length; all of it is small.
        device, mask = mask.device, mask.cpu()
        items, longest = mask.shape
        lengths = mask.sum(dim=1)
        places = (~mask).to(torch.uint8).argsort(dim=1, stable=True)  # real ones first
        first = torch.arange(items)[:, None] * longest + places
        groups = [(n, (lengths == n).nonzero()[:, 0]) for n in sorted(set(lengths.tolist()))]
        rows = [first[chosen, :n].T.flatten() for n, chosen in groups]
        order = torch.cat([chosen for _, chosen in groups]).argsort()
        packed = torch.cat(rows).to(device), tuple(groups), order.to(device)
        return cls(*packed, (items, longest))

    def pack(self, embeddings: Tensor) -> Tensor:
        """(items, longest, dim) as (fragments, dim)."""
        return embeddings.flatten(0, 1)[self.rows]


@dataclass(frozen=True)
class Codes:
    """One value for each item and each real fragment of other items.

    values:  (items, fragments), in the order of the packing
    """

    values: Tensor
    packing: Packing

    @classmethod
    def of(cls, padded: Tensor, mask: Tensor) -> Self:
        """From (items, queries' items, fragments), of which the mask's places count."""
        packing = Packing.of(mask)
        return cls(padded.flatten(1)[:, packing.rows], packing)

    def pool(self, pool: Pool, *others: Codes) -> Tensor:
        """What `pool` makes of each item with each queries' item: (items, queries' items).

        It is given these codes, and with them those of `others`, which have the same packing.
        """
        parts = zip(*(codes._groups() for codes in (self, *others)), strict=True)
        pooled = torch.cat([pool(*group) for group in parts], dim=1)
        return pooled if len(self.packing.groups) == 1 else pooled[:, self.packing.order]

    def pool_in_double(self, pool: Pool) -> Tensor:
        """As `pool`, in float64 and then in the type of the codes.

        A library adds up in an order that depends on how much there is. In float64 that no longer
        shows, so a pair's score is the same to the last bit whatever it is scored beside.
        """
        return Codes(self.values.double(), self.packing).pool(pool).to(self.values.dtype)

    def _groups(self) -> Iterator[Tensor]:
        """(items, fragments, queries' items) of each length."""
        start = 0
        for length, items in self.packing.groups:
            stop = start + length * len(items)
            yield self.values[:, start:stop].view(-1, length, len(items))
            start = stop

    def padded(self) -> Tensor:
        """(items, queries' items, fragments), -inf where the mask is False."""
        items, longest = self.packing.shape
        places = self.values.new_full((len(self.values), items * longest), -torch.inf)
        return places.index_copy(1, self.packing.rows, self.values).view(-1, items, longest)


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

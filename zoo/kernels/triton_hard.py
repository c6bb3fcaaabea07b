"""Hard alignment on a GPU: a product of matrices with the maximum over fragments at its end.

A tile is a block of items times a block of queries. For each fragment of the items, one after the
other, it is an ordinary product over the dim, and the largest so far stays in registers; so nothing
of the size of all similarities is stored, and 36 fragments, which no tile divides, are not padded.
Entries are laid out fragment by fragment first, (fragments, items, dim): the rows of a tile are
neighbours, and the copy costs a thousandth of the products.

Two fragments are multiplied at once, so a block of queries is fetched once for both. A tile of 128
items and 128 queries then asks the cache for what one of 256 x 128 would, and the largest of both
takes a third of the registers that are left. Where the place is remembered, tiles are half as wide,
and float32 takes quarter tiles: its operands are split on the way.

The tile is a function of the type and of how much there is, not of trial runs, which take longer
than the job and could choose differently each time. All tiles add up over the dim in one order, so
that a code is the same whatever it is computed beside.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..ops import in_full
from .triton_device import Gpu

GROUP = 4
"""Blocks of items that are worked on together, so that both sides are found in the cache."""


@dataclass(frozen=True)
class Tile:
    """What one program computes, in steps of so many numbers of the dim."""

    items: int
    queries: int
    step: int
    warps: int

    @classmethod
    def of(cls, gpu: Gpu, dtype: torch.dtype, items: int, asked: int, remember: bool) -> Tile:
        """The largest of which there is one for each multiprocessor, or else the smallest."""
        full = dtype == torch.float32
        step = 32 if full else 64
        large = cls(128, 128 if gpu.warp_groups and not (full or remember) else 64, step, 8)
        small = cls(64, 32, step, 4)
        enough = large.count(items, asked) >= gpu.processors
        return large if enough and (gpu.warp_groups or not full) else small

    def count(self, items: int, asked: int) -> int:
        """How many of them there are."""
        return int(triton.cdiv(items, self.items) * triton.cdiv(asked, self.queries))

    def stages(self, gpu: Gpu, dtype: torch.dtype) -> int:
        """How many steps are fetched ahead: as many as shared memory holds, at most four."""
        fetched = (2 * self.items + self.queries) * self.step * dtype.itemsize
        return max(2, min(4, gpu.shared_memory // fetched))


def largest(
    queries: Tensor,
    entries: Tensor,
    padding: Tensor,
    remember: bool = False,
    *,
    precision: str | None = None,
    tile: Tile | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The largest products and, to be remembered, the place of each: (items, queries) both.

    Of one type: bfloat16, float16 or float32. Sums and result are float32. Of equals the first has
    the place. `precision` is that of float32's products, by default `float32_products`.
    """
    if not entries.is_cuda:
        entries, queries = in_full(entries), in_full(queries)  # triton's interpreter: no bfloat16
    items, fragments, dim = entries.shape
    best = entries.new_empty(items, len(queries), dtype=torch.float32)
    places = torch.empty_like(best, dtype=torch.int32) if remember else None
    if not best.numel():
        return best, places
    padded = bool(padding.any())
    rows = torch.arange(items, device=entries.device)
    lengths = rows
    if padded:
        numbers = torch.arange(1, fragments + 1, device=entries.device)
        lengths, rows = (~padding * numbers).amax(dim=1).sort(stable=True)
    by_fragment = entries.transpose(0, 1)[:, rows].contiguous()
    gpu, kind = Gpu.of(entries.device), entries.dtype
    tile = tile or Tile.of(gpu, kind, items, len(queries), remember)
    with torch.cuda.device_of(entries):
        _largest[(tile.count(items, len(queries)),)](
            by_fragment,
            queries.contiguous(),
            padding.T[:, rows].contiguous().view(torch.uint8),
            rows,
            lengths,
            best,
            best if places is None else places,
            items,
            fragments,
            len(queries),
            dim,
            padded=padded,
            remember=remember,
            even=dim % tile.step == 0,
            precision=precision or float32_products(),
            item_tile=tile.items,
            query_tile=tile.queries,
            step=tile.step,
            group=GROUP,
            num_warps=tile.warps,
            num_stages=tile.stages(gpu, kind),
        )
    return best, places


LISTED = 32
"""Queries of one item in a tile of `listed`."""


def listed(
    queries: Tensor,
    entries: Tensor,
    padding: Tensor,
    asking: Tensor,
    items: Tensor,
    remember: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """As `largest`, of some queries with one item each: (codes,) both.

    asking, items: (codes,), the row of each code's query and its item
    """
    if not entries.is_cuda:
        entries, queries = in_full(entries), in_full(queries)
    count, fragments, dim = entries.shape
    best = entries.new_empty(len(asking), dtype=torch.float32)
    places = torch.empty_like(best, dtype=torch.int32) if remember else None
    of_item = items.bincount(minlength=count)
    tiles = (of_item + LISTED - 1) // LISTED
    item_of = torch.arange(count, device=items.device).repeat_interleave(tiles)
    if not len(item_of):
        return best, places
    number = torch.arange(len(item_of), device=items.device) - (tiles.cumsum(0) - tiles)[item_of]
    stops = of_item.cumsum(0)[item_of]
    step = 32 if entries.dtype == torch.float32 else 64
    with torch.cuda.device_of(entries):
        _listed[(len(item_of),)](
            entries.contiguous(),
            queries.contiguous(),
            padding.contiguous().view(torch.uint8),
            asking.contiguous(),
            items.argsort(stable=True),
            item_of,
            stops - of_item[item_of] + number * LISTED,
            stops,
            best,
            best if places is None else places,
            fragments,
            dim,
            remember=remember,
            precision=float32_products(),
            query_tile=LISTED,
            step=step,
            num_warps=4,
        )
    return best, places


def float32_products() -> str:
    """How tensor cores multiply float32: as three products of TF32, or one where torch may.

    Three are about as near as float32's own: each number is split into two of TF32.
    """
    matmul = torch.backends.cuda.matmul
    asked = getattr(matmul, "fp32_precision", None)
    if asked is None:  # before torch 2.9
        asked = "tf32" if matmul.allow_tf32 else "ieee"
    elif asked == "none":
        asked = torch.backends.fp32_precision  # type: ignore[attr-defined]
    return "tf32" if asked == "tf32" else "tf32x3"


@triton.jit(do_not_specialize=["items", "fragments", "asked"])
def _largest(
    entries,  # (fragments, items, dim)
    queries,  # (queries, dim)
    padding,  # (fragments, items), not 0 where the fragment is none
    rows,  # (items,), which row of the result is the item's
    lengths,  # (items,), ascending: behind that many fragments there is padding alone
    best,  # (items, queries)
    places,  # (items, queries)
    items,
    fragments,
    asked,
    dim,
    padded: tl.constexpr,
    remember: tl.constexpr,
    even: tl.constexpr,
    precision: tl.constexpr,
    item_tile: tl.constexpr,
    query_tile: tl.constexpr,
    step: tl.constexpr,
    group: tl.constexpr,
):
    program = tl.program_id(0)
    across = tl.cdiv(asked, query_tile)
    first = program // (group * across) * group
    height = tl.minimum(tl.cdiv(items, item_tile) - first, group)
    within = program % (group * across)
    item_block = first + within % height
    item = item_block * item_tile + tl.arange(0, item_tile)
    query = within // height * query_tile + tl.arange(0, query_tile)
    part = tl.arange(0, step)
    # Behind the last of either side a tile takes up again at the first, and stores nothing of it.
    entry = entries + (item % items)[:, None].to(tl.int64) * dim + part[None, :]
    asking = queries + (query % asked)[None, :].to(tl.int64) * dim + part[:, None]
    apart = tl.cast(items, tl.int64) * dim
    ends = fragments
    if padded:
        ends = tl.load(lengths + tl.minimum((item_block + 1) * item_tile, items) - 1).to(tl.int32)
    top = tl.full([item_tile, query_tile], float("-inf"), tl.float32)
    place = tl.zeros([item_tile, query_tile], tl.int32)
    for one in range(0, ends, 2):
        other = tl.minimum(one + 1, fragments - 1)  # the last one twice, where they are odd
        of_one = tl.zeros([item_tile, query_tile], tl.float32)
        of_other = tl.zeros([item_tile, query_tile], tl.float32)
        for start in range(0, dim, step):
            if even:
                asks = tl.load(asking + start)
                offers = tl.load(entry + one * apart + start)
                others = tl.load(entry + other * apart + start)
            else:
                left = part < dim - start
                asks = tl.load(asking + start, mask=left[:, None], other=0.0)
                offers = tl.load(entry + one * apart + start, mask=left[None, :], other=0.0)
                others = tl.load(entry + other * apart + start, mask=left[None, :], other=0.0)
            of_one = tl.dot(offers, asks, of_one, input_precision=precision)
            of_other = tl.dot(others, asks, of_other, input_precision=precision)
        if padded:
            none = tl.load(padding + one * items + item % items) != 0
            of_one = tl.where(none[:, None], float("-inf"), of_one)
            none = tl.load(padding + other * items + item % items) != 0
            of_other = tl.where(none[:, None], float("-inf"), of_other)
        if remember:
            top, place = _larger(top, place, of_one, one)
            top, place = _larger(top, place, of_other, other)
        else:
            top = tl.maximum(top, of_one, propagate_nan=tl.PropagateNan.ALL)
            top = tl.maximum(top, of_other, propagate_nan=tl.PropagateNan.ALL)
    row = tl.load(rows + item % items)
    real = (item < items)[:, None] & (query < asked)[None, :]
    kept = row[:, None].to(tl.int64) * asked + query[None, :]
    tl.store(best + kept, top, mask=real)
    if remember:
        tl.store(places + kept, place, mask=real)


@triton.jit(do_not_specialize=["fragments"])
def _listed(
    entries,  # (items, fragments, dim)
    queries,  # (queries, dim)
    padding,  # (items, fragments), not 0 where the fragment is none
    asking,  # (codes,), the row of the query
    order,  # (codes,), codes by their item
    item_of,  # (tiles,)
    starts,  # (tiles,), where in the order a tile begins
    stops,  # (tiles,), and where its item ends
    best,  # (codes,)
    places,  # (codes,)
    fragments,
    dim,
    remember: tl.constexpr,
    precision: tl.constexpr,
    query_tile: tl.constexpr,
    step: tl.constexpr,
):
    tile = tl.program_id(0)
    item = tl.load(item_of + tile)
    at = tl.load(starts + tile) + tl.arange(0, query_tile)
    there = at < tl.load(stops + tile)
    code = tl.load(order + at, mask=there, other=0)
    row = tl.load(asking + code)
    part = tl.arange(0, step)
    fragment = tl.arange(0, 64)
    top = tl.full([query_tile], float("-inf"), tl.float32)
    place = tl.zeros([query_tile], tl.int32)
    for first in range(0, fragments, 64):
        real = first + fragment < fragments
        entry = item * fragments + first + fragment
        products = tl.zeros([64, query_tile], tl.float32)
        for start in range(0, dim, step):
            left = part < dim - start
            offers = tl.load(
                entries + entry[:, None] * dim + start + part[None, :],
                mask=real[:, None] & left[None, :],
                other=0.0,
            )
            asks = tl.load(
                queries + row[None, :] * dim + start + part[:, None],
                mask=left[:, None],
                other=0.0,
            )
            products = tl.dot(offers, asks, products, input_precision=precision)
        none = tl.load(padding + entry, mask=real, other=1) != 0
        products = tl.where(none[:, None], float("-inf"), products)
        faulty = tl.max((products != products).to(tl.int32), axis=0) > 0
        highest, where = tl.max(products, axis=0, return_indices=True)
        highest = tl.where(faulty, float("nan"), highest)
        top, place = _larger(top, place, highest, first + where)
    tl.store(best + code, top, mask=there)
    if remember:
        tl.store(places + code, place, mask=there)


@triton.jit
def _larger(top, place, products, candidate):
    """With a candidate where it is larger, or NaN, which is to be seen."""
    larger = (products > top) | (products != products)
    return tl.where(larger, products, top), tl.where(larger, candidate, place)

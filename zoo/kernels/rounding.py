"""Embeddings rounded to bfloat16, and how far dot products of them may be from float32's.

Writing x^ for x rounded, <w, v> - <w^, v^> = <w - w^, v> + <w^, v - v^>, so that Cauchy and Schwarz
bound what rounding the embeddings changes by |w - w^| |v| + |w^| |v - v^|. Both differences are
known exactly. To this comes what rounding the product itself may change, 2^-8 of the power of two
below it, and what is lost where float32 adds up d products in any order: d 2^-24 |w| |v|, once here
and once there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ..batch import Batch, Fragments
from ..ops import in_full

HALF = torch.bfloat16
ROUNDING = 2.0**-8
"""The largest error of rounding to bfloat16, whose significand has eight bits, of numbers from 1 to
2; what is rounded up to 1 or to 2 has moved no further."""

NUMBERS = 2**18
"""Rounded at once."""

SMALLEST = 2.0**-100
"""More than what is lost where products are too small for float32."""


@dataclass(frozen=True)
class Rounded(Batch):
    """Fragments in bfloat16. Padding is 0.

    embeddings: (items, fragments, dim)
    mask:       (items, fragments), True where the fragment is real
    lengths:    (items, fragments), an upper bound of each fragment's length as it was
    errors:     (items, fragments), an upper bound of the length of what rounding took away
    """

    embeddings: Tensor
    mask: Tensor
    lengths: Tensor
    errors: Tensor

    @classmethod
    def of(cls, fragments: Fragments) -> Self:
        """Round fragments; some items at a time, so that what is not kept stays in the cache."""
        size = max(1, NUMBERS // fragments.embeddings[0].numel())
        parts = zip(*map(_rounded, fragments.split(size)), strict=True)
        half, lengths, errors = map(torch.cat, parts)
        return cls(half, fragments.mask, lengths, errors)

    @property
    def fragments(self) -> Fragments:
        """The rounded embeddings."""
        return Fragments(self.embeddings, self.mask)


def _rounded(fragments: Fragments) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, lengths and errors as `Rounded` has them."""
    full = in_full(fragments.embeddings).masked_fill(~fragments.mask[..., None], 0)
    half = full.to(HALF)
    slack = 1 + 2**-20 * full.shape[-1] ** 0.5  # lengths are rounded themselves
    lengths = torch.linalg.vector_norm(full, dim=-1)
    errors = torch.linalg.vector_norm(full.sub_(half), dim=-1)
    return half, lengths * slack, errors * slack


def product_errors(products: Tensor, queries: tuple[Tensor, Tensor], entries: Rounded) -> Tensor:
    """How far each query's largest rounded dot product may be from float32's: (items, queries).

    products: (items, queries), of rounded embeddings with each item's best entry, themselves
              rounded, as float32
    queries:  (queries,) each, lengths and errors as `Rounded` has them
    """
    lengths, errors = queries
    longest, worst = entries.lengths.amax(dim=1)[:, None], entries.errors.amax(dim=1)[:, None]
    adding = 2 * entries.embeddings.shape[-1] * 2**-24
    rounded = lengths + errors
    # |w - w^| |v| + |w^| |v - v^| + d 2^-23 |w^| |v^|, each with the item's largest |v|
    total = longest * (errors + adding * rounded) + worst * ((1 + adding) * rounded)
    # 2^-16 is for the rounding of the bound itself.
    total.add_(_power_of_two_below(products), alpha=ROUNDING)
    return total.mul_(1 + 2**-16).add_(SMALLEST)


def _power_of_two_below(products: Tensor) -> Tensor:
    """The largest that is no larger than each; 0 for what is too small for float32's exponent."""
    exponent = products.view(torch.int32) & 0x7F800000
    return exponent.view(torch.float32)


@contextmanager
def sums_in_float32() -> Iterator[None]:
    """Products of bfloat16 are added up in float32, on CUDA too, where torch may do otherwise."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = before

"""Products of matrices by the faster of the two libraries that torch has on a CPU.

For float32 torch takes MKL, which leaves AVX-512 alone on processors that are not Intel's. There
oneDNN, which torch takes for bfloat16, is more than twice as fast (docs/benchmarks.md).
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

LEAST = 2**24
"""Multiplications below which making oneDNN a program for a new shape costs more than it saves."""

LEAST_AGAIN = 2**21
"""Likewise, where a shape comes some dozen times. Smaller products come in more shapes: from 2**18
on, making and keeping their programs costs a step of SHAN one to two seconds and 200 MB."""


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """The dot product of each row (rows, dim) with each of the columns (columns, dim).

    >>> products(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[11.,  2.]])
    """
    apply: Any = _Products.apply
    result: Tensor = apply(rows, columns)
    return result


def products_into(out: Tensor | None, rows: Tensor, columns: Tensor) -> Tensor:
    """As `products`, without a gradient, of any type that both have.

    out: at least as many numbers as there are products, where these may be put
    """
    size = len(rows), len(columns)
    if _by_one_dnn(rows, size[0] * columns.numel() >= LEAST):
        return _linear(rows, columns)
    room = None if out is None else out[: size[0] * size[1]].view(size)
    return torch.mm(rows, columns.T, out=room)


def weighted_sums(
    weights: Tensor, sources: Tensor, plus: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Each row's sum of its item's sources, without a gradient: (items, rows, dim).

    weights: (items, rows, sources), for many calls of that shape
    sources: (items, sources, dim)
    plus:    (items or 1, rows, dim), what is added to the sums
    out:     at least as many numbers as there will be, where these may be put

    Where an item has many sums, one item at a time is the fastest.
    """
    size = (*weights.shape[:2], sources.shape[2])
    if len(weights) == 1 and _by_one_dnn(weights, weights.numel() * size[2] >= LEAST_AGAIN):
        return _linear(weights[0], sources[0].T, None if plus is None else plus[0])[None]
    room = None if out is None else out[: math.prod(size)].view(size)
    if plus is None:
        return torch.bmm(weights, sources, out=room)
    return torch.baddbmm(plus.expand(size), weights, sources, out=room)


def has_one_dnn() -> bool:
    """Whether this torch can leave products to oneDNN."""
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class _Products(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(rows, columns)
        return products_into(None, rows, columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = ctx.saved_tensors
        of_rows = products_into(None, gradient[0], columns.T)
        return of_rows, products_into(None, gradient[0].T, rows.T)


def _linear(rows: Tensor, columns: Tensor, plus: Tensor | None = None) -> Tensor:
    """What torch compiles a linear map to where it takes oneDNN: rows columns^T + plus."""
    ops: Any = torch.ops.mkldnn
    if plus is None:
        result: Tensor = ops._linear_pointwise(rows, columns, None, "none", [], "")
        return result
    added: Tensor = ops._linear_pointwise.binary(rows, plus, columns, None, "add")
    return added


def _by_one_dnn(rows: Tensor, worth: bool) -> bool:
    return (
        worth and rows.device.type == "cpu" and rows.dtype == torch.float32 and _one_dnn_is_faster()
    )


@cache
def _one_dnn_is_faster() -> bool:
    """Whether this is an x86 processor with AVX-512 that is not Intel's."""
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(
        has_one_dnn()
        and told.get("avx512_f")
        and "intel" not in told.get("cpu_name", "intel").lower()
    )

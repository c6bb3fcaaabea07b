"""Products of matrices by the faster of the two libraries that torch has on a CPU.

For float32 torch takes MKL, which leaves AVX-512 alone on processors that are not Intel's. There
oneDNN, which torch takes for bfloat16, is more than twice as fast (docs/benchmarks.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

LEAST = 2**26
"""Multiplications below which making oneDNN a program for a new shape costs more than it saves."""


class Rows:
    """Vectors (rows, dim) that are multiplied with several others, without a gradient."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        # Public, if old: an operand in oneDNN's own layout makes a linear map oneDNN's.
        self.ready = rows.to_mkldnn() if len(rows) and _by_one_dnn(rows) else None

    def products(self, columns: Tensor, out: Tensor | None = None) -> Tensor:
        """The dot product of each row with each of the columns: (rows, columns).

        columns: (columns, dim), of the same type
        out:     at least as many numbers as there are products, where these may be put
        """
        if self.ready is not None and len(self.rows) * columns.numel() >= LEAST:
            return linear(self.ready, columns).to_dense()
        size = len(self.rows), len(columns)
        room = None if out is None else out[: size[0] * size[1]].view(size)
        return torch.mm(self.rows, columns.T, out=room)


def products(rows: Tensor, columns: Tensor) -> Tensor:
    """The dot product of each row (rows, dim) with each of the columns (columns, dim).

    >>> products(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    tensor([[11.,  2.]])
    """
    apply: Any = _Products.apply
    result: Tensor = apply(rows, columns)
    return result


class _Products(Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(rows, columns)
        return Rows(rows).products(columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradient: Tensor) -> tuple[Tensor, Tensor]:
        rows, columns = ctx.saved_tensors
        of_products = gradient[0]
        of_rows = Rows(of_products).products(columns.T)
        return of_rows, Rows(of_products.T).products(rows.T)


def _by_one_dnn(rows: Tensor) -> bool:
    return rows.device.type == "cpu" and rows.dtype == torch.float32 and _one_dnn_is_faster()


@cache
def _one_dnn_is_faster() -> bool:
    """Whether this is an x86 processor with AVX-512 that is not Intel's."""
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(
        torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and told.get("avx512_f")
        and "intel" not in told.get("cpu_name", "intel").lower()
    )

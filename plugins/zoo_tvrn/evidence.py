"""The hot path of TVRN: how far each word is from what it sees, as a similarity vector.

For each pair a word and what it sees are vectors of the joint space, and the square of their
difference is a mixture that no product of one side's precomputed parts gives. So they are formed,
in blocks that stay in a CPU's cache, and formed again for the gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CELLS = 2**18
"""Numbers in a block of vectors on a CPU: 1 MiB in float32."""

ACCELERATOR_CELLS = 2**27
"""On other devices. Not yet measured."""


def squared_differences(
    weights: Tensor, regions: Tensor, words: Tensor, matrix: Tensor, bias: Tensor
) -> Tensor:
    """W (unit(sum_r a_r u_r) - y)^2 + b for each word of each image: (images, words, outputs).

    weights: (images, words, regions), a, what each word attends to
    regions: (images, regions, dim), u
    words:   (images or 1, words, dim), y, each image's own or the same for all
    matrix:  (outputs, dim), W; bias: (outputs,)

    Under autocast the matrix products are in its precision and the rest is not.
    """
    apply: Any = _SquaredDifferences.apply
    result: Tensor = apply(weights, regions, words, matrix, bias)
    return result


class _SquaredDifferences(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, regions: Tensor, words: Tensor, matrix: Tensor, bias: Tensor
    ) -> Tensor:
        ctx.save_for_backward(weights, regions, words, matrix)
        device = weights.device.type
        ctx.low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        with torch.autocast(device, enabled=False):
            return torch.cat(
                [
                    _product(_seen(a, u, y, ctx.low)[1].square_(), matrix.T, ctx.low) + bias
                    for _, a, u, y in _blocks(weights, regions, words)
                ]
            )

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        weights, regions, words, matrix = ctx.saved_tensors
        d_weights, d_regions = torch.empty_like(weights), torch.empty_like(regions)
        d_words, d_matrix = torch.zeros_like(words), torch.zeros_like(matrix)
        for part, a, u, y in _blocks(weights, regions, words):
            g = gradient[part]
            length, difference = _seen(a, u, y, ctx.low)
            squared = difference.square().flatten(0, 1)
            d_matrix += _product(g.flatten(0, 1).T, squared, ctx.low)
            change = _product(g, 2 * matrix, ctx.low).to(g.dtype).mul_(difference)
            if len(words) == 1:
                d_words -= change.sum(dim=0)
            else:
                d_words[part] = -change
            # Through x / (||x|| + 1e-8), where unit = difference + y.
            unit = difference.add_(y)
            along = (unit * change).sum(dim=-1, keepdim=True)
            along *= (length + 1e-8) / length
            change.addcmul_(unit, along, value=-1).div_(length + 1e-8)
            change = change.to(ctx.low or change.dtype)
            d_weights[part] = _product(change, u.mT, ctx.low)
            d_regions[part] = _product(a.mT, change, ctx.low)
        return d_weights, d_regions, d_words, d_matrix, gradient.sum(dim=(0, 1))


def _seen(a: Tensor, u: Tensor, y: Tensor, low: torch.dtype | None) -> tuple[Tensor, Tensor]:
    """The length of what each word sees (.., 1), and how its direction differs from the word."""
    seen = _product(a, u, low).to(y.dtype)
    length = torch.linalg.vector_norm(seen, dim=-1, keepdim=True)
    length.clamp_(min=torch.finfo(length.dtype).tiny)
    return length, seen.div_(length + 1e-8).sub_(y)


def _product(left: Tensor, right: Tensor, low: torch.dtype | None) -> Tensor:
    return left @ right if low is None else left.to(low) @ right.to(low)


def _blocks(
    weights: Tensor, regions: Tensor, words: Tensor
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    cells = CELLS if weights.device.type == "cpu" else ACCELERATOR_CELLS
    size = max(1, cells // words[0].numel())
    for start in range(0, len(weights), size):
        part = slice(start, start + size)
        yield part, weights[part], regions[part], words if len(words) == 1 else words[part]

"""Gate, blend and pool, for all pairs: the only part of SHAN whose work a pair grows with dim.

A pair has (regions + words) x dim gates, and no algebra makes them fewer. So they are worked
through in chunks that stay in a processor's cache, in buffers that are used again, and anew for
the gradient: nothing of that size is ever kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from zoo.kernels.products import weighted_sums

ELEMENTS = {"cpu": 2**19, "cuda": 2**26}
"""Numbers in a buffer, by kind of device. There are four buffers."""


def gated_pooling(
    weights: Tensor,
    own: Tensor,
    own_gates: Tensor,
    sources: Tensor,
    source_gates: Tensor,
    row: Tensor,
    mask: Tensor,
) -> Tensor:
    """One vector for each pair: its fragments, each blended with its message, then pooled.

    m_n = sum_k weights_nk sources_k                                      the message
    g_n = sigmoid(own_gates_n + sum_k weights_nk source_gates_k)          the gate
    c_n = g_n own_n + (1 - g_n) m_n                                       the blend
    sum_n softmax_n(row . c_n) c_n, over the fragments that `mask` keeps  the result

    weights:      (source items, items, fragments, source fragments)
    own:          (items, fragments, dim)
    own_gates:    (items, fragments, gates); gates is dim, or 1 for one gate a fragment
    sources:      (source items, source fragments, dim)
    source_gates: (source items, source fragments, gates)
    row:          (dim,)
    mask:         (items, fragments)

    Yields (source items, items, dim).
    """
    inputs = (weights, own, own_gates, sources, source_gates, row, mask)
    pooled: Tensor = _GatedPooling.apply(*inputs)  # type: ignore[no-untyped-call]
    return pooled


class _Inputs(NamedTuple):
    """The arguments of `gated_pooling`, or their gradients."""

    weights: Tensor
    own: Tensor
    own_gates: Tensor
    sources: Tensor
    source_gates: Tensor
    row: Tensor
    mask: Tensor

    def chunks(self) -> Iterator[tuple[slice, slice]]:
        """Every pair once: slices of the source items and of the items."""
        rows, columns = self._sizes()
        for source in range(0, len(self.sources), rows):
            for item in range(0, len(self.own), columns):
                yield slice(source, source + rows), slice(item, item + columns)

    def chunk(self, s: slice, q: slice) -> _Inputs:
        """The views that belong to some source items and items."""
        own, own_gates = self.own[q], self.own_gates[q]
        sources, source_gates = self.sources[s], self.source_gates[s]
        return _Inputs(
            self.weights[s, q], own, own_gates, sources, source_gates, self.row, self.mask[q]
        )

    def buffers(self) -> Tensor:
        """Room for four tensors (source items, items, fragments, dim) of a chunk."""
        rows, columns = self._sizes()
        return self.own.new_empty(4, rows * columns * self.own[0].numel())

    def _sizes(self) -> tuple[int, int]:
        elements, each = ELEMENTS.get(self.own.device.type, 2**26), self.own[0].numel()
        columns = min(max(1, elements // each), len(self.own))
        # Many together only where they are small: products of one source item are the fastest.
        rows = max(1, elements // (columns * each)) if columns * each < elements // 8 else 1
        return min(rows, len(self.sources)), columns


class _GatedPooling(Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Tensor) -> Tensor:
        ctx.save_for_backward(*arguments)
        inputs = _Inputs(*arguments)
        pooled = inputs.own.new_empty(*inputs.weights.shape[:2], inputs.own.shape[-1])
        buffers = inputs.buffers()
        for s, q in inputs.chunks():
            chunk = inputs.chunk(s, q)
            messages, gates = _messages(chunk, buffers)
            blended = torch.lerp(messages, chunk.own, gates, out=messages)
            pooled[s, q] = (_shares(blended, chunk).unsqueeze(-2) @ blended).squeeze(-2)
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs = _Inputs(*ctx.saved_tensors)
        gradients = _Inputs(torch.empty_like(inputs.weights), *map(torch.zeros_like, inputs[1:]))
        buffers = inputs.buffers()
        for s, q in inputs.chunks():
            _accumulate(gradient[s, q], inputs.chunk(s, q), gradients.chunk(s, q), buffers)
        return (*gradients[:-1], None)


def _messages(chunk: _Inputs, buffers: Tensor) -> tuple[Tensor, Tensor]:
    """Messages and gates: (source items, items, fragments, dim) each, or one gate a fragment.

    The weighted sum of the sources' gates stands for the gate of the message: before its sigmoid a
    gate is linear.
    """
    weights, shape = chunk.weights.flatten(1, 2).contiguous(), chunk.weights.shape[:3]
    messages = weighted_sums(weights, chunk.sources, out=buffers[0])
    own_gates = chunk.own_gates.flatten(0, 1)[None]
    gates = weighted_sums(weights, chunk.source_gates, own_gates, buffers[1]).sigmoid_()
    return messages.view(*shape, -1), gates.view(*shape, -1)


def _shares(blended: Tensor, chunk: _Inputs) -> Tensor:
    """How much of the pooled vector each fragment makes: (source items, items, fragments)."""
    logits = blended @ chunk.row
    return logits.masked_fill_(~chunk.mask, -torch.inf).softmax(dim=-1)


def _accumulate(gradient: Tensor, chunk: _Inputs, gradients: _Inputs, buffers: Tensor) -> None:
    """Add what a chunk gives to the gradients of the arguments; each pair comes once."""
    messages, gates = _messages(chunk, buffers)
    room = buffers[2, : messages.numel()].view(messages.shape)
    blended = torch.lerp(messages, chunk.own, gates, out=room)

    # c are the blends. Through sum_n softmax_n(row . c_n) c_n:
    shares = _shares(blended, chunk)
    along = (gradient.unsqueeze(-2) @ blended.mT).squeeze(-2)
    slope = shares * (along - (shares * along).sum(dim=-1, keepdim=True))
    gradients.row.add_(slope.flatten() @ blended.flatten(0, 2))
    left = torch.stack([shares, slope], dim=-1).flatten(0, 1)
    right = torch.stack([gradient, chunk.row.expand_as(gradient)], dim=-2).flatten(0, 1)
    of_blended = weighted_sums(left, right, out=buffers[3]).view_as(blended)

    # Through c = m + g (x - m), g = sigmoid(h): dx = g dc, dm = (1 - g) dc, and
    # dh = g (1 - g) (x - m) dc = (c - m) dm.
    of_gates = blended.sub_(messages)
    of_own = torch.mul(of_blended, gates, out=messages)
    _add_items(gradients.own, of_own)
    of_messages = of_blended.sub_(of_own)
    of_gates.mul_(of_messages)
    if gates.shape[-1] == 1:
        of_gates = of_gates.sum(dim=-1, keepdim=True)
    _add_items(gradients.own_gates, of_gates)

    # Through the weighted sums of the sources and of their gates.
    weights, of_messages, of_gates = (
        one.flatten(1, 2) for one in (chunk.weights, of_messages, of_gates)
    )
    gradients.sources.add_(weighted_sums(weights.mT, of_messages))
    gradients.source_gates.add_(weighted_sums(weights.mT, of_gates))
    # This way round, the products take a CPU half the time.
    of_weights = weighted_sums(chunk.sources, of_messages.mT)
    of_weights = weighted_sums(chunk.source_gates, of_gates.mT, of_weights)
    gradients.weights.copy_(of_weights.mT.view_as(chunk.weights))


def _add_items(total: Tensor, parts: Tensor) -> None:
    """Add the sum over the source items, without a tensor for it."""
    for part in parts:
        total.add_(part)

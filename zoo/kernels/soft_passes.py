"""What soft alignment does with a block of similarities: from them to cosines, and back.

cos(q, sum_k a_k x_k) = a.s / sqrt(a.G a), with s = X q and G = X X^T, does not change when a is
scaled. So the softmax needs no sum, and none of its numbers is divided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from .attention import Attention
from .runs import Run

SAFE = 30.0
"""The largest exponent whose square float32 holds, with room for what is made of it."""


def cosines(
    similarity: Tensor, logits: Tensor, gram: Tensor, runs: Iterable[Run], attention: Attention
) -> Tensor:
    """The cosine of each query with what it attends to in each item: (items, queries).

    similarity, logits: (items, sources, queries), the queries by `runs`
    gram:               as `gram_matrices` makes it
    """
    weights = _exponents(logits, runs, attention).weights_in_place()
    mixed = torch.bmm(gram, weights)
    floor = _floor(mixed[:, -1])
    square = mixed[:, :-1].mul_(weights).sum(dim=1)
    along = weights.mul_(similarity).sum(dim=1)
    return along.mul_(torch.maximum(square, floor).rsqrt_())


def gram_matrices(sources: Tensor) -> Tensor:
    """The sources' dot products, and a row of ones below: (items, sources + 1, sources).

    By the ones, a product with weights has their sum beside what they mix.
    """
    ones = sources.new_ones(len(sources), 1, sources.shape[1])
    return torch.cat([sources @ sources.mT, ones], dim=1)


def _floor(total: Tensor) -> Tensor:
    """What a squared length is not known from 0 below, where weights have that sum.

    Rounding leaves an error of about eps in the square of a mean of vectors of unit length. What is
    below may even be negative, and its root has no useful gradient.
    """
    return total.square() * torch.finfo(total.dtype).eps


class Gradients(NamedTuple):
    """Of the similarities and of the logits, (items, sources, queries), and of the Gram matrices.

    Where logits are the similarities themselves, both are to be added.
    """

    similarity: Tensor
    logits: Tensor
    gram: Tensor


def gradients(
    gradient: Tensor,
    similarity: Tensor,
    logits: Tensor,
    gram: Tensor,
    runs: Iterable[Run],
    attention: Attention,
) -> Gradients:
    """Those of what `cosines` takes, from that of what it yields."""
    exponents = _exponents(logits, runs, attention)
    weights = exponents.weights()
    mixed = torch.bmm(gram, weights)
    total, mixed = mixed[:, -1], mixed[:, :-1]
    along = (weights * similarity).sum(dim=1)
    square = (weights * mixed).sum(dim=1)
    floor = _floor(total)
    root = torch.maximum(square, floor).rsqrt_()

    # Through along / sqrt(max(square, eps total^2)), with square = a.G a and along = a.s:
    of_along = gradient * root
    of_longer = of_along * along * root.square_() / -2
    low = square < floor
    of_square = of_longer.masked_fill(low, 0)
    of_total = (of_longer * floor * 2 / total).masked_fill_(~low, 0)
    of_gram = torch.bmm(weights * of_square[:, None], weights.mT)
    of_weights = mixed.mul_(2 * of_square[:, None])
    of_weights.addcmul_(similarity, of_along[:, None]).add_(of_total[:, None])
    of_similarity = weights * of_along[:, None]
    of_exponents = of_weights.mul_(weights).mul_(math.log(2))
    return Gradients(of_similarity, exponents.gradient(of_exponents), of_gram)


class _Exponents(NamedTuple):
    """Weights before 2 to their power: (items, sources, queries); and how they were made.

    highest: (items, 1, queries), of a query; None where no exponent can be too large
    norms:   (items, sources, 1, queries' items) of each run; None: there the logits are scaled only
    """

    values: Tensor
    highest: Tensor | None
    norms: list[Tensor | None]
    logits: Tensor
    runs: Iterable[Run]
    attention: Attention

    def weights(self) -> Tensor:
        """Up to a factor for each query."""
        values = self.values
        return values.exp2() if self.highest is None else (values - self.highest).exp2_()

    def weights_in_place(self) -> Tensor:
        values = self.values
        return values.exp2_() if self.highest is None else values.sub_(self.highest).exp2_()

    def gradient(self, of_exponents: Tensor) -> Tensor:
        """That of the logits, in the place of that of the exponents."""
        scale = _scale(self.attention)
        of_shaped = of_exponents
        for run, norm in zip(self.runs, self.norms, strict=True):
            part, values = _by_place(of_shaped, run), _by_place(self.values, run)
            if norm is None:
                part.mul_(scale)
                continue
            # Through z = scale x / ||x||: of the length, what is along z.
            radial = (part * values).sum(dim=2, keepdim=True)
            radial.div_(norm.clamp(min=torch.finfo(norm.dtype).tiny ** 0.5).mul_(-scale))
            part.mul_(scale / (norm + 1e-8)).addcmul_(values, radial)
        leak = self.attention.leak
        if leak is None:
            return of_shaped
        of_logits: Tensor = torch.ops.aten.leaky_relu_backward(of_shaped, self.logits, leak, False)
        for run in self.runs:
            if _spared(run, self.attention):
                of_logits[..., run.start : run.stop] = of_shaped[..., run.start : run.stop]
        return of_logits


def _exponents(logits: Tensor, runs: Iterable[Run], attention: Attention) -> _Exponents:
    """As `Attention` says, in powers of 2: a CPU takes those in a quarter of the time of e's."""
    leak, scale = attention.leak, _scale(attention)
    shaped = logits.clone() if leak is None else torch.nn.functional.leaky_relu(logits, leak)
    norms: list[Tensor | None] = []
    safe = attention.normalize and attention.sharpness <= SAFE
    for run in runs:
        part = _by_place(shaped, run)
        if attention.normalize and not _spared(run, attention):
            norm = part.square().sum(dim=2, keepdim=True).sqrt_()
            part.mul_(scale / (norm + 1e-8))
            norms.append(norm)
        else:
            if leak is not None and _spared(run, attention):
                part.copy_(_by_place(logits, run))
            norms.append(None)
            part.mul_(scale)
            safe = False
    highest = None if safe else shaped.amax(dim=1, keepdim=True)
    return _Exponents(shaped, highest, norms, logits, runs, attention)


def _scale(attention: Attention) -> float:
    return attention.sharpness / math.log(2)


def _spared(run: Run, attention: Attention) -> bool:
    return attention.spare_single and run.length == 1


def _by_place(values: Tensor, run: Run) -> Tensor:
    """A run's part of (items, sources, queries): (items, sources, length, queries' items)."""
    return values[..., run.start : run.stop].view(*values.shape[:2], run.length, run.items)

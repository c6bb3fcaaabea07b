"""How far a score may move when each of its codes moves by no more than is known of it.

What float32 rounds where it pools n codes is in it: n + 16 times 2^-22 of the largest number on the
way, which allows each sum any order and each exponential a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.kernels.packing import Codes

Bound = Callable[[Tensor, Tensor, float], Tensor]


def pooled_errors(pooling: str, codes: Codes, errors: Codes, temperature: float) -> Tensor:
    """For each score that the codes make, from a bound for each code: (items, queries' items)."""
    bound = BOUNDS[pooling]
    return codes.pool(lambda values, moved: bound(values, moved, temperature), errors)


def _rounding(codes: Tensor, errors: Tensor) -> tuple[float, Tensor]:
    """The share that float32 may round away, and the largest code there can be."""
    return (codes.shape[1] + 16) * 2.0**-22, (codes.abs() + errors).amax(dim=1)


def _mean(codes: Tensor, errors: Tensor, _: float) -> Tensor:
    share, highest = _rounding(codes, errors)
    return errors.mean(dim=1) + share * highest


def _sum(codes: Tensor, errors: Tensor, temperature: float) -> Tensor:
    return codes.shape[1] * _mean(codes, errors, temperature)


def _max(codes: Tensor, errors: Tensor, _: float) -> Tensor:
    """How far it rises where every code rises by its bound: see `_log_sum_exp`."""
    share, highest = _rounding(codes, errors)
    return (codes + errors).amax(dim=1) - codes.amax(dim=1) + share * highest


def _log_sum_exp(codes: Tensor, errors: Tensor, temperature: float) -> Tensor:
    """How far it rises where every code rises by its bound.

    It increases in each code, so it is furthest away where all codes rise or where all fall by
    their bounds; and it is convex, so that it rises no less than it falls. To first order this is
    the mean of the codes' bounds, weighed as the softmax weighs the codes.
    """
    share, highest = _rounding(codes, errors)
    raised = ((codes + errors) / temperature).logsumexp(dim=1)
    rise = raised - (codes / temperature).logsumexp(dim=1)
    return rise + 2 * share * (1 + highest / temperature)


def _softmax_mean(codes: Tensor, errors: Tensor, temperature: float) -> Tensor:
    """The derivative of f = sum_i p_i c_i by c_i is p_i (1 + (c_i - f) / temperature).

    Wherever the codes move, none is further from f than the codes are from one another, and the p_i
    sum to 1: the first bound. While they move by e, no p_i grows by more than a factor
    exp(2 max e / temperature), and |c_i - f| by no more than e_i and the first bound: the second,
    which weighs the codes' bounds as the softmax weighs the codes.
    """
    share, highest = _rounding(codes, errors)
    worst = errors.amax(dim=1)
    spread = codes.amax(dim=1) - codes.amin(dim=1) + 2 * worst
    first = worst * (1 + spread / temperature)
    weights = (codes / temperature).softmax(dim=1)
    away = (codes - (weights * codes).sum(dim=1, keepdim=True)).abs() + errors + first[:, None]
    second = (weights * errors * (1 + away / temperature)).sum(dim=1)
    growth = 2 * worst / temperature
    second = second * growth.clamp(max=1).exp()  # where it grows by more, the first is the tighter
    least = torch.where(growth < 1, torch.minimum(first, second), first)
    return least + 4 * share * (highest + least) * (1 + highest / temperature)


BOUNDS: dict[str, Bound] = {
    "lse": _log_sum_exp,
    "mean": _mean,
    "sum": _sum,
    "max": _max,
    "softmax": _softmax_mean,
}

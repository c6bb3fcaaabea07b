"""How far a score may move when each of its codes moves by no more than is known of it.

What float32 rounds where it pools n codes is in it: n + 16 times 2^-22 of the largest number on the
way, which allows each sum any order and each exponential a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Callable

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


def _max(_codes: Tensor, errors: Tensor, _: float) -> Tensor:
    """A maximum moves no further than what it is taken of."""
    return errors.amax(dim=1)


def _log_sum_exp(codes: Tensor, errors: Tensor, temperature: float) -> Tensor:
    """None of its partial derivatives by codes / temperature is negative, and they sum to 1."""
    share, highest = _rounding(codes, errors)
    return errors.amax(dim=1) / temperature + share * (1 + highest / temperature)


def _softmax_mean(codes: Tensor, errors: Tensor, temperature: float) -> Tensor:
    """The derivative of sum_i p_i c_i by c_i is p_i (1 + (c_i - score) / temperature).

    No code is further from the score than the codes are from one another, wherever they move.
    """
    share, highest = _rounding(codes, errors)
    worst = errors.amax(dim=1)
    spread = codes.amax(dim=1) - codes.amin(dim=1) + 2 * worst
    return worst * (1 + spread / temperature) + 4 * share * highest * (1 + highest / temperature)


BOUNDS: dict[str, Bound] = {
    "lse": _log_sum_exp,
    "mean": _mean,
    "sum": _sum,
    "max": _max,
    "softmax": _softmax_mean,
}

"""Checks of a component's options, so that every component refuses them in the same words."""

from __future__ import annotations

from collections.abc import Iterable

from .errors import InputError


def check_choice(option: str, value: object, choices: Iterable[object]) -> None:
    """Raise `InputError` unless `value` is one of the choices."""
    known = list(choices)
    if value not in known:
        raise InputError(f"{option} is {value!r}. Use one of {', '.join(map(str, known))}.")


def check_share(option: str, value: float) -> None:
    """Raise `InputError` unless `value` is a probability below 1."""
    if not 0 <= value < 1:
        raise InputError(f"{option} is {value!r}. Use a number from 0 to below 1.")


def check_fraction(option: str, value: float) -> None:
    """Raise `InputError` unless `value` is from 0 to 1, both included."""
    if not 0 <= value <= 1:
        raise InputError(f"{option} is {value!r}. Use a number from 0 to 1.")


def check_positive(option: str, value: float) -> None:
    """Raise `InputError` unless `value` is above 0."""
    if not value > 0:
        raise InputError(f"{option} is {value!r}. Use a number above 0.")

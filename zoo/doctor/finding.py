"""What the doctor says: one form for every check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from ..errors import ZooError

Level = Literal["fine", "warning", "problem"]
T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    level:  a problem makes results wrong or impossible, a warning may be meant
    check:  what was looked at, in a word or two
    place:  a split, or a file
    what:   was found
    remedy: what to do; empty where all is well
    """

    level: Level
    check: str
    place: str
    what: str
    remedy: str = ""


def refusal(check: str, place: str, error: ZooError) -> Finding:
    """A problem in the words of the error that it would raise.

    >>> refusal("rows", "test", ZooError("It has 3 rows for 5. Give 5.")).remedy
    'Give 5.'
    """
    what, _, remedy = str(error).removesuffix(".").rpartition(". ")
    return Finding("problem", check, place, f"{what}.", f"{remedy}.")


def attempt(call: Callable[[], T], check: str, place: str) -> T | Finding:
    """What a call gives, or the problem that it has."""
    try:
        return call()
    except ZooError as error:
        return refusal(check, place, error)


def guarded(findings: Iterable[Finding], check: str, place: str) -> Iterator[Finding]:
    """Findings of a check, and last the problem that ended it, if one did."""
    try:
        yield from findings
    except ZooError as error:
        yield refusal(check, place, error)


def some(names: Iterable[str], count: int) -> str:
    """The first of many names, and how many there are.

    >>> some(["a", "b", "c", "d"], 4), some(["a"], 1)
    ('4, such as a, b, c', '1, a')
    """
    shown = [name for _, name in zip(range(3), names, strict=False)]
    return f"{count:,}, {'such as ' if count > len(shown) else ''}{', '.join(shown)}"

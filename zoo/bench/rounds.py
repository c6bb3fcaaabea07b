"""Times of several variants, taken in turns, so that a slow machine slows all of a round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Took:
    """What a run took: of the processor, all threads together, and on the wall's clock."""

    seconds: float
    wall: float

    def times(self, factor: float) -> Took:
        """As if it had been run so many times."""
        return Took(self.seconds * factor, self.wall * factor)


@dataclass(frozen=True)
class Row:
    """A variant, measured.

    seconds: of the processor, the median over the rounds
    wall:    likewise, on the wall's clock
    ratio:   how many times faster than the baseline, the median over the rounds; None without one
    low, high: the least and the greatest of these
    told:    what else there is to say, by its name
    at:      the value of what is swept
    """

    variant: str
    seconds: float
    wall: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    told: Mapping[str, Any] = field(default_factory=dict[str, Any])
    at: int | None = None


Round = Mapping[str, Took]


def timed(run: Callable[[], Any]) -> tuple[Took, Any]:
    """What a run took, and what came of it."""
    began, used = time.perf_counter(), time.process_time()
    result = run()
    return Took(time.process_time() - used, time.perf_counter() - began), result


def rows(
    rounds: Sequence[Round],
    baseline: str | None,
    told: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    by: str = "seconds",
) -> list[Row]:
    """A row for each variant; ratios are of `by`, seconds of the processor or wall.

    >>> [row.ratio for row in rows([{"a": Took(4, 4), "b": Took(1, 1)}], "a")]
    [1.0, 4.0]
    """
    found = []
    for name in rounds[0]:
        ratios = [getattr(one[baseline], by) / getattr(one[name], by) for one in rounds if baseline]
        found.append(
            Row(
                name,
                statistics.median(one[name].seconds for one in rounds),
                statistics.median(one[name].wall for one in rounds),
                statistics.median(ratios) if ratios else None,
                min(ratios, default=None),
                max(ratios, default=None),
                dict((told or {}).get(name, {})),
            )
        )
    return found

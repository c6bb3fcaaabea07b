"""Measurements of one thing over several seeds, as one line of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from .recalls import FIGURES
from .results import seeds_of

NOTHING = "-"


@dataclass(frozen=True)
class Summary:
    """The rows of one model, one for each seed, under a name.

    own: that of the weights which lie in its folder
    """

    name: str
    rows: Sequence[Mapping[str, Any]]
    own: Mapping[str, Any] | None = None

    @property
    def seeds(self) -> list[int]:
        """Of the rows that have one."""
        return seeds_of(self.rows)

    def mean(self, figure: str) -> float:
        """Of a figure over the seeds."""
        return fmean(row["metrics"][figure] for row in self.rows)

    def deviation(self, figure: str) -> float | None:
        """The sample standard deviation (n - 1) over the seeds; None for one."""
        values = [row["metrics"][figure] for row in self.rows]
        return stdev(values) if len(values) > 1 else None

    def cell(self, figure: str) -> str:
        """Mean and, where there are several seeds, standard deviation.

        >>> Summary("x", [{"metrics": {"rsum": 299.0}}, {"metrics": {"rsum": 301.0}}]).cell("rsum")
        '300.0 ± 1.4'
        """
        deviation = self.deviation(figure)
        spread = "" if deviation is None else f" ± {deviation:.1f}"
        return f"{self.mean(figure):.1f}{spread}"

    def parameters(self, key: str = "parameters") -> str:
        """How many, the same for every seed; in millions where they are many."""
        known = [row[key] for row in self.rows if row.get(key) is not None]
        if not known:
            return NOTHING
        return f"{known[0] / 1e6:.2f} M" if known[0] >= 100_000 else f"{known[0]:,}"

    def time(self, seconds: str, place: str) -> str:
        """The median time, and what it was measured on; one for each of several machines.

        The median, since a run that shared its processor took longer than it needs.

        >>> row = {"scoring_seconds": 90.0, "measured_on": "cpu, 1 thread"}
        >>> Summary("x", [row, row]).time("scoring_seconds", "measured_on")
        '1.5 min (cpu, 1 thread)'
        """
        places: dict[str, list[float]] = {}
        for row in self.rows:
            if row.get(seconds) is not None:
                places.setdefault(row.get(place) or "", []).append(row[seconds])
        told = (
            _duration(median(times)) + (f" ({where})" if where else "")
            for where, times in places.items()
        )
        return "; ".join(told) or NOTHING

    def to_json(self) -> dict[str, Any]:
        """As plain values; a deviation is None where there is one seed."""
        return {
            "name": self.name,
            "seeds": self.seeds,
            "metrics": {
                figure: {
                    "mean": round(self.mean(figure), 4),
                    "deviation": _rounded(self.deviation(figure)),
                }
                for figure in FIGURES
            },
            "own_seed": self.own.get("seed") if self.own else None,
            "rows": [dict(row) for row in self.rows],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _duration(seconds: float) -> str:
    """A time as people say it.

    >>> [_duration(seconds) for seconds in (0.42, 12.34, 90.0, 4080.0, 40000.0)]
    ['0.42 s', '12.3 s', '1.5 min', '68 min', '11.1 h']
    """
    if seconds < 60:
        return f"{seconds:.{2 if seconds < 1 else 1}f} s"
    minutes = seconds / 60
    if minutes < 180:
        return f"{minutes:.{1 if minutes < 10 else 0}f} min"
    return f"{minutes / 60:.1f} h"

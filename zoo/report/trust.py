"""Tables of how sure figures are: several models side by side, with intervals and tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..evaluation.extended import METRICS
from ..evaluation.statistics import FIGURES, Difference, Interval
from .recalls import RECALLS, WAYS
from .tables import Table

HEADERS = {
    **{f"{way}_{at}": f"{way} R@{at[1:]}" for way in WAYS for at in RECALLS},
    "rsum": "rsum",
}
EXTENDED = dict(zip(METRICS, ("R@1", "R@5", "R@10", "R-Precision", "mAP@R"), strict=True))


def figures_table(title: str, rows: Iterable[tuple[str, Mapping[str, float]]]) -> Table:
    """Recalls and their sum, one row a model."""
    lines = [(name, *(f"{metrics[figure]:.2f}" for figure in FIGURES)) for name, metrics in rows]
    return Table(title, ("model", *HEADERS.values()), lines, tuple(HEADERS.values()))


def interval_table(
    title: str, names: Sequence[str], found: Sequence[Mapping[str, Interval]]
) -> Table:
    """One row a figure; each model's as measured, and from where to where it may well be.

    >>> found = {figure: Interval(30.0, 28.5, 31.5) for figure in FIGURES}
    >>> interval_table("", ["chan-f8k"], [found]).rows[0]
    ('i2t R@1', '30.0 (28.5 to 31.5)')
    """
    rows = [
        (header, *(_with_interval(one[figure]) for one in found))
        for figure, header in HEADERS.items()
    ]
    return Table(title, ("", *names), rows, tuple(names))


def difference_table(title: str, names: tuple[str, str], found: Mapping[str, Difference]) -> Table:
    """One row a figure: both models, how far the second is ahead, and whether by chance."""
    rows = [
        (
            header,
            f"{one.first:.1f}",
            f"{one.second:.1f}",
            f"{one.difference:+.1f} ({one.low:+.1f} to {one.high:+.1f})",
            f"{one.p:.4f}",
        )
        for figure, header in HEADERS.items()
        for one in [found[figure]]
    ]
    numbers = (*names, "difference", "p")
    return Table(title, ("", *numbers), rows, numbers)


def extended_table(title: str, report: Mapping[str, Mapping[str, float]]) -> Table:
    """CxC and ECCV Caption, a row for each direction."""
    rows = [
        (source, f"{words} ({way})", *(f"{figures[f'{way}_{name}']:.2f}" for name in METRICS))
        for source, figures in report.items()
        for way, words in WAYS.items()
    ]
    return Table(title, ("matches", "find", *EXTENDED.values()), rows, tuple(EXTENDED.values()))


def _with_interval(one: Interval) -> str:
    return f"{one.figure:.1f} ({one.low:.1f} to {one.high:.1f})"

"""Drawings of ranks: how many queries find their match how early."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log

import numpy as np
from numpy.typing import NDArray

from ..metrics import Rows
from .markup import element, line, text, title
from .recalls import WAYS

EDGES = (1, 2, 6, 11, 21, 51, 101, 501)
"""The first rank of each bar; the last one has all that is beyond."""
DEEPEST = 100  # K of a recall curve
TICKS = (1, 2, 5, 10, 20, 50, 100)
TOLD = (1, 5, 10)  # K whose recall stands at the curve
WIDTH, HEIGHT = 460.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 12.0, 24.0, 44.0
LABEL = 124.0  # beside a curve, for its name


def rank_shares(ranks: Rows, candidates: int) -> dict[str, float]:
    """The percentage of queries whose match has these ranks, by the words for them.

    `ranks` count from 0. Nothing is told of ranks beyond the number of candidates.

    >>> rank_shares(np.array([0, 0, 3, 9]), candidates=10)
    {'1': 50.0, '2-5': 25.0, '6-10': 25.0}
    """
    edges = [edge for edge in EDGES if edge <= candidates]
    ends = [*edges[1:], None]
    shares = {}
    for first, end in zip(edges, ends, strict=True):
        inside = (ranks + 1 >= first) & (True if end is None else ranks + 1 < end)
        shares[_span(first, candidates if end is None else end - 1)] = 100 * float(inside.mean())
    return shares


def _span(first: int, last: int) -> str:
    if first == EDGES[-1]:
        return f">{first - 1}"
    return str(first) if first == last else f"{first}-{last}"


def recall_curve(folds: Sequence[Rows], deepest: int = DEEPEST) -> NDArray[np.float64]:
    """R@K in percent for K from 1 to `deepest`, the mean over folds: (deepest,).

    >>> recall_curve([np.array([0, 2, 2, 9])], deepest=4).tolist()
    [25.0, 25.0, 75.0, 75.0]
    """
    depths = np.arange(deepest)
    curves = [[100 * float((ranks <= depth).mean()) for depth in depths] for ranks in folds]
    return np.asarray(np.mean(curves, axis=0), np.float64)


@dataclass(frozen=True)
class Ground:
    """What is drawn on: percentages from 0 at the bottom to `top`, as far right as `right`."""

    right: float
    top: float = 100.0

    def height(self, percent: float) -> float:
        """Where a percentage lies, in pixels from above."""
        return HEIGHT - BOTTOM - percent / self.top * (HEIGHT - TOP - BOTTOM)

    def rules(self) -> Iterator[str]:
        """Lines across, with their percentage at the left."""
        step = next((step for step in (5, 10) if self.top <= 5 * step), 20)
        for percent in range(0, int(self.top) + 1, step):
            height = self.height(percent)
            yield line(LEFT, height, self.right, height, class_="grid")
            yield text(f"{percent} %", LEFT - 6, height + 4, text_anchor="end")

    def name(self, words: str) -> str:
        """What is told from left to right."""
        return text(words, (LEFT + self.right) / 2, HEIGHT - 8, text_anchor="middle")


def rank_bars(way: str, shares: Mapping[str, float], top: float) -> str:
    """A bar for each group of ranks; `top` is the percentage at the upper end of the scale."""
    ground = Ground(WIDTH - RIGHT, top)
    across = (ground.right - LEFT) / len(shares)
    bars = [
        part
        for place, (name, share) in enumerate(shares.items())
        for part in _bar(way, name, share, ground, (LEFT + place * across, across))
    ]
    told = ", ".join(f"{name}: {share:.1f} %" for name, share in shares.items())
    drawn = [*ground.rules(), *bars, ground.name("rank of the best match")]
    return _drawing(f"Ranks, {WAYS[way]}", told, drawn, WIDTH)


def _bar(
    way: str, name: str, share: float, ground: Ground, place: tuple[float, float]
) -> Iterator[str]:
    """A bar with its figure above and its ranks below; `place` is its left edge and its width."""
    (left, width), upper, base = place, ground.height(share), ground.height(0)
    middle = left + width / 2
    yield element(
        "rect",
        title(f"rank {name}: {share:.1f} % of queries"),
        x=left + 3,
        y=upper,
        width=width - 6,
        height=base - upper,
        rx=2,
        class_=way,
    )
    yield text(f"{share:.1f}", middle, upper - 5, text_anchor="middle", class_="value")
    yield text(name, middle, base + 16, text_anchor="middle")


def recall_lines(curves: Mapping[str, NDArray[np.float64]]) -> str:
    """A curve each way, over K on a logarithmic scale."""
    deepest, width = len(next(iter(curves.values()))), 2 * WIDTH
    ground = Ground(width - RIGHT - LABEL)
    ticks = [tick for tick in TICKS if tick <= deepest]
    places = LEFT + (ground.right - LEFT) * np.log(np.arange(1, deepest + 1)) / log(max(deepest, 2))
    upper = max(curves, key=lambda way: float(curves[way].mean()))
    drawn = [*ground.rules(), ground.name("K")]
    for tick in ticks:
        drawn.append(text(str(tick), places[tick - 1], ground.height(0) + 16, text_anchor="middle"))
    for way, curve in curves.items():
        drawn += _curve(way, curve, places, ground, above=way == upper)
    told = "; ".join(
        f"{WAYS[way]}: " + ", ".join(f"R@{tick} {curve[tick - 1]:.1f}" for tick in ticks)
        for way, curve in curves.items()
    )
    return _drawing(f"Recall for K from 1 to {deepest}", told, drawn, width)


def _curve(
    way: str,
    curve: NDArray[np.float64],
    places: NDArray[np.float64],
    ground: Ground,
    *,
    above: bool,
) -> Iterator[str]:
    """A curve with some figures, above it or below, and its name at the right."""
    heights = [ground.height(recall) for recall in curve.tolist()]
    points = (f"{x:.1f},{y:.1f}" for x, y in zip(places, heights, strict=True))
    yield element("polyline", points=" ".join(points), class_=f"{way} curve")
    for depth in (depth for depth in TOLD if depth <= len(curve)):
        x, y, recall = float(places[depth - 1]), heights[depth - 1], curve[depth - 1]
        told = title(f"R@{depth}, {WAYS[way]}: {recall:.2f}")
        yield element("circle", told, cx=x, cy=y, r=3.5, class_=way)
        yield text(f"{recall:.1f}", x + 4, y + (-9 if above else 18), class_="value")
    end = heights[-1] + (-2 if above else 12)
    yield text(WAYS[way], ground.right + 8, end, class_=f"{way} name")


def _drawing(name: str, told: str, drawn: Sequence[str], width: float) -> str:
    """An SVG that fits into its place, with its name and what it says in words."""
    return element(
        "svg",
        title(name),
        element("desc", escape(told)),
        *drawn,
        viewBox=f"0 0 {width:g} {HEIGHT:g}",
        role="img",
        aria_label=f"{name}. {told}",
    )


def even(top: float) -> float:
    """The upper end of a scale of percentages: the next 10.

    >>> [even(share) for share in (0.0, 31.2, 40.0)]
    [10.0, 40.0, 40.0]
    """
    return max(10.0, float(-(-top // 10) * 10))

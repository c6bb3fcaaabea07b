"""Drawings of ranks: how many queries find their match how early."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log

import numpy as np
from numpy.typing import NDArray

from ..metrics import Rows
from .markup import element, line, text, title
from .results import WAYS

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


def rank_bars(way: str, shares: Mapping[str, float], top: float) -> str:
    """A bar for each group of ranks; `top` is the percentage at the upper end of the scale."""
    across = (WIDTH - LEFT - RIGHT) / len(shares)
    drawn = [*_rules(top, WIDTH - RIGHT)]
    for place, (name, share) in enumerate(shares.items()):
        left, height = LEFT + place * across, share / top * (HEIGHT - TOP - BOTTOM)
        base, middle = HEIGHT - BOTTOM, left + across / 2
        drawn += [
            element(
                "rect",
                title(f"rank {name}: {share:.1f} % of queries"),
                x=left + 3,
                y=base - height,
                width=across - 6,
                height=height,
                rx=2,
                class_=way,
            ),
            text(f"{share:.1f}", middle, base - height - 5, text_anchor="middle", class_="value"),
            text(name, middle, base + 16, text_anchor="middle"),
        ]
    drawn.append(text("rank of the best match", (LEFT + WIDTH) / 2, HEIGHT - 8, **_MIDDLE))
    told = ", ".join(f"{name}: {share:.1f} %" for name, share in shares.items())
    return _drawing(f"Ranks, {WAYS[way]}", told, drawn, WIDTH)


def recall_lines(curves: Mapping[str, NDArray[np.float64]]) -> str:
    """A curve each way, over K on a logarithmic scale."""
    deepest, width = len(next(iter(curves.values()))), 2 * WIDTH
    span = width - LEFT - RIGHT - LABEL

    def place(depth: float) -> float:
        return LEFT + span * log(depth) / max(log(deepest), 1e-9)

    def height(recall: float) -> float:
        return HEIGHT - BOTTOM - recall / 100 * (HEIGHT - TOP - BOTTOM)

    drawn = [*_rules(100.0, LEFT + span)]
    for tick in (tick for tick in TICKS if tick <= deepest):
        drawn.append(text(str(tick), place(tick), HEIGHT - BOTTOM + 16, text_anchor="middle"))
    drawn.append(text("K", LEFT + span / 2, HEIGHT - 8, **_MIDDLE))
    above = _higher(curves)
    for way, curve in curves.items():
        points = " ".join(
            f"{place(depth):.1f},{height(recall):.1f}" for depth, recall in enumerate(curve, 1)
        )
        drawn.append(element("polyline", points=points, class_=f"{way} curve"))
        for depth in (depth for depth in TOLD if depth <= deepest):
            recall, shift = float(curve[depth - 1]), -9 if way == above else 18
            drawn += [
                element(
                    "circle",
                    title(f"R@{depth}, {WAYS[way]}: {recall:.2f}"),
                    cx=place(depth),
                    cy=height(recall),
                    r=3.5,
                    class_=way,
                ),
                text(f"{recall:.1f}", place(depth) + 4, height(recall) + shift, class_="value"),
            ]
        end = height(float(curve[-1])) + (-2 if way == above else 12)
        drawn.append(text(WAYS[way], LEFT + span + 8, end, class_=f"{way} name"))
    told = "; ".join(
        f"{WAYS[way]}: "
        + ", ".join(f"R@{tick} {curve[tick - 1]:.1f}" for tick in TICKS if tick <= deepest)
        for way, curve in curves.items()
    )
    return _drawing(f"Recall for K from 1 to {deepest}", told, drawn, width)


_MIDDLE = {"text_anchor": "middle", "class_": "axis"}


def _higher(curves: Mapping[str, NDArray[np.float64]]) -> str:
    return max(curves, key=lambda way: float(curves[way].mean()))


def _rules(top: float, right: float) -> Sequence[str]:
    """Lines across, with their percentage at the left."""
    step = next(step for step in (5, 10, 20, 25) if top / step <= 5 or step == 25)
    rules = []
    for percent in range(0, int(top) + 1, step):
        height = HEIGHT - BOTTOM - percent / top * (HEIGHT - TOP - BOTTOM)
        rules.append(line(LEFT, height, right, height, class_="grid"))
        rules.append(text(f"{percent} %", LEFT - 6, height + 4, text_anchor="end"))
    return rules


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

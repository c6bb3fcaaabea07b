"""The leaderboard as a drawing: a line for each method, a dot at its rsum under each protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from .entries import GROUPS, PROTOCOLS, Entry
from .leaderboard import Leaderboard
from .markup import element, line, text, title

NAMES, GAP = 236.0, 28.0  # widths: of the names, between columns
SCALE = 1.24  # pixels for each point of rsum, in all columns alike
ROW, GROUP, TOP, BOTTOM = 17.0, 32.0, 74.0, 28.0
STEP = 50  # rsum between two grid lines
NOISE = 5  # rsum: differences below it lie within what seeds alone change
ROOM = 24.0  # beside a dot, for its figure
SHORT = {"f30k-1k": "Flickr30K, 1K", "coco-1k": "COCO 1K, five folds", "coco-5k": "COCO 5K"}

STYLE = """
svg { background: #fff; font: 11px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
text { fill: #1f2328; stroke: #fff; stroke-width: 4px; paint-order: stroke }
.surface { fill: #fff }
.head { font-size: 13px; font-weight: 600 }
.figure { font-size: 10px }
.soft { fill: #59636e }
.grid { stroke: #e3e7eb }
.rule { stroke: #f1f3f5 }
.noise { stroke: #59636e; stroke-width: 2 }
circle { fill: #818b98; stroke: #818b98; stroke-width: 2 }
.ours { fill: #0757ba; font-weight: 600 }
circle.ours { stroke: #0757ba }
circle.ring { fill: #fff }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117 }
text { fill: #e6edf3; stroke: #0d1117 }
.surface, circle.ring { fill: #0d1117 }
.soft { fill: #9ba5b1 }
.grid { stroke: #2c333b }
.rule { stroke: #1a2027 }
.noise { stroke: #9ba5b1 }
circle { fill: #848d97; stroke: #848d97 }
.ours { fill: #6cb6ff }
circle.ours { stroke: #6cb6ff }
}
"""


@dataclass(frozen=True)
class Axis:
    """Where a sum lies across one column, which begins `left` pixels from the left."""

    left: float
    low: int
    high: int

    def place(self, rsum: float) -> float:
        """In pixels from the left of the drawing."""
        return self.left + (rsum - self.low) * SCALE

    @property
    def right(self) -> float:
        """Where the column ends."""
        return self.place(self.high) + ROOM


def standing_alt(leaderboard: Leaderboard) -> str:
    """The drawing in words, for those who do not see it."""
    best = []
    for protocol, words in PROTOCOLS.items():
        ours = [one for one in _of(leaderboard, protocol) if one.model]
        top = max(ours, key=_rsum, default=None)
        best += [f"{words}: {top.method} with {top.texts} {_rsum(top):.1f}"] if top else []
    return (
        "rsum that papers report, a line for each method and a column for each protocol. "
        f"Highest of the methods that are in the zoo: {'; '.join(best)}. "
        "The tables on this page have every figure."
    )


def standing_figure(leaderboard: Leaderboard) -> str:
    """The drawing as SVG. Methods without all six recalls have no sum, and are left out."""
    lines = _lines(leaderboard)
    axes = _axes(leaderboard)
    drawn, down = [], TOP
    for group, systems in lines.items():
        drawn.append(text(GROUPS[group], 0, down + GROUP - 10, class_="head"))
        down += GROUP
        for system in systems:
            drawn += _line(system, axes, down)
            down += ROW
    width = list(axes.values())[-1].right
    height = down + BOTTOM
    inner = [
        element("style", STYLE),
        title("rsum that papers report"),
        element("desc", escape(standing_alt(leaderboard))),
        element("rect", class_="surface", width="100%", height="100%"),
        *_legend(axes),
        *(part for name, axis in axes.items() for part in _scale(SHORT[name], axis, down)),
        *drawn,
    ]
    box = f"-16 -8 {width + 32:g} {height + 8:g}"
    return element(
        "svg",
        "\n",
        "\n".join(inner),
        "\n",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=box,
        width=round(width + 32),
        role="img",
    )


def _of(leaderboard: Leaderboard, protocol: str) -> list[Entry]:
    return [
        one for one in leaderboard.entries if one.protocol == protocol and "rsum" in one.figures
    ]


def _rsum(entry: Entry) -> float:
    return float(entry.figures["rsum"])


def _lines(leaderboard: Leaderboard) -> dict[str, list[dict[str, Entry]]]:
    """The systems of each group that have a sum, the highest first."""
    found: dict[str, list[dict[str, Entry]]] = {group: [] for group in GROUPS}
    for system in leaderboard.systems.values():
        summed = {name: one for name, one in system.items() if "rsum" in one.figures}
        if summed:
            found[next(iter(summed.values())).group].append(summed)
    for systems in found.values():
        systems.sort(key=_height, reverse=True)
    return {group: systems for group, systems in found.items() if systems}


def _height(system: dict[str, Entry]) -> tuple[float, ...]:
    """By the first protocol, then the next, for systems that lack it."""
    return tuple(_rsum(system[name]) if name in system else 0.0 for name in PROTOCOLS)


def _axes(leaderboard: Leaderboard) -> dict[str, Axis]:
    """A column for each protocol that has sums, all of one scale, so that points compare."""
    axes = {}
    sums = {name: [_rsum(one) for one in _of(leaderboard, name)] for name in PROTOCOLS}
    left = NAMES
    for name, found in sums.items():
        if found:
            low, high = int(min(found) // STEP * STEP), int(-(-max(found) // STEP) * STEP)
            axes[name] = Axis(left, low, high)
            left = axes[name].right + GAP
    return axes


def _scale(name: str, axis: Axis, bottom: float) -> Iterable[str]:
    """Grid lines with their sums, and the protocol above them."""
    yield text(name, axis.left, TOP - 26, class_="head")
    for rsum in range(axis.low, axis.high + 1, STEP):
        across = axis.place(rsum)
        yield line(across, TOP, across, bottom + 4, class_="grid")
        for height in (TOP - 6, bottom + 18):
            yield text(str(rsum), across, height, class_="soft figure", text_anchor="middle")


def _line(system: dict[str, Entry], axes: dict[str, Axis], top: float) -> Iterable[str]:
    """One method: its name and encoders, and a dot under each protocol."""
    one = next(iter(system.values()))
    ours, base = "ours" if one.model else None, top + ROW - 5
    encoders = one.texts if one.group == "regions" else f"{one.images}, {one.texts}"
    right = list(axes.values())[-1].right
    yield line(0, top + ROW / 2, right, top + ROW / 2, class_="rule")
    name = element("tspan", escape(one.title), class_=ours)
    rest = element("tspan", escape(encoders), dx=6.0, class_="soft figure")
    yield element("text", name, rest, x=0, y=base, class_="name")
    for protocol, entry in system.items():
        axis = axes[protocol]
        across = axis.place(_rsum(entry))
        kind = "ring" if entry.ensemble else "dot"
        what = f"{entry.title}, {entry.images}, {entry.texts}"
        told = title(f"{what}: {entry.cell('rsum')} on {SHORT[protocol]}")
        yield element(
            "circle",
            told,
            cx=across,
            cy=top + ROW / 2,
            r=3.5,
            class_=f"{kind} ours" if ours else kind,
        )
        shade = "figure ours" if ours else "figure soft"
        yield text(entry.cell("rsum"), across + 8, base, class_=shade)


def _legend(axes: dict[str, Axis]) -> Sequence[str]:
    """What dots, rings and colour mean, and how far apart chance alone can put two of them."""
    axis = next(iter(axes.values()))
    noise = axis.place(axis.low + NOISE) - axis.place(axis.low)
    return [
        element("circle", cx=4, cy=8, r=3.5, class_="dot"),
        text("one model", 13, 12, class_="soft"),
        element("circle", cx=84, cy=8, r=3.5, class_="ring"),
        text("mean of two models (*)", 93, 12, class_="soft"),
        element("circle", cx=246, cy=8, r=3.5, class_="dot ours"),
        text("method of the zoo", 255, 12, class_="ours"),
        line(382, 8, 382 + noise, 8, class_="noise"),
        text(f"{NOISE} of rsum: seeds alone differ by that", 390 + noise, 12, class_="soft"),
    ]

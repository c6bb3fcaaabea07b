"""A figure of runs: their loss over the iterations, and their rsum on dev over the epochs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from .runs import RunRecord

FORMATS = ("png", "svg", "pdf")


def draw_curves(runs: Sequence[RunRecord], above: Path, format: str = "png") -> bytes:
    """The figure as a file of that format. A run that has not been measured has no second curve."""
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), dpi=140)
    FigureCanvasAgg(figure)
    loss, rsum = figure.subplots(1, 2)
    for number, run in enumerate(runs):
        color = colormaps["tab10"](number % 10)
        style = ("-", "--", ":", "-.")[number // 10 % 4]
        name = str(run.path.relative_to(above))
        label = run.name if name == "." else name
        for axis, lines, across, up in (
            (loss, run.train, "iteration", "loss"),
            (rsum, run.dev, "epoch", "rsum"),
        ):
            _curve(axis, lines, (across, up), color=color, linestyle=style, label=label)
    for axis, name, across in (
        (loss, "loss", "iteration"),
        (rsum, "rsum on dev", "epoch"),
    ):
        axis.set_title(name, fontsize=11)
        axis.set_xlabel(across)
        axis.grid(alpha=0.3)
    handles, labels = loss.get_legend_handles_labels()
    if labels:
        loss.legend(handles, labels, fontsize=8)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format)
    return buffer.getvalue()


def _curve(
    axis: Any, lines: Sequence[Mapping[str, Any]], keys: tuple[str, str], **look: Any
) -> None:
    """A curve for each part of a run: where it went on with other settings, iterations may jump."""
    for _, part in groupby(lines, key=lambda line: line.get("part", 0)):
        across, up = zip(*[(line[keys[0]], line[keys[1]]) for line in part], strict=True)
        axis.plot(across, up, marker="." if len(across) < 40 else None, **look)
        look["label"] = None

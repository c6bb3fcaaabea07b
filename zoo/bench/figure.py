"""Reports as a drawing: ratios as bars, or times over what was swept."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

from .machine import machine_words

Report = Mapping[str, Any]
INCHES = (4.6, 3.6)  # of a panel


def draw(reports: Sequence[Report]) -> bytes:
    """A PNG with a panel for each report."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(INCHES[0] * len(reports), INCHES[1]), dpi=140, layout="constrained")
    for place, report in enumerate(reports, 1):
        axis = figure.add_subplot(1, len(reports), place)
        (_lines if report["sweep"] else _bars)(axis, report)
        axis.set_title(f"zoo bench {report['case']}", fontsize=10)
    last = reports[-1]
    figure.supxlabel(f"{machine_words(last['machine'])}, {last['date']}", fontsize=7)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _lines(axis: Any, report: Report) -> None:
    """Seconds of each variant over what was swept, both scales logarithmic."""
    by = "wall" if report["sweep"] == "threads" else "seconds"
    variants = list(dict.fromkeys(row["variant"] for row in report["rows"]))
    for variant in variants:
        rows = [row for row in report["rows"] if row["variant"] == variant]
        axis.plot([row["at"] for row in rows], [row[by] for row in rows], "o-", label=variant)
    values = sorted({row["at"] for row in report["rows"]})
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(values, [f"{value:,}" for value in values], minor=False)
    axis.set_xticks([], minor=True)
    axis.set_xlabel(report["sweep"])
    axis.set_ylabel("seconds" if by == "wall" else "seconds of the processor")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)


def _bars(axis: Any, report: Report) -> None:
    """How many times faster than the baseline each variant is, with the range."""
    rows = [row for row in report["rows"] if row["ratio"] is not None][::-1]
    ratios = [row["ratio"] for row in rows]
    ranges = [
        [row["ratio"] - row["low"] for row in rows],
        [row["high"] - row["ratio"] for row in rows],
    ]
    bars = axis.barh([row["variant"] for row in rows], ratios, xerr=ranges, capsize=2)
    axis.bar_label(bars, [f" {ratio:.1f}" for ratio in ratios], fontsize=8)
    axis.set_xlabel("times as fast as the baseline")
    axis.margins(x=0.15)

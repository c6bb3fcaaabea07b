"""What `zoo train --dry-run` shows of a run that is not begun."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report.tables import Table

if TYPE_CHECKING:
    from ..training.planning import Plan

UNITS = ("B", "kB", "MB", "GB", "TB")


def plan_tables(plan: Plan) -> list[Table | str]:
    """The model, the memory of a step, the data, and the rest line by line."""
    parts = [
        *((one.name, one.type, f"{one.trained:,}", f"{one.frozen:,}") for one in plan.parts),
        (
            "in all",
            "",
            f"{sum(one.trained for one in plan.parts):,}",
            f"{sum(one.frozen for one in plan.parts):,}",
        ),
    ]
    numbers = ("trained", "frozen")
    memory = [
        (name, size_words(getattr(plan.memory, name)))
        for name in ("weights", "gradients", "optimizer", "average", "activations", "total")
    ]
    data = [
        (one.use, one.name, f"{one.images:,}", f"{one.captions:,}", one.reads, one.fingerprint[:12])
        for one in plan.data
    ]
    run = [
        ("recipe", plan.recipe),
        *([("from", plan.parent)] if plan.parent else []),
        ("device, seed", f"{plan.device}, {plan.seed}"),
        ("batch", f"{plan.batch:,} {plan.by}s"),
        ("steps", f"{plan.length:,} an epoch, {plan.epochs:,} epochs, {plan.steps:,} in all"),
        ("learning rate", plan.schedule),
        ("", plan.figure),
        ("files", f"{plan.folder} ({_STATES[plan.state]})"),
    ]
    each = f", of each of {plan.processes} processes" if plan.processes > 1 else ""
    return [
        Table(f"{plan.name}: parameters", ("part", "type", *numbers), parts, numbers),
        Table(f"memory of a step{each}", ("", "about"), memory, ("about",)),
        plan.memory.how,
        Table(
            "data",
            ("use", "split", "images", "captions", "reads", "fingerprint"),
            data,
            ("images", "captions"),
        ),
        Table("the run", ("", ""), run),
        "Nothing was written.",
    ]


_STATES = {
    "new": "nothing is there yet",
    "unfinished": "holds an unfinished run: --resume",
    "finished": "holds a finished run",
}


def size_words(size: float) -> str:
    """Bytes in words.

    >>> size_words(1500), size_words(20)
    ('1.5 kB', '20 B')
    """
    unit = 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {UNITS[unit]}" if unit else f"{size:.0f} B"

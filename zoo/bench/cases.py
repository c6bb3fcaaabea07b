"""What can be measured, and how it is run and told."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ..errors import InputError
from ..spelling import nearest
from ..version import code_version
from .machine import machine_facts
from .rounds import Row
from .setting import Setting, changed

Measure = Callable[[Setting], tuple[list[Row], dict[str, Any]]]
SCHEMA = 1


@dataclass(frozen=True)
class Case:
    """Something that can be measured.

    what:    in a line
    module:  of this room, with `measure` and the words for what it is measured beside
    beside:  the name of these words in their module, "module:NAME"
    reads:   the settings that matter
    setting: where it begins
    """

    what: str
    module: str
    beside: str
    reads: tuple[str, ...]
    setting: Setting = field(default_factory=Setting)

    @property
    def measure(self) -> Measure:
        """The function, imported when it is first asked for."""
        found: Measure = _named(f"{self.module}:measure")
        return found

    @property
    def baseline(self) -> str:
        """What ratios are to, and whose algorithm it is."""
        return str(_named(self.beside))


SIZES = ("images", "captions", "regions", "dim", "threads", "rounds", "pooling", "lengths")
CASES: Mapping[str, Case] = {
    "scoring": Case("all pairs by hard alignment", "scoring", "published:HARD_ALIGNMENT", SIZES),
    "training": Case(
        "scores, loss and gradients of a training step",
        "training",
        "published:HARD_ALIGNMENT",
        ("batch", "regions", "dim", "threads", "rounds", "pooling", "lengths"),
    ),
    "soft": Case(
        "soft alignment: all pairs, and a training step",
        "soft",
        "published:STACKED_ATTENTION",
        ("images", "captions", "batch", "regions", "dim", "threads", "rounds", "lengths"),
        Setting(images=128, captions=512),
    ),
    "encoding": Case(
        "photographs and captions through a model's encoders",
        "encoding",
        "encoding:LOOP",
        ("images", "captions", "threads", "rounds", "lengths", "model"),
        Setting(images=48, captions=1024),
    ),
    "startup": Case(
        "commands, before they do anything",
        "startup",
        "startup:BESIDE",
        ("rounds",),
        Setting(rounds=7),
    ),
}


def case(name: str) -> Case:
    """The case of that name. Raises `InputError` for another."""
    if name not in CASES:
        raise InputError(f"There is no benchmark {name!r}. {nearest(name, tuple(CASES))}")
    return CASES[name]


def measured(
    name: str,
    setting: Setting,
    sweep: tuple[str, Sequence[int]] | None = None,
    advance: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Measure a case, at each value of what is swept: a report as plain values.

    `advance` is told 1 after each value.
    """
    import torch

    chosen, found = case(name), []
    what, values = sweep or ("", (None,))
    facts: dict[str, Any] = {}
    for value in values:
        at = setting if value is None else changed(setting, [f"{what}={value}"], chosen.reads)
        torch.set_num_threads(at.threads)
        rows, facts = chosen.measure(at)
        found += [asdict(replace(row, at=value)) for row in rows]
        if advance is not None:
            advance(1)
    torch.set_num_threads(setting.threads)
    return {
        "schema_version": SCHEMA,
        "case": name,
        "what": chosen.what,
        "baseline": chosen.baseline,
        "machine": machine_facts(),
        "setting": setting.to_json([one for one in chosen.reads if one != what]),
        "sweep": what or None,
        "facts": {} if what else facts,
        "lengths": facts.get("caption lengths"),
        "code": code_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "rows": [_rounded(row) for row in found],
    }


def _named(target: str) -> Any:
    module, name = target.split(":")
    return getattr(importlib.import_module(f"{__package__}.{module}"), name)


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Four digits of a time, two places of a ratio."""
    times = {name: float(f"{row[name]:.4g}") for name in ("seconds", "wall")}
    ratios = {
        name: None if row[name] is None else round(row[name], 2)
        for name in ("ratio", "low", "high")
    }
    return {**row, **times, **ratios}

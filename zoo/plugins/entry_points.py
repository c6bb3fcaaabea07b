"""Which plugins the installed distributions declare, in an order that installing cannot change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

from ..version import __version__

GROUP = "zoo.plugins"
OWN_DISTRIBUTION = "itm-zoo"


@dataclass(frozen=True)
class Candidate:
    """An entry point, the distribution that declares it, and its problem, if it has one."""

    name: str
    module: str
    distribution: str
    version: str
    problem: str = ""

    @property
    def entry_point(self) -> EntryPoint:
        """What `importlib.metadata` loads."""
        return EntryPoint(self.name, self.module, GROUP)


def candidates(distributions: Iterable[Distribution]) -> list[Candidate]:
    """Every declared plugin once: our own distribution first, then by distribution and name."""
    found: dict[tuple[str, str], Candidate] = {}
    for distribution in distributions:
        for candidate in _declared(distribution):
            # A distribution can lie on the path twice (a checkout and its install): first wins.
            found.setdefault((candidate.distribution, candidate.name), candidate)
    for name, module in built_in().items():
        own = Candidate(name, module, OWN_DISTRIBUTION, __version__)
        found.setdefault((OWN_DISTRIBUTION, name), own)
    return sorted(found.values(), key=_rank)


def built_in() -> dict[str, str]:
    """The plugins of a checkout by name, for one whose entry points are not installed."""
    folder = Path(__file__).resolve().parents[2] / "plugins"
    modules = sorted(path.parent.name for path in folder.glob("zoo_*/__init__.py"))
    return {module.removeprefix("zoo_"): module for module in modules}


def _rank(candidate: Candidate) -> tuple[bool, str, str]:
    return candidate.distribution != OWN_DISTRIBUTION, candidate.distribution, candidate.name


def _declared(distribution: Distribution) -> Iterator[Candidate]:
    try:
        entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
    except Exception as error:  # noqa: BLE001 - any installed package's file, however broken
        if GROUP in (distribution.read_text("entry_points.txt") or ""):
            problem = f"its entry_points.txt cannot be read ({type(error).__name__}: {error})"
            name, version = _identity(distribution)
            yield Candidate(name, "", name, version, problem)
        return
    for entry in entries:
        problem = "" if EntryPoint.pattern.match(entry.value) else "it names no module"
        yield Candidate(entry.name, entry.value, *_identity(distribution), problem)


def _identity(distribution: Distribution) -> tuple[str, str]:
    try:
        name, version = distribution.metadata["Name"], distribution.version
    except Exception:  # noqa: BLE001 - likewise
        name, version = None, None
    return re.sub(r"[-_.]+", "-", str(name or "unknown")).lower(), str(version or "unknown")

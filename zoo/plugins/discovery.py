"""Loading the installed plugins, so that a broken one costs itself and nothing else.

Each plugin is imported, checked and asked on its own. What it registers is staged first and joins
the tables only when all of it is sound; what went wrong stands in its record.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pluggy

from .. import hooks
from ..catalogue.cards import Registry, TakenNameError
from ..catalogue.registry import read_registry, shipped_registry
from ..config import Provider
from ..errors import PluginError, RegistryError, ZooDeprecationWarning
from .entry_points import Candidate, candidates
from .table import ComponentTable, Entry, core_table

Status = Literal[
    "loaded",
    "disabled",
    "import-error",
    "incompatible",
    "invalid",
    "hook-error",
    "conflict",
    "shadowed",
]


@dataclass(frozen=True)
class PluginRecord:
    """An installed plugin: where it comes from, and whether the zoo could use it.

    api: the version of the API that it was written for, empty where that is not known
    reason: why it was not loaded, empty when it was; error: the exception behind the reason
    components: kind and name of each; cards: the registry fragments that it adds
    notes: what its author should change though it works, such as a hook that is deprecated
    """

    name: str
    module: str
    distribution: str
    version: str
    status: Status = "loaded"
    reason: str = ""
    api: str = ""
    notes: tuple[str, ...] = ()
    components: tuple[tuple[str, str], ...] = ()
    cards: tuple[Path, ...] = ()
    error: BaseException | None = field(default=None, compare=False, repr=False)

    @property
    def provider(self) -> Provider:
        """The plugin as config.json names it."""
        api = ".".join(map(str, hooks.API_VERSION))
        return Provider(
            name=self.name, distribution=self.distribution, version=self.version, api=api
        )


@dataclass(frozen=True)
class Discovery:
    """What all plugins together provide: a record of each, components, and the joined registry."""

    records: tuple[PluginRecord, ...]
    components: ComponentTable
    registry: Registry

    def record(self, name: str) -> PluginRecord:
        """What is known of the plugin of that name, loaded or not.

        Raises `PluginError` when none is installed.
        """
        for record in self.records:
            if record.name == name:
                return record
        raise PluginError(
            f"The plugin {name!r} is not installed. Install the package that provides it; "
            "`zoo plugins` shows what is there."
        )

    def require(self, name: str) -> PluginRecord:
        """The loaded plugin of that name.

        Raises `PluginError` that says why there is none, and what to do.
        """
        found = self.record(name)
        if found.status != "loaded":
            raise PluginError(f"{_account(found)}. {_remedy(found)}") from found.error
        return found


class _Refused(Exception):  # noqa: N818 - a verdict on its way to a record, never shown
    """Why a plugin is not used."""

    def __init__(self, status: Status, reason: str, api: str = "") -> None:
        self.status: Status = status
        self.reason, self.api = reason, api


@cache
def discover() -> Discovery:
    """Everything installed, found once for each process.

    `ZOO_DISABLE_PLUGINS=a,b` leaves plugins out; `ZOO_PLUGIN_STRICT=1` raises `PluginError` when
    one of the others cannot be used. Raises `RegistryError` when our own registry.yaml is broken.
    """
    disabled = os.environ.get("ZOO_DISABLE_PLUGINS", "").split(",")
    return discover_in(
        metadata.distributions(),
        disabled={name.strip() for name in disabled},
        strict=os.environ.get("ZOO_PLUGIN_STRICT", "") not in ("", "0"),
    )


def component_table() -> ComponentTable:
    """The core's components and those of all loaded plugins."""
    return discover().components


def discover_in(
    distributions: Iterable[metadata.Distribution],
    *,
    disabled: Collection[str] = (),
    strict: bool = False,
    specs: Any = hooks,
) -> Discovery:
    """Load the plugins of some distributions, and our own.

    `specs` holds the hooks' specifications, their version and adapters, as `zoo.hooks` does. With
    `strict`, raises `PluginError` that lists every plugin neither loaded nor disabled.
    """
    components, registry = core_table(), shipped_registry()
    records: dict[str, PluginRecord] = {}
    for candidate in candidates(distributions):
        api, notes = "", tuple[str, ...]()
        try:
            _check_free(candidate, records, disabled)
            plugin = _import(candidate)
            api = _check_version(plugin, specs.API_VERSION)
            manager, notes = _manage(plugin, specs)
            staged = _ask_components(candidate, manager, components)
            cards = _ask_cards(manager)
            registry = _join(cards, registry)
        except _Refused as refusal:
            told = {"api": api or refusal.api, "notes": notes, "error": refusal.__cause__}
            record = _record(candidate, refusal.status, refusal.reason, **told)
        else:
            components.entries.update(staged)
            found = {"components": tuple(staged), "cards": cards}
            record = _record(candidate, api=api, notes=notes, **found)
        records[f"{candidate.name} of {candidate.distribution}"] = record
    if strict:
        _check_all(records.values())
    return Discovery(tuple(records.values()), components, registry)


def _record(candidate: Candidate, *verdict: Any, **found: Any) -> PluginRecord:
    where = (candidate.name, candidate.module, candidate.distribution, candidate.version)
    return PluginRecord(*where, *verdict, **found)


def _check_free(
    candidate: Candidate, records: dict[str, PluginRecord], disabled: Collection[str]
) -> None:
    if candidate.name in disabled:
        raise _Refused("disabled", "ZOO_DISABLE_PLUGINS names it")
    for earlier in records.values():
        if earlier.name == candidate.name:
            raise _Refused("shadowed", f"its name is taken by a plugin of {earlier.distribution}")
    if candidate.problem:
        raise _Refused("invalid", candidate.problem)


def _import(candidate: Candidate) -> Any:
    with _blame("import-error"):
        return candidate.entry_point.load()


def _check_version(plugin: Any, offered: tuple[int, int]) -> str:
    """The version that a plugin was written for, where it fits what is offered."""
    with _blame("import-error"):
        version: Any = getattr(plugin, "ZOO_API_VERSION", None)
    known = isinstance(version, tuple) and [type(part) for part in version] == [int, int]
    said = ".".join(map(str, version)) if known else ""
    if not known or version[0] != offered[0] or version[1] > offered[1]:
        zoo = ".".join(map(str, offered))
        reason = f"its ZOO_API_VERSION is {version!r}, and this zoo offers {zoo}"
        if version is None:
            reason = f"its module has no ZOO_API_VERSION; one for this zoo has {offered}"
        raise _Refused("incompatible", reason, said)
    return said


def _manage(plugin: Any, specs: Any) -> tuple[pluggy.PluginManager, tuple[str, ...]]:
    """A manager that knows this plugin alone, so that a hook call asks nobody else; and notes."""
    manager = pluggy.PluginManager("zoo")
    manager.add_hookspecs(specs)
    # Recorded, not shown: who runs a command cannot mend a plugin, and `-W error` would stop it.
    with warnings.catch_warnings(record=True) as caught, _blame("invalid"):
        warnings.simplefilter("always")
        manager.register(plugin)
        for adapter in specs.ADAPTERS:
            if manager.get_hookcallers(plugin) and hasattr(plugin, adapter.old):
                manager.register(adapter.make(getattr(plugin, adapter.old)))
        manager.check_pending()
    if not manager.get_hookcallers(plugin):
        raise _Refused("invalid", "it implements no hook of the zoo")
    deprecated = [one for one in caught if issubclass(one.category, ZooDeprecationWarning)]
    return manager, tuple(str(one.message).splitlines()[0] for one in deprecated)


def _ask_components(
    candidate: Candidate, manager: pluggy.PluginManager, taken: ComponentTable
) -> dict[tuple[str, str], Entry]:
    staged = ComponentTable()

    def register(kind: str, name: str, target: str) -> None:
        for value in (kind, name, target):
            if not isinstance(value, str):
                raise TypeError(f"register takes three texts, not {type(value).__name__}")
        staged.add(kind, name, target, candidate.name)

    with _blame("hook-error"):
        manager.hook.zoo_components(register=register)
    for kind, name in staged.entries.keys() & taken.entries.keys():
        owner = taken.entries[kind, name].plugin
        raise _Refused("conflict", f"{kind} {name!r} is registered already by plugin {owner!r}")
    return staged.entries


def _ask_cards(manager: pluggy.PluginManager) -> tuple[Path, ...]:
    with _blame("hook-error"):
        answers = manager.hook.zoo_cards()
        for answer in answers:
            if not isinstance(answer, list | tuple):
                raise TypeError(f"zoo_cards returned {answer!r}, not a list of paths")
        return tuple(Path(path) for answer in answers for path in answer)


def _join(cards: Iterable[Path], registry: Registry) -> Registry:
    for path in cards:
        try:
            registry = read_registry(path, onto=registry)
        except RegistryError as error:
            status: Status = "conflict" if isinstance(error, TakenNameError) else "invalid"
            raise _Refused(status, str(error)) from error
    return registry


@contextlib.contextmanager
def _blame(status: Status) -> Iterator[None]:
    """Turn whatever a plugin's code raises into a verdict; what it prints goes to stderr."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except (Exception, SystemExit) as error:
        lines = str(error).strip().splitlines() or ["no message"]
        # pluggy says the fault last, after the definition that has it.
        said = lines[-1] if isinstance(error, pluggy.PluginValidationError) else lines[0]
        raise _Refused(status, f"{type(error).__name__}: {said}") from error


def _account(record: PluginRecord) -> str:
    return (
        f"The plugin {record.name!r} of {record.distribution} {record.version} is not usable "
        f"({record.status}): {record.reason.rstrip('.')}"
    )


def _remedy(record: PluginRecord) -> str:
    if record.status == "disabled":
        return "Take it out of ZOO_DISABLE_PLUGINS."
    if record.status in ("conflict", "shadowed"):
        return "Uninstall one of the two, or leave one out with ZOO_DISABLE_PLUGINS."
    return f"Repair, update or reinstall {record.distribution}; `zoo plugins` shows all plugins."


def _check_all(records: Iterable[PluginRecord]) -> None:
    bad = [record for record in records if record.status not in ("loaded", "disabled")]
    if bad:
        accounts = "; ".join(_account(record) for record in bad)
        raise PluginError(
            f"{accounts}. Repair or uninstall what is named here, or unset ZOO_PLUGIN_STRICT."
        ) from bad[0].error

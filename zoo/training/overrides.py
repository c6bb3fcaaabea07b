"""Settings by dotted name: changing some of them, and telling two recipes apart."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import InputError, ZooError
from ..plugins.discovery import component_table
from ..spelling import nearest

WITHOUT_EFFECT = (
    "data.workers",
    "checkpoint.every",
    "checkpoint.keep",
    "export.half",
    "log_every",
    "visualizers",
)
"""Settings that a resumed run may change, for they leave the weights as they are."""


def override(settings: dict[str, Any], overrides: Mapping[str, Any] | Sequence[str]) -> None:
    """Put values, or `key=value` texts, into nested settings.

    A component also takes what its constructor does, though the recipe leaves it at its default.
    Raises `InputError` for a key that is not there (the nearest that is there is suggested).
    """
    for key, value in parse(overrides).items():
        _put(settings, key, value)


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs in two recipes and would change the weights, one line a setting."""
    old, new = flatten(before), flatten(now)
    absent = "absent"
    return [
        f"{key}: was {old.get(key, absent)!r}, is {new.get(key, absent)!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in WITHOUT_EFFECT and old.get(key, absent) != new.get(key, absent)
    ]


def parse(overrides: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    """Overrides by dotted name; raises `InputError` for a text that is not `key=value`."""
    if isinstance(overrides, Mapping):
        return dict(overrides)
    parsed: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise InputError(
                f"The setting {override!r} is not of the form key=value. "
                "Write it as in data.batch_size=64."
            )
        parsed[key.strip()] = _literal(value.strip())
    return parsed


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None, "null": None}
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return words.get(text.lower(), text)


def _put(settings: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    inside: Any = settings
    for depth, part in enumerate(parents):
        inside = inside[_known(inside, part, parents[:depth], key)]
    inside[_known(inside, last, parents, key, _arguments(inside, parents))] = value


def _arguments(inside: Any, parents: Sequence[str]) -> list[str]:
    """What the constructor takes, where `inside` describes a component of the model or the loss."""
    kind = {"model": parents[1:2], "loss": ["loss"]}.get(parents[0] if parents else "")
    if not kind or not isinstance(inside, dict) or "type" not in inside:
        return []
    try:
        component = component_table().resolve(kind[0], str(inside["type"]))
    except ZooError:
        return []  # whoever builds it is told what is wrong
    return list(inspect.signature(component).parameters)


def _known(
    inside: Any, part: str, parents: Sequence[str], key: str, more: Sequence[str] = ()
) -> Any:
    """The key or list position that `part` names; an error that helps if it names none."""
    where = ".".join(parents) or "the recipe"
    if isinstance(inside, list):
        if part.isdigit() and int(part) < len(inside):
            return int(part)
        names: Iterable[str] = map(str, range(len(inside)))
    elif isinstance(inside, dict):
        names = dict.fromkeys([*inside, *more])
        if part in names:
            return part
    else:
        raise InputError(
            f"The setting {key!r} cannot be made: {where} is {inside!r} and has no parts. "
            f"Set {where} as a whole, as in {where}={{'{part}': VALUE}}."
        )
    prefix = "".join(f"{parent}." for parent in parents)
    raise InputError(
        f"The setting {key!r} does not exist: {where} has no {part!r}. "
        f"{nearest(prefix + part, [prefix + name for name in names])}"
    )

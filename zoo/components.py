"""Building a component from plain values: the only way from a configuration to a class."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from .errors import InputError
from .plugins.discovery import component_table
from .plugins.table import ComponentTable
from .spelling import nearest


def build(
    kind: str,
    config: Mapping[str, Any],
    files: Mapping[str, str] | None = None,
    table: ComponentTable | None = None,
) -> Any:
    """Build a component from `{"type": name, **arguments}` and the model's text files.

    Raises `InputError` when the type is missing or unknown, or an argument does not fit.

    >>> build("loss", {"type": "triplet", "margin": 0.05}).margin
    0.05
    """
    if table is None:
        table = component_table()
    arguments = dict(config)
    name = arguments.pop("type", None)
    if not isinstance(name, str):
        raise InputError(
            f"The {kind} configuration {dict(config)!r} has no 'type'. "
            f"Add one of {', '.join(table.names(kind))}."
        )
    component = table.resolve(kind, name)
    _check_arguments(kind, name, component, arguments)
    return component.from_config(arguments, files or {})


def _check_arguments(
    kind: str, name: str, component: type[Any], arguments: Mapping[str, Any]
) -> None:
    parameters = inspect.signature(component).parameters
    for argument in arguments:
        if argument not in parameters:
            raise InputError(
                f"{kind} {name!r} has no argument {argument!r}. {nearest(argument, parameters)}"
            )

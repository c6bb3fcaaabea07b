"""A model's configuration at a size that is quick to check."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import ZooError
from ..plugins.table import ComponentTable
from .samples import SMALL_BERT

LARGE = 64
"""Whole numbers from here on are taken for sizes."""
SHARE = 16
"""A sixteenth of each, so that what divides what, and what is the double of what, stays."""


def small_part(kind: str, part: Mapping[str, Any], table: ComponentTable) -> dict[str, Any]:
    """The configuration of a component with every size cut to a sixteenth, defaults included."""
    return {key: _small(value) for key, value in _whole(kind, part, table).items()}


def small_size(size: int) -> int:
    """A sixteenth of a size from 64 on; a smaller number is none and stays."""
    return size // SHARE if size >= LARGE else size


def _whole(kind: str, part: Mapping[str, Any], table: ComponentTable) -> dict[str, Any]:
    """With the sizes that its class has by default, and those of components within."""
    whole = {
        key: _whole(kind, value, table) if _is_component(kind, value, table) else value
        for key, value in part.items()
    }
    if (kind, whole.get("type")) == ("text_encoder", "bert"):
        return whole | {"bert": SMALL_BERT, "longest": None}
    return _defaults(kind, whole, table) | whole


def _is_component(kind: str, value: Any, table: ComponentTable) -> bool:
    return isinstance(value, Mapping) and (kind, value.get("type")) in table.entries


def _defaults(kind: str, part: Mapping[str, Any], table: ComponentTable) -> dict[str, Any]:
    try:
        parameters = inspect.signature(table.resolve(kind, str(part.get("type")))).parameters
    except (ZooError, ValueError, TypeError):
        return {}  # whoever builds it says what is wrong
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    return {name: value for name, value in defaults.items() if type(value) is int and value > 0}


def _small(value: Any) -> Any:
    if type(value) is int:
        return small_size(value)
    if isinstance(value, Mapping):
        return {key: _small(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_small(inner) for inner in value]
    return value

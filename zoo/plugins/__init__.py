"""The installed plugins: which there are, loading them, and the names that they register."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .discovery import discover

__all__ = ["discover"]


def __getattr__(name: str) -> Any:
    """The public name, imported when it is first used: the table of names needs no plugin."""
    if name not in __all__:
        raise AttributeError(f"module 'zoo.plugins' has no attribute {name!r}")
    from . import discovery

    return getattr(discovery, name)

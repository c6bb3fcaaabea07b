"""Training on an MMEngine Runner: the only room that imports mmengine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from .session import train

__all__ = ["train"]


def __getattr__(name: str) -> Any:
    """`train`, imported when it is first used. Raises `InputError` where MMEngine is absent."""
    if name != "train":
        raise AttributeError(f"module 'zoo.training' has no attribute {name!r}")
    try:
        from .session import train
    except ImportError as error:
        raise InputError(
            f"Training needs MMEngine, which cannot be imported ({error}). "
            "Install it: pip install 'itm-zoo[train]'"
        ) from error
    return train

"""Training on an MMEngine Runner: the only room that imports mmengine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from .ablation import Ablation
    from .session import plan, train

__all__ = ["Ablation", "plan", "train"]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used. Raises `InputError` without MMEngine."""
    if name not in __all__:
        raise AttributeError(f"module 'zoo.training' has no attribute {name!r}")
    try:
        from .ablation import Ablation
        from .session import plan, train
    except ImportError as error:
        raise InputError(
            f"Training needs MMEngine, which cannot be imported ({error}). "
            "Install it: pip install 'itm-zoo[train]'"
        ) from error
    return {"Ablation": Ablation, "plan": plan, "train": train}[name]

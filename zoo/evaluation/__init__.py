"""How well models retrieve: scores of a whole split, figures, and what may be said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .measuring import Evaluation, evaluate, evaluate_scores

__all__ = ["Evaluation", "evaluate", "evaluate_scores"]


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first used: the others of this room need no torch."""
    if name not in __all__:
        raise AttributeError(f"module 'zoo.evaluation' has no attribute {name!r}")
    from . import measuring

    return getattr(measuring, name)

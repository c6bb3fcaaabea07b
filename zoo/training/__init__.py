"""Training on an MMEngine Runner: the only room that imports mmengine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError

__all__ = ["train"]


def train(
    recipe: Path | str,
    data: Path | str,
    work_dir: Path | str,
    *,
    resume: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    features: Path | str | None = None,
    device: str | None = None,
) -> Path:
    """Train by a recipe; returns the folder of the best model. See `zoo.training.session.train`."""
    try:
        import mmengine  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"Training needs MMEngine, which cannot be imported ({error}). "
            "Install it: pip install 'itm-zoo[train]'"
        ) from error
    from .session import train as run

    return run(
        recipe,
        data,
        work_dir,
        resume=resume,
        overrides=overrides,
        features=features,
        device=device,
    )

"""Image-text matching models behind one interface."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .batch import Batch, Fragments, Photos, Regions, Tokens
    from .catalogue.cards import Card
    from .data.dataset import Dataset, open_dataset
    from .errors import ZooError
    from .evaluation.measuring import Evaluation, evaluate
    from .hooks import hookimpl
    from .interfaces import (
        Aligner,
        Extractor,
        ImageEncoder,
        Loss,
        Noise,
        Pairs,
        Similarity,
        TextEncoder,
    )
    from .loading.models import info, list_models, load
    from .loading.pulling import pull
    from .model import MatchingModel


# Each public name and the module that it lives in, imported when it is first used.
_HOME = {
    "Aligner": "interfaces",
    "Batch": "batch",
    "Card": "catalogue.cards",
    "Dataset": "data.dataset",
    "Evaluation": "evaluation",
    "Extractor": "interfaces",
    "Fragments": "batch",
    "ImageEncoder": "interfaces",
    "Loss": "interfaces",
    "MatchingModel": "model",
    "Noise": "interfaces",
    "Pairs": "interfaces",
    "Photos": "batch",
    "Regions": "batch",
    "Similarity": "interfaces",
    "TextEncoder": "interfaces",
    "Tokens": "batch",
    "ZooError": "errors",
    "evaluate": "evaluation",
    "hookimpl": "hooks",
    "info": "loading.models",
    "list_models": "loading.models",
    "load": "loading.models",
    "open_dataset": "data.dataset",
    "pull": "loading.pulling",
}

__all__ = [
    "Aligner",
    "Batch",
    "Card",
    "Dataset",
    "Evaluation",
    "Extractor",
    "Fragments",
    "ImageEncoder",
    "Loss",
    "MatchingModel",
    "Noise",
    "Pairs",
    "Photos",
    "Regions",
    "Similarity",
    "TextEncoder",
    "Tokens",
    "ZooError",
    "__version__",
    "evaluate",
    "hookimpl",
    "info",
    "list_models",
    "load",
    "open_dataset",
    "pull",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__

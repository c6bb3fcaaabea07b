"""How a command reads the name of a model: from the registry, or a folder on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model import MatchingModel


def model_name(given: str) -> str:
    """What `zoo.load` takes: a path becomes `local-dir:PATH`, anything else stays as it is.

    A word without a slash is a path only if it is no registered name: write ./chan-f8k for a
    folder that is called like a model.
    """
    from ..loading.models import list_models

    if ":" in given and not Path(given).is_dir():
        return given
    written_as_path = "/" in given or "\\" in given
    if written_as_path or (Path(given).exists() and given not in list_models()):
        return f"local-dir:{given}"
    return given


def model_folder(given: str) -> Path:
    """The folder that holds a model's files, for a name from the registry, the Hub's or a path.

    What lies on the Hub is fetched. Raises `WeightsError` for a registered model without weights.
    """
    from ..loading.pulling import pull

    return pull(model_name(given))


def load_model(given: str, device: str = "cpu") -> MatchingModel:
    """Load a model by registry name, path or `local-dir:PATH`."""
    from ..loading.models import load

    return load(model_name(given), device=device)


def complete_model() -> list[str]:
    """The names that the shell offers; typer keeps those that begin as the word does."""
    from ..loading.models import list_models

    return list_models()

"""From a model's name to a model."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalogue.cards import USABLE, Card
from ..errors import UnknownModelError, WeightsError
from ..plugins.discovery import discover
from .own_names import registry
from .pulling import HUB, LOCAL, pull, registered

if TYPE_CHECKING:
    import torch

    from ..model import MatchingModel

VOCABULARY_OF = "chan-f8k"  # random weights of an unpublished model borrow its vocabulary


def load(
    name: str,
    *,
    weights: str | Path | None = None,
    files: str | Path | None = None,
    device: torch.device | str = "cpu",
    offline: bool | None = None,
) -> MatchingModel:
    """Build a model by name, with its trained weights, ready to encode and score.

    `name` is a registry name, "local-dir:PATH" or "hf-hub:ORG/REPO[@REVISION]"; what lies on the
    Hub is fetched and checked as `pull` does, with `offline` as there. `weights` is "random", or
    the path of a safetensors file to use in place of the model's own. `files` is a folder with the
    vocabulary or tokenizer that goes with them. By default it is the model's own folder, where it
    has one; else the folder that the weights lie in; and for random weights the vocabulary of the
    bundled chan-f8k, or an error that says which files the model needs.

    Raises `UnknownModelError` for an unknown name, `WeightsError` when there are no weights or
    they do not fit, `PluginError` when the plugin that supplies the method cannot be used.

    >>> model = zoo.load("chan-f8k")                                    # doctest: +SKIP
    """
    from ..model_folders.folder import WEIGHTS
    from .weights import load_folder

    if weights is not None and not str(name).startswith((LOCAL, HUB)):
        card = registered(name)
        usable = card.members and card.status in USABLE
        if card.folder is None and card.weights is None and not usable:
            return _from_card(card, weights, files, device)
    folder = pull(name, offline=offline, without=None if weights is None else WEIGHTS)
    return load_folder(folder, weights=weights, files=files, device=device)


def info(name: str) -> Card:
    """What the registry says of a model; nothing is loaded.

    Raises `UnknownModelError` that offers the nearest name.

    >>> info("chan-coco").variant
    'bigru_butd'
    """
    if name.startswith((LOCAL, HUB)) or "/" in name:
        raise UnknownModelError(
            f"{name} is a place, and the registry knows models by their names (`zoo list`). What a "
            "model's folder holds is in its README.md; `zoo register` gives it a name."
        )
    return registry().find(name)


def list_models(pattern: str | Sequence[str] = "*", *, status: str | None = None) -> list[str]:
    """Names of the registered models that match a shell pattern, or any of several, sorted.

    `status` keeps only models of that status: planned, unpublished, bundled, published, or own
    for those that the user named.

    >>> list_models("chan-f3*")
    ['chan-f30k', 'chan-f30k.bert_butd']
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    return sorted(
        card.name
        for card in registry().cards()
        if any(fnmatchcase(card.name, one) for one in patterns) and status in (None, card.status)
    )


def _from_card(
    card: Card, weights: str | Path, files: str | Path | None, device: torch.device | str
) -> MatchingModel:
    from ..config import ModelConfig
    from ..device import usable_device
    from ..model import build_model
    from .weights import FolderFiles, load_weights

    device = usable_device(device)
    discover().require(card.plugin)
    if card.config is None:
        raise WeightsError(
            f"{card.name} is {card.status}, and the registry does not say its parts yet. "
            "Choose another model: `zoo list` shows them."
        )
    config = ModelConfig.model_validate({"name": card.name, "method": card.method, **card.config})
    model = build_model(config, FolderFiles(Path(files or _text_files(card, weights))))
    if weights != "random":
        load_weights(model, Path(weights))
    return model.to(device).eval()


def _text_files(card: Card, weights: str | Path) -> Path:
    """The folder of the text files where none is given."""
    if weights != "random":
        return Path(weights).parent
    if card.files:
        raise WeightsError(
            f"{card.name} needs {' and '.join(card.files)}, which no package brings. "
            f"Give the folder that it lies in: {card.random_start}."
        )
    return pull(VOCABULARY_OF)

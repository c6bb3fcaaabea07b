"""From a model's name to a model."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from .cards import Card
from .errors import InputError, WeightsError
from .plugins import discover

if TYPE_CHECKING:
    import torch

    from .config import ModelConfig
    from .model import MatchingModel

LOCAL, HUB = "local-dir:", "hf-hub:"
VOCABULARY_OF = "chan-f8k"  # random weights of an unpublished model borrow its vocabulary


def load(
    name: str,
    *,
    weights: str | Path | None = None,
    files: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> MatchingModel:
    """Build a model by name, with its trained weights, ready to encode and score.

    `name` is a registry name, "local-dir:PATH" or "hf-hub:ORG/REPO[@REVISION]". `weights` is
    "random", or the path of a safetensors file to use in place of the model's own. `files` is the
    folder with the vocabulary or tokenizer that goes with them; by default the folder that the
    weights lie in, and for random weights the vocabulary of the bundled chan-f8k.

    Raises `UnknownModelError` for an unknown name, `WeightsError` when there are no weights or
    they do not fit, `PluginError` when the plugin that supplies the method cannot be used.

    >>> model = zoo.load("chan-f8k")                                    # doctest: +SKIP
    """
    if name.startswith(HUB):
        raise WeightsError(
            f"{name} names a repository on the Hub, which this version cannot fetch from. "
            f"Download the repository's files into a folder and load {LOCAL}FOLDER."
        )
    if name.startswith(LOCAL):
        return _from_folder(Path(name.removeprefix(LOCAL)), weights, files, device)
    if any(mark in name for mark in "/\\:"):
        raise InputError(
            f"{name!r} is neither a registry name nor does it begin with a known prefix. "
            f"Write {LOCAL}PATH for a folder, or {HUB}ORG/REPO for the Hub."
        )
    card = info(name)
    if card.folder is not None:
        return _from_folder(_bundled(card), weights, files, device)
    if weights is None:
        raise WeightsError(f"{card.name} is {card.status}. {card.how_to_get}")
    return _from_card(card, weights, files, device)


def info(name: str) -> Card:
    """What the registry says of a model; nothing is loaded.

    Raises `UnknownModelError` that offers the nearest name.

    >>> info("chan-coco").variant
    'bigru_butd'
    """
    return discover().registry.find(name)


def list_models(pattern: str | Sequence[str] = "*", *, status: str | None = None) -> list[str]:
    """Names of the registered models that match a shell pattern, or any of several, sorted.

    `status` keeps only models of that status: planned, unpublished, bundled or published.

    >>> list_models("chan-f*")
    ['chan-f30k', 'chan-f30k.bert_butd', 'chan-f8k']
    """
    patterns = [pattern] if isinstance(pattern, str) else pattern
    return sorted(
        card.name
        for card in discover().registry.cards()
        if any(fnmatchcase(card.name, one) for one in patterns) and status in (None, card.status)
    )


def _bundled(card: Card) -> Path:
    folder = card.folder
    if folder is None or not (folder / "config.json").is_file():
        raise WeightsError(
            f"The bundled weights of {card.name} are missing from {folder}. "
            "Reinstall the package, or take the folder from its source."
        )
    return folder


def _from_folder(
    folder: Path, weights: str | Path | None, files: str | Path | None, device: torch.device | str
) -> MatchingModel:
    from .weights import load_folder, read_folder_config

    if weights is None:
        return load_folder(folder, device=device)
    return _build(read_folder_config(folder), weights, Path(files or folder), device)


def _from_card(
    card: Card, weights: str | Path, files: str | Path | None, device: torch.device | str
) -> MatchingModel:
    from .config import ModelConfig

    discover().require(card.plugin)
    if card.config is None:
        raise WeightsError(
            f"{card.name} is {card.status}, and the registry does not say its parts yet. "
            "Choose another model: `zoo list` shows them."
        )
    config = ModelConfig.model_validate({"name": card.name, "method": card.method, **card.config})
    if files is None:
        files = _bundled(info(VOCABULARY_OF)) if weights == "random" else Path(weights).parent
    return _build(config, weights, Path(files), device)


def _build(
    config: ModelConfig, weights: str | Path, files: Path, device: torch.device | str
) -> MatchingModel:
    from .model import build_model
    from .weights import FolderFiles, load_weights

    model = build_model(config, FolderFiles(files))
    if weights != "random":
        load_weights(model, Path(weights))
    return model.to(device).eval()

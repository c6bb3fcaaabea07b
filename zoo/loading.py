"""From a model's name to a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .cards import Card
from .errors import InputError, WeightsError
from .plugins import discover

if TYPE_CHECKING:
    import torch

    from .model import MatchingModel

LOCAL, HUB = "local-dir:", "hf-hub:"


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
    folder with the vocabulary or tokenizer for these; by default the folder of the weights, and
    for random weights the vocabulary of the bundled chan-f8k.

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
        return _load_folder(Path(name.removeprefix(LOCAL)), weights, device)
    if any(mark in name for mark in "/\\:"):
        raise InputError(
            f"{name!r} is neither a registry name nor has it a known prefix. "
            f"Write {LOCAL}PATH for a folder, or {HUB}ORG/REPO for the Hub."
        )
    card = info(name)
    folder = bundled_folder(card)
    if folder is not None:
        return _load_folder(folder, weights, device)
    if weights is None:
        raise WeightsError(_how_to_get(card))
    return _build(card, weights, files, device)


def info(name: str) -> Card:
    """What the registry says of a model; nothing is loaded.

    Raises `UnknownModelError` that offers the nearest names.
    """
    return discover().registry.find(name)


def list_models(pattern: str | list[str] = "*", *, status: str | None = None) -> list[str]:
    """Names of the registered models that match a shell pattern (or any of several), sorted.

    >>> list_models("chan-f*")
    ['chan-f30k', 'chan-f30k.bert_butd', 'chan-f8k']
    """
    from fnmatch import fnmatchcase

    patterns = [pattern] if isinstance(pattern, str) else pattern
    return sorted(
        card.name
        for card in discover().registry.cards()
        if any(fnmatchcase(card.name, one) for one in patterns) and status in (None, card.status)
    )


def bundled_folder(card: Card) -> Path | None:
    """Where the weights lie that came with the zoo: in the package, or in a checkout of it."""
    if card.status != "bundled":
        return None
    here = Path(__file__).parent
    for folder in (here / "bundled" / card.name, here.parent / "weights" / card.name):
        if (folder / "config.json").is_file():
            return folder
    raise WeightsError(
        f"The bundled weights of {card.name} are missing from {here / 'bundled'}. "
        "Reinstall itm-zoo: pip install --force-reinstall itm-zoo"
    )


def _load_folder(
    folder: Path, weights: str | Path | None, device: torch.device | str
) -> MatchingModel:
    from .weights import CONFIG, FolderFiles, load_folder

    if weights is None:
        return load_folder(folder, device=device)
    from .config import build_model, read_config
    from .weights import read_text

    config = read_config(read_text(folder / CONFIG), str(folder / CONFIG))
    return _fill(build_model(config, FolderFiles(folder)), weights, device)


def _build(
    card: Card, weights: str | Path, files: str | Path | None, device: torch.device | str
) -> MatchingModel:
    from .config import ModelConfig, build_model
    from .weights import FolderFiles

    if card.config is None:
        raise WeightsError(
            f"{card.name} is {card.status} and has no configuration yet. "
            f"Choose another model: zoo list '{card.method}-*'"
        )
    if files is None:
        files = _default_files(weights)
    values: dict[str, Any] = {"name": card.name, "method": card.method, **card.config}
    config = ModelConfig.model_validate(values)
    texts: Mapping[str, str] = FolderFiles(Path(files))
    return _fill(build_model(config, texts), weights, device)


def _default_files(weights: str | Path) -> Path:
    if weights != "random":
        return Path(weights).parent
    folder = bundled_folder(info("chan-f8k"))
    if folder is None:
        raise WeightsError("Random weights need a vocabulary. Give files=FOLDER with vocab.json.")
    return folder


def _fill(
    model: MatchingModel, weights: str | Path, device: torch.device | str
) -> MatchingModel:
    from .weights import load_weights

    if weights != "random":
        load_weights(model, Path(weights))
    return model.to(device).eval()


def _how_to_get(card: Card) -> str:
    train = f"zoo train {card.recipe} --data PATH" if card.recipe else "a recipe of your own"
    return (
        f"{card.name} is {card.status}: the registry has its paper results, but no weights. "
        f"Train it ({train}), or pass weights='file.safetensors' or weights='random'; "
        "chan-f8k has weights and loads at once."
    )

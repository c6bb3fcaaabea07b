"""From a recipe to an untrained model and its loss."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from .. import components
from ..batch import Photos, Regions
from ..config import ModelConfig, Provider
from ..data.dataset import Dataset
from ..data.vocabulary import Vocabulary
from ..errors import InputError, UnknownModelError
from ..interfaces import Component, Loss
from ..loading.models import info
from ..loading.weights import load_folder
from ..model import MatchingModel, build_model
from ..model_folders.saving import WEIGHTS
from ..version import __version__
from .data import image_items
from .recipe import Recipe
from .seeds import mix

FITTED_IMAGES = 1000
"""How many training photographs are looked at where an image encoder is fitted to features."""


def build_from(
    recipe: Recipe, dataset: Dataset, data: Path, texts: Mapping[str, str] | None = None
) -> tuple[MatchingModel, Loss]:
    """A model and a loss with random weights, a function of the recipe's seed.

    The vocabulary comes from the captions of `dataset`, the training split, or from a file; unless
    `texts` has the text files of the model, by name.
    """
    torch.manual_seed(mix(recipe["seed"], "initial weights"))
    if texts is None:
        texts = _text_files(recipe, dataset, data)
    model = build_model(_config(recipe), texts)
    loss: Loss = components.build("loss", recipe["loss"])
    return model, loss


def initialize(model: MatchingModel, recipe: Recipe, dataset: Dataset, data: Path) -> None:
    """Load the initial weights that the recipe names; fit the image encoder to the features."""
    for key, path in named_files(recipe, data).items():
        if key.startswith("initial_weights."):
            part = key.removeprefix("initial_weights.")
            _load_part(getattr(model, part), part, path)
    model.image_encoder.fit(training_features(model, recipe, dataset))


def training_features(
    model: MatchingModel, recipe: Recipe, dataset: Dataset, size: int = 50
) -> Iterator[Regions]:
    """Regions of evenly spread training images, without noise, in batches."""
    source = image_items(dataset, recipe["data"]["inputs"], model)
    spread = np.linspace(0, len(dataset.image_ids), FITTED_IMAGES, endpoint=False)
    rows = np.unique(spread.astype(int)).tolist()
    for start in range(0, len(rows), size):
        prepared = model.prepare_images(source.rows(rows[start : start + size]))
        if isinstance(prepared, Photos):
            assert model.extractor is not None  # it prepared them
            with torch.no_grad():
                prepared = model.extractor(prepared)
        yield prepared


def named_files(recipe: Recipe, data: Path) -> dict[str, Path]:
    """The files, and the folders of models, that a recipe names, by the key that names them.

    Raises `InputError` for one that is not found.
    """
    files = {f"initial_weights.{part}": file for part, file in recipe["initial_weights"].items()}
    files["vocabulary.file"] = (recipe["vocabulary"] or {}).get("file")
    return {key: find_file(file, key, recipe, data) for key, file in files.items() if file}


def find_file(file: str, key: str, recipe: Recipe, data: Path) -> Path:
    """A file or model folder that a recipe names: as it is, or where such files usually lie, or
    the folder of the bundled model of that name.

    Raises `InputError` that lists the places and says how to give another.
    """
    places = [Path(file).expanduser(), recipe.path.parent / file]
    if "ZOO_WEIGHTS" in os.environ:
        places.append(Path(os.environ["ZOO_WEIGHTS"]) / file)
    places += [data.parent / "weights" / file, data.parent / file]
    for place in [*places, *_bundled_folder(file)]:
        if place.is_file() or (place / WEIGHTS).is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise InputError(
        f"{file}, which the recipe's {key} names, is in none of these places: {looked}. "
        f"Give its path (--set {key}=PATH), or set ZOO_WEIGHTS to the folder that holds it."
    )


def _bundled_folder(name: str) -> list[Path]:
    """The folder of a bundled model of that name, if there is one."""
    try:
        folder = info(name).folder
    except UnknownModelError:
        return []
    return [folder] if folder else []


def _config(recipe: Recipe) -> ModelConfig:
    whole = {
        "name": recipe["name"],
        "method": recipe["method"],
        "plugin": _provider(recipe["plugin"]),
        "zoo_version": __version__,
        **recipe["model"],
    }
    try:
        return ModelConfig.model_validate(whole)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise InputError(
            f"The recipe's model cannot be built ({'; '.join(faults)}). Correct model in "
            f"{recipe.path}."
        ) from error


def _provider(plugin: str | None) -> Provider | None:
    if plugin is None:
        return None
    from ..plugins.discovery import discover

    return discover().require(plugin).provider


def _text_files(recipe: Recipe, dataset: Dataset, data: Path) -> Mapping[str, str]:
    settings = recipe["vocabulary"]
    if not settings:
        return {}
    if settings["file"]:
        path = named_files(recipe, data)["vocabulary.file"]
        if path.name == "vocab.txt":  # of word pieces
            return {path.name: path.read_text(encoding="utf-8")}
        return {"vocab.json": Vocabulary.open(path).to_json()}
    return {"vocab.json": Vocabulary.build(dataset.captions, settings["minimum_count"]).to_json()}


def _load_part(part: Component | None, name: str, path: Path) -> None:
    if part is None:
        raise InputError(
            f"The recipe gives initial weights for the {name}, and the model has none. "
            f"Take initial_weights.{name} out of the recipe."
        )
    try:
        if path.is_dir():
            part.load_state_dict(getattr(load_folder(path), name).state_dict())
        else:
            part.load_initial(path)
    except (AttributeError, RuntimeError) as error:
        raise InputError(
            f"{path} does not fit the {name} of the recipe ({error}). Give weights of the same "
            f"form as initial_weights.{name}, or describe the {name} as it is there."
        ) from error

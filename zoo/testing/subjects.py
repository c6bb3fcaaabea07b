"""What there is to check of a plugin: the models of its recipes and cards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from .. import components
from ..config import Features, ModelConfig
from ..encoders.bigru import BiGRU
from ..errors import ZooError
from ..interfaces import Loss
from ..model import MatchingModel, build_model
from ..plugins.discovery import Discovery, PluginRecord
from .samples import text_files
from .sizes import small_part, small_size
from .verdicts import Fault

PARTS = ("image_encoder", "text_encoder", "aligner")
LOSS = {"type": "triplet"}


@dataclass(frozen=True)
class Subject:
    """A small model: its parts, and the loss that trains it, as configurations."""

    name: str
    parts: Mapping[str, Mapping[str, Any]]
    feature_dim: int
    loss_part: Mapping[str, Any] = field(default_factory=lambda: LOSS)

    @cached_property
    def config(self) -> ModelConfig:
        """What its config.json would hold."""
        features = Features(kind="test", regions=6, dim=self.feature_dim)
        parts = {kind: dict(part) for kind, part in self.parts.items()}
        return ModelConfig(name=self.name, method="test", features=features, **parts)  # type: ignore[arg-type]

    def model(self, seed: int = 0) -> MatchingModel:
        """The model with random weights, in evaluation mode; the same for a seed."""
        torch.manual_seed(seed)
        model = build_model(self.config, text_files()).eval()
        for module in model.modules():
            if isinstance(module, BiGRU) and module.fixed is not None:
                module.fixed.normal_()  # as from a file of word vectors, without which none trains
        return model

    @cached_property
    def builds(self) -> bool:
        """Whether there is such a model."""
        try:
            self.model()
        except Exception:  # noqa: BLE001 - a stranger's constructor; the first check says what
            return False
        return True

    def loss(self) -> Loss:
        """The loss."""
        loss: Loss = components.build("loss", self.loss_part)
        return loss


@dataclass(frozen=True)
class RecipeFile:
    """A recipe of the plugin, read; or why it could not be."""

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    error: str = ""


def recipes_of(record: PluginRecord) -> list[RecipeFile]:
    """Every recipe of a plugin. Raises `ModuleNotFoundError` without MMEngine, which reads them."""
    module = import_module(record.module.partition(":")[0])
    folder = Path(module.__file__ or "").parent / "recipes"
    files = [file for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]
    return [_read(file) for file in files]


def _read(file: Path) -> RecipeFile:
    from ..training.recipe import read_recipe

    try:
        return RecipeFile(file, read_recipe(file).settings)
    except ZooError as error:
        return RecipeFile(file, error=str(error))


def subjects_of(
    record: PluginRecord, found: Discovery, recipes: list[RecipeFile]
) -> Iterator[Subject]:
    """Each model that a recipe or a card of the plugin describes, small; alike ones once.

    A loss that none of them trains with is checked with the first of them.
    """
    known: set[str] = set()
    described = list(_described(record, found, recipes))
    if described:
        left = unused(record, found, recipes)
        losses = [name for kind, name in left if kind == "loss"]
        described += [(f"loss {name}", *described[0][1:3], {"type": name}) for name in losses]
    for name, parts, dim, loss in described:
        small = {kind: small_part(kind, parts[kind], found.components) for kind in PARTS}
        loss = small_part("loss", loss, found.components)
        key = json.dumps([small, loss], sort_keys=True)
        if key not in known:
            known.add(key)
            yield _fitting(Subject(name, small, small_size(dim), loss), parts, dim)


def unused(
    record: PluginRecord, found: Discovery, recipes: list[RecipeFile]
) -> list[tuple[str, str]]:
    """Kind and name of each part and loss that no recipe and no card uses."""
    used = {
        (kind, name)
        for _, parts, _, loss in _described(record, found, recipes)
        for kind, part in [*parts.items(), ("loss", loss)]
        for name in _names_in(part)
    }
    kinds = (*PARTS, "loss")
    return [one for one in record.components if one[0] in kinds and one not in used]


def _names_in(part: Any) -> Iterator[str]:
    """The types of a configuration and of all within it."""
    if isinstance(part, Mapping):
        if isinstance(part.get("type"), str):
            yield part["type"]
        part = list(part.values())
    if isinstance(part, list | tuple):
        for inner in part:
            yield from _names_in(inner)


def _described(
    record: PluginRecord, found: Discovery, recipes: list[RecipeFile]
) -> Iterator[tuple[str, Mapping[str, Any], int, Mapping[str, Any]]]:
    """Name, parts, dim of the features and loss of each model, of recipes and then of cards."""
    losses = {}
    for recipe in recipes:
        model = recipe.settings.get("model")
        if model and all(isinstance(model.get(kind), Mapping) for kind in (*PARTS, "features")):
            name, loss = recipe.settings["name"], recipe.settings["loss"]
            losses[name] = loss
            yield name, {kind: model[kind] for kind in PARTS}, model["features"]["dim"], loss
    for card in found.registry.cards():
        config = card.config if card.plugin == record.name and not card.members else None
        if config is not None:
            loss = losses.get(card.recipe, LOSS)
            yield card.name, {kind: config[kind] for kind in PARTS}, card.features.dim, loss


def _fitting(small: Subject, parts: Mapping[str, Any], dim: int) -> Subject:
    """The small subject where it can be built, else the one of the described size.

    A sixteenth may break what a component asks of its sizes; that is no fault of it.
    """
    if small.builds:
        return small
    return Subject(small.name, {kind: parts[kind] for kind in PARTS}, dim, small.loss_part)


def built(subject: Subject) -> MatchingModel:
    """Its model. Raises `Fault` in words where it cannot be built."""
    try:
        return subject.model()
    except ZooError as error:
        raise Fault(f"The model cannot be built: {error}", "") from error

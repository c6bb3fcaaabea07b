"""Checks of cards and recipes: each says what the other says, and what can be built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ..catalogue import strict_yaml
from ..catalogue.cards import Card
from ..plugins.discovery import Discovery, PluginRecord
from ..plugins.table import ComponentTable
from .subjects import PARTS, RecipeFile
from .verdicts import Fault


def check_fragments(record: PluginRecord) -> None:
    """Methods that the plugin's cards describe name this plugin as theirs."""
    for path in record.cards:
        methods = strict_yaml.parse(path.read_bytes(), path.name).value.get("methods") or {}
        for name, method in methods.items():
            if method["plugin"] != record.name:
                raise Fault(
                    f"{path.name}: methods.{name}.plugin is {method['plugin']!r} where "
                    f"{record.name!r} is wanted.",
                    "Name the plugin whose entry point this is.",
                )


def check_card(
    card: Card, record: PluginRecord, found: Discovery, recipes: Sequence[RecipeFile] | None
) -> None:
    """A card's parts can be built, and its recipe is there and has them too."""
    config = card.config
    for kind in PARTS if config is not None else ():
        assert config is not None  # the parts are looped over only then
        _check_part(card, kind, config[kind], found.components)
    if card.recipe is None or recipes is None:
        return
    named = {recipe.settings.get("name"): recipe.settings for recipe in recipes}
    settings = named.get(card.recipe)
    if settings is None:
        known = ", ".join(sorted(filter(None, named))) or "none"
        raise Fault(
            f"The card {card.name} has the recipe {card.recipe!r}, and {record.name} has {known}.",
            "Write that recipe, or correct `recipe` in the card.",
        )
    _check_same(card, settings)


def _check_part(card: Card, kind: str, part: Mapping[str, Any], table: ComponentTable) -> None:
    known = inspect.signature(table.resolve(kind, part["type"])).parameters
    odd = sorted(part.keys() - {"type"} - known.keys())
    if odd:
        raise Fault(
            f"The card {card.name} gives {kind} {part['type']!r} the argument {odd[0]!r}, which it "
            "has not.",
            f"Correct {kind} in the card; there are {', '.join(known)}.",
        )


def _check_same(card: Card, settings: Mapping[str, Any]) -> None:
    model = settings["model"]
    pairs: list[tuple[str, Any, Any]] = [
        ("method", card.method, settings["method"]),
        ("plugin", card.plugin, settings["plugin"]),
        ("features", card.features.model_dump(exclude={"boxes"}), model["features"]),
    ]
    if card.config is not None:
        pairs += [(kind, card.config[kind], model[kind]) for kind in PARTS]
    for key, ours, theirs in pairs:
        if ours != theirs:
            raise Fault(
                f"The card {card.name} has the {key} {ours!r}, and its recipe {card.recipe} has "
                f"{theirs!r}.",
                f"Correct {key} in one of them.",
            )


def check_recipe(recipe: RecipeFile, record: PluginRecord) -> None:
    """A recipe can be read, names its plugin, and says how large a block is scored."""
    if recipe.error:
        raise Fault(recipe.error, "")
    settings = recipe.settings
    if settings["plugin"] != record.name:
        raise Fault(
            f"{recipe.path.name} has the plugin {settings['plugin']!r} where {record.name!r} is "
            "wanted.",
            "A saved model names it, to say what must be installed.",
        )
    block = settings["model"].get("scoring") or {}
    missing = {"image_block", "text_block"} - block.keys()
    if missing:
        raise Fault(
            f"{recipe.path.name} does not set {' and '.join(sorted(missing))} in model.scoring.",
            "Measure what the aligner needs for a pair, and say how many are scored at once: "
            "scoring=dict(image_block=128, text_block=512).",
        )

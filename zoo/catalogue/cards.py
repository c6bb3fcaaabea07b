"""What the registry says of each model, and finding a model by its name.

A name is `<method>-<dataset>[.<variant>]`: `chan-coco` is the default variant of `chan-coco`,
`chan-coco.bert_butd` another one.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RegistryError, UnknownModelError
from ..model_folders.joining import joined_parts
from .schema import (
    BundledWeights,
    Features,
    Method,
    Model,
    Parts,
    PublishedWeights,
    Results,
    Variant,
)

INSTALLED = "bundled"
"""The folder of an installed package that holds the models which come with it."""
OWN = "own"
"""The status of a model to which the user gave its name."""
STATUSES = ("planned", "unpublished", OWN, "bundled", "published")
"""From the least ready one on; a model of several members has the least of theirs."""
USABLE = STATUSES[2:]


class TakenNameError(RegistryError):
    """A fragment describes a method or model that the registry has already."""


@dataclass(frozen=True)
class Card:
    """One model of the registry: what it is, what it reads, what it scored, how to get it."""

    name: str
    method: str
    title: str
    authors: str | None
    venue: str
    paper: str | None
    reference_code: str | None
    reconstruction: bool
    """Whether the method was made up from its paper's abstract."""
    plugin: str
    dataset: str
    variant: str
    status: str
    license: str | None
    features: Features
    recipe: str | None
    results: Results
    parts: Parts | None
    """What to build when there is no model folder that says it."""
    files: Mapping[str, str]
    """Text files that a new model needs and the package has not: name, and where it comes from."""
    weights: PublishedWeights | None
    folder: Path | None
    """Where a bundled model, or one of the user's own, lies; it may be absent."""
    members: tuple[str, ...] = ()
    """Names of the models that this one is made of, whose scores are averaged."""
    origin: str | None = None
    """Where one of the user's own comes from."""

    @property
    def label(self) -> str:
        """The name as tables of results show it."""
        return f"{self.name} (reconstruction)" if self.reconstruction else self.name

    @property
    def config(self) -> dict[str, Any] | None:
        """The parts and features as config.json has them; None where a folder holds the file."""
        if self.parts is None:
            return None
        parts = self.parts.model_dump(exclude_none=True)
        return {**parts, "features": self.features.model_dump(exclude={"boxes"})}

    @property
    def is_here(self) -> bool:
        """Whether the folder of a bundled model is there: some lie in a checkout only."""
        try:
            return self.folder is not None and self.folder.is_dir()
        except OSError:  # somebody else's, or a disk that is away
            return False

    @property
    def status_here(self) -> str:
        """The status, and whether a bundled model is absent from this installation."""
        absent = self.folder is not None and not self.is_here
        return f"{self.status} (not here)" if absent else self.status

    @property
    def how_to_get(self) -> str:
        """One or two sentences that say how to come by the weights."""
        if self.status in USABLE and self.members:
            return f"The mean of {' and '.join(self.members)}: zoo.load({self.name!r})."
        if self.status == OWN:
            return self._how_to_get_own()
        if self.folder is not None:
            return self._how_to_get_bundled(self.folder)
        if self.weights is not None:
            return f"Its weights are on the Hub at {self.weights.repo}: zoo.load({self.name!r})."
        ways = [f"train it (zoo train {self.recipe} --data PATH)"] if self.recipe else []
        if self.members:
            ways = [
                f"train {' and '.join(self.members)} (zoo info NAME says how) and give each its "
                "name (zoo register FOLDER --name NAME)"
            ]
        if self.parts is not None:
            ways += [
                "give weights of your own with the vocabulary beside them "
                f'(zoo.load({self.name!r}, weights="FILE.safetensors"))',
                f"start from random ones ({self.random_start})",
            ]
        advice = ", or ".join(ways) or "choose another model (`zoo list` shows them)"
        return f"No weights are published. {advice[0].upper()}{advice[1:]}."

    def _how_to_get_bundled(self, folder: Path) -> str:
        if self.is_here:
            where = "Comes with the package" if folder.parent.name == INSTALLED else "Lies here"
            return f"{where}: zoo.load({self.name!r})."
        train = f", or train it: zoo train {self.recipe} --data PATH" if self.recipe else ""
        return (
            "Its weights come with the source repository, and the package leaves them out. Clone "
            "the repository and load them by their folder: "
            f'zoo.load("local-dir:CLONE/{folder.parent.name}/{folder.name}"){train}.'
        )

    def _how_to_get_own(self) -> str:
        if self.is_here:
            return f"Your own, {self.origin}, in {self.folder}: zoo.load({self.name!r})."
        return (
            f"Your own, {self.origin}, and its folder {self.folder} is gone. Put it back, name "
            f"it where it is now (zoo register FOLDER --name {self.name}), or give the name up: "
            f"zoo unregister {self.name}."
        )

    @property
    def random_start(self) -> str:
        """The call that builds the model anew, and what it needs that is not there."""
        if not self.files:
            return f'zoo.load({self.name!r}, weights="random")'
        needed = " and ".join(f"the {file} of {source}" for file, source in self.files.items())
        call = f'zoo.load({self.name!r}, weights="random", files="FOLDER")'
        return f"{call}, FOLDER with {needed}"


@dataclass(frozen=True)
class Registry:
    """Methods and models by name, from one registry file and the fragments of plugins."""

    methods: Mapping[str, Method] = field(default_factory=dict[str, Method])
    models: Mapping[str, Model] = field(default_factory=dict[str, Model])
    homes: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """The folder of the file that describes each model; bundled weights lie under it."""
    own: Mapping[str, Card] = field(default_factory=dict[str, Card])
    """The user's own models, which stand in for those of the same name."""

    def cards(self) -> Iterator[Card]:
        """A card for each variant of each model, sorted by name, the default variant first."""
        return map(self.find, self.names())

    def names(self) -> list[str]:
        """The name of each card, sorted."""
        shared = {
            name if variant == model.default else f"{name}.{variant}"
            for name, model in self.models.items()
            for variant in model.variants
        }
        return sorted(shared | self.own.keys())

    def find(self, name: str) -> Card:
        """The card of that name.

        Raises `UnknownModelError` with the nearest name.

        >>> from zoo.catalogue.registry import shipped_registry
        >>> shipped_registry().find("chan-coco").variant
        'bigru_butd'
        """
        if name in self.own:
            return self.own[name]
        model, _, variant = name.partition(".")
        if model in self.models and (not variant or variant in self.models[model].variants):
            card = self._card(model, self.models[model], variant or self.models[model].default)
            return self.own.get(card.name, card)
        raise UnknownModelError(f"No model is called {name!r}. {self._suggestion(name)}")

    def _suggestion(self, name: str) -> str:
        near = difflib.get_close_matches(name.lower(), self.names(), n=1)
        return f"Did you mean {near[0]!r}?" if near else "`zoo list` shows the names."

    def _card(self, name: str, model: Model, variant_name: str) -> Card:
        variant = model.variants[variant_name]
        method = self.methods[model.method]
        members = tuple(self.find(member) for member in variant.members or ())
        return Card(
            name=name if variant_name == model.default else f"{name}.{variant_name}",
            method=model.method,
            title=method.title,
            authors=method.authors,
            venue=method.venue,
            paper=method.paper,
            reference_code=method.reference_code,
            reconstruction=method.reconstruction,
            plugin=method.plugin,
            dataset=model.dataset,
            variant=variant_name,
            status=variant.status or min((one.status for one in members), key=STATUSES.index),
            license=variant.license,
            features=variant.features,
            recipe=variant.recipe,
            results=variant.results,
            parts=variant.parts or parts_together(members),
            files={**variant.files, **{k: v for one in members for k, v in one.files.items()}},
            weights=variant.weights if isinstance(variant.weights, PublishedWeights) else None,
            folder=_bundled_folder(variant, self.homes[name]),
            members=tuple(one.name for one in members),
        )


def parts_together(members: Sequence[Card]) -> Parts | None:
    """The parts of a model that is made of these, where the registry says those of each."""
    configs = [one.config for one in members]
    if not configs or None in configs:
        return None
    parts = joined_parts([config for config in configs if config is not None])
    return Parts.model_validate({name: parts[name] for name in parts if name != "features"})


def _bundled_folder(variant: Variant, home: Path) -> Path | None:
    """The folder beside the registry file; in an installed package, its copy under `bundled/`."""
    if not isinstance(variant.weights, BundledWeights):
        return None
    folder = home / variant.weights.folder
    installed = home / INSTALLED / folder.name
    return installed if installed.is_dir() else folder

"""The model that a run goes on from: its weights, its words, and whether they fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import Member
from ..errors import InputError
from ..files import sha256
from ..loading.fitting import PARTS, shortened
from ..loading.pulling import pull
from ..loading.weights import load_folder
from ..model import MatchingModel
from ..model_folders.folder import CONFIG, WEIGHTS
from .overrides import flatten
from .recipe import Recipe


@dataclass(frozen=True)
class Parent:
    """A trained model, and what tells it from others.

    given: as the user named it
    """

    given: str
    name: str
    sha256: str
    model: MatchingModel

    @property
    def identity(self) -> Member:
        """As the model that comes of it records it."""
        return Member(name=self.name, sha256=self.sha256)

    @property
    def settings(self) -> dict[str, Any]:
        """The parts and the features, as a recipe has them, by dotted name."""
        assert self.model.config is not None
        return _parts(self.model.config.model_dump())

    def check_parts(self, recipe: Recipe) -> None:
        """Raise `InputError` that names each part of another type, and other features."""
        theirs, ours = self.settings, _parts(recipe["model"])
        self._refuse(
            [
                f"{key} is {theirs.get(key)!r} in the parent and {ours.get(key)!r} in the recipe"
                for key in (*(f"{part}.type" for part in PARTS), "features.kind", "features.dim")
                if theirs.get(key) != ours.get(key)
            ]
        )

    def adopt(self, model: MatchingModel) -> list[str]:
        """Give a model of the same parts these weights; what differs and yet fits, in words.

        Raises `InputError` that names all tensors that do not fit.
        """
        assert model.config is not None
        self._refuse(list(_other_tensors(self.model, model)))
        model.load_state_dict(self.model.state_dict())
        ours = _parts(model.config.model_dump())
        model.config = model.config.model_copy(update={"parent": self.identity})
        return list(_other_settings(self.settings, ours))

    def _refuse(self, faults: list[str]) -> None:
        if faults:
            raise InputError(
                f"{self.given} cannot be the parent of the recipe's model: {shortened(faults)}. "
                "Give the recipe the parts that the parent's config.json has (--set "
                "model.PART.KEY=VALUE), or choose another parent."
            )


def open_parent(given: str | Path) -> Parent:
    """The model of that name, or in that folder, which may be a run's.

    Raises what `zoo.load` raises.
    """
    folder = next((one for one in (Path(given) / "model", Path(given)) if _is_model(one)), None)
    folder = folder or pull(str(given))
    model = load_folder(folder)
    assert model.config is not None
    return Parent(str(given), model.config.name, sha256(folder / WEIGHTS), model)


def with_parent(recipe: Recipe) -> Recipe:
    """The recipe of a run with a parent: it has the words, and every weight to begin with."""
    none = dict.fromkeys(recipe["initial_weights"])
    settings: Mapping[str, Any] = {"vocabulary": None, "initial_weights": none}
    return replace(recipe, settings={**recipe.settings, **settings})


def _is_model(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()


def _other_tensors(parent: MatchingModel, model: MatchingModel) -> Iterator[str]:
    theirs, ours = parent.state_dict(), model.state_dict()
    for name in sorted(theirs.keys() | ours.keys()):
        if name not in theirs:
            yield f"{name} is not in the parent"
        elif name not in ours:
            yield f"{name} of the parent has no place"
        elif theirs[name].shape != ours[name].shape:
            was, now = tuple(theirs[name].shape), tuple(ours[name].shape)
            yield f"{name} is {was} in the parent and {now} in the recipe"


def _other_settings(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Options that need no other weights and yet compute something else, or learn otherwise."""
    for key in sorted(theirs.keys() | ours.keys()):
        was, now = theirs.get(key, "its default"), ours.get(key, "its default")
        if was != now:
            yield f"{key} was {was!r} in the parent and is {now!r}"


def _parts(model: Mapping[str, Any]) -> dict[str, Any]:
    return flatten({part: model.get(part) or {} for part in (*PARTS, "features")})

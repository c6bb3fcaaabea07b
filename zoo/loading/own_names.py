"""The user's own registry: names for model folders, in registry.json of the zoo's home.

A name stands in for the registered model of the same name. What is kept is where the folder lies
and what its configuration said when it got the name; nothing of the model itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..catalogue.cards import OWN, Card, Registry
from ..catalogue.schema import Features as ReadFeatures
from ..catalogue.schema import Results
from ..config import Features, ModelConfig
from ..errors import InputError, RegistryError, UnknownModelError
from ..files import write_atomically
from ..home import home
from ..hub.snapshot_folders import writing
from ..lock import held
from ..model_folders.folder import WEIGHTS, read_folder_config
from ..model_folders.safe_tensors import opened
from ..plugins.discovery import discover

FILE = "registry.json"
NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9_+]+)*")
LONGEST_NAME = 100
UNKNOWN = "unknown"
SHARED = ("bundled", "published")


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class OwnModel(_Entry):
    """A model of the user's own.

    folder: where it lies
    origin: where it comes from, in words
    date:   when it got its name
    method, plugin, features: as its configuration says them
    """

    folder: str
    origin: str
    date: str
    method: str
    plugin: str
    features: Features


class OwnNames(_Entry):
    """The content of the file."""

    schema_version: Literal[1] = 1
    models: Mapping[str, OwnModel] = {}


def registry() -> Registry:
    """All models by name: those of the package and of plugins, and the user's own.

    Raises `RegistryError` when the user's own registry is damaged.
    """
    shared = discover().registry
    own = {name: _card(name, model, shared) for name, model in _read().models.items()}
    return replace(shared, own=own)


def register(folder: str | Path, name: str, *, force: bool = False) -> Card | None:
    """Give a model's folder a name of the user's own; the card of what had the name before.

    The folder stays where it is. Raises `InputError` for what is no name, and without `force` for
    the name of a model whose weights there are; `WeightsError` for what is no model folder, and
    where the home cannot be written.
    """
    place = Path(folder).expanduser().resolve()
    check_free(name, force=force)
    config = read_folder_config(place)
    with opened(place / WEIGHTS):
        pass  # its header is sound
    with _alone():
        before = check_free(name, force=force)
        name = before.name if before else name
        models = {**_read().models, name: _described(place, config)}
        _write(OwnNames(models=models))
    return before


def check_free(name: str, *, force: bool = False) -> Card | None:
    """Raise `InputError` where `register` would not give the name; the card of what has it now."""
    if not _is_name(name):
        raise InputError(
            f"{name!r} is no name for a model. Use small letters, digits and hyphens, and a dot "
            "before a variant, such as chan-coco or chan-coco.mine."
        )
    before = _known(name)
    if before is not None and before.status in SHARED and not force:
        raise InputError(
            f"{before.name} is the name of a {before.status} model. Choose another name, or take "
            "its place with force (--force)."
        )
    return before


def unregister(name: str) -> Path:
    """Give up a name of the user's own; the folder, which stays. Raises `UnknownModelError`."""
    with _alone():
        known = _read().models
        before = _known(name)
        name = before.name if before else name
        if name not in known:
            own = f"Yours are {', '.join(sorted(known))}." if known else "You have given none."
            raise UnknownModelError(f"{name!r} is no name that you gave. {own}")
        _write(OwnNames(models={one: model for one, model in known.items() if one != name}))
    return Path(known[name].folder)


def own_file() -> Path:
    """Where the names are kept."""
    return home() / FILE


def _read() -> OwnNames:
    path = own_file()
    try:
        found = OwnNames.model_validate_json(path.read_bytes())
        wrong = [name for name in found.models if not _is_name(name)]
    except (FileNotFoundError, NotADirectoryError):
        return OwnNames()
    except (OSError, ValidationError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise _damaged(path, str(said)) from error
    if wrong:
        raise _damaged(path, f"{wrong[0]!r} is no name")
    return found


def _damaged(path: Path, fault: str) -> RegistryError:
    return RegistryError(
        f"{path}, your own registry, cannot be read ({fault}). Repair it, or move it away and give "
        "the names again: zoo register FOLDER --name NAME"
    )


def _write(names: OwnNames) -> None:
    write_atomically(own_file(), (names.model_dump_json(indent=2) + "\n").encode())


@contextmanager
def _alone() -> Iterator[None]:
    """One process changes the file, while the others wait."""
    with writing(home()), held(home() / f".{FILE}.lock", wait=True):
        yield


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST_NAME and NAME.fullmatch(name) is not None


def _known(name: str) -> Card | None:
    try:
        return registry().find(name)
    except UnknownModelError:
        return None


def _described(folder: Path, config: ModelConfig) -> OwnModel:
    date = datetime.now(UTC).date().isoformat()
    return OwnModel(
        folder=str(folder),
        origin=f"{_origin(config)}, named on {date}",
        date=date,
        method=config.method,
        plugin=config.plugin.name if config.plugin else UNKNOWN,
        features=config.features,
    )


def _origin(config: ModelConfig) -> str:
    if config.source is not None:
        return f"imported from {config.source.file} (sha256 {config.source.sha256[:12]})"
    if config.members:
        return f"joined of {' and '.join(one.name for one in config.members)}"
    return f"saved as {config.name}"


def _card(name: str, model: OwnModel, shared: Registry) -> Card:
    """The card of an own model; what its folder does not say is that of the one it stands for."""
    try:
        other: Card | None = shared.find(name)
    except UnknownModelError:
        other = None
    method = shared.methods.get(model.method)
    alike = [card for card in shared.cards() if card.method == model.method]
    return Card(
        name=name,
        method=model.method,
        title=method.title if method else model.method,
        authors=method.authors if method else None,
        venue=method.venue if method else UNKNOWN,
        paper=method.paper if method else None,
        reference_code=method.reference_code if method else None,
        reconstruction=method.reconstruction if method else False,
        plugin=model.plugin,
        dataset=other.dataset if other else _dataset(name, shared),
        variant=other.variant if other else OWN,
        status=OWN,
        license=None,
        features=ReadFeatures.model_construct(
            **model.features.model_dump(),
            boxes=other.features.boxes if other else any(one.features.boxes for one in alike),
        ),
        recipe=other.recipe if other and other.method == model.method else None,
        results=Results(paper=other.results.paper if other else ()),
        parts=None,
        files={},
        weights=None,
        folder=Path(model.folder),
        origin=model.origin,
    )


def _dataset(name: str, shared: Registry) -> str:
    """The data set that a name tells, if it tells a known one."""
    last = name.partition(".")[0].rpartition("-")[2]
    return last if last in {model.dataset for model in shared.models.values()} else UNKNOWN

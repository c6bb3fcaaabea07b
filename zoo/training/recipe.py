"""Recipes: one MMEngine config file (trusted, local Python) for each run that is published."""

from __future__ import annotations

import ast
import copy
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InputError

REQUIRED = ("name", "method", "model", "loss", "data", "optim_wrapper", "train_cfg")
DEFAULTS: dict[str, Any] = {
    "plugin": None,
    "vocabulary": None,
    "initial_weights": {
        "extractor": None,
        "image_encoder": None,
        "text_encoder": None,
        "aligner": None,
    },
    "warm_up": None,
    "data": {
        "inputs": "photos",
        "by": "caption",
        "captions_per_image": 1,
        "batch_size": 128,
        "drop_last": True,
        "workers": 2,
        "train": "train",
        "dev": "dev",
    },
    "param_scheduler": None,
    "average": None,
    "autocast": [],
    "checkpoint": {"every": None, "keep": 2},
    "log_every": 20,
    "seed": 2022,
}
WITHOUT_EFFECT = ("data.workers", "checkpoint.every", "checkpoint.keep", "log_every")
"""Settings that a resumed run may change, for they leave the weights as they are."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a run as plain values, after defaults and overrides."""

    path: Path
    settings: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self.settings[key])

    def to_json(self) -> str:
        """The settings as JSON text: what a run records."""
        return json.dumps(self.settings, indent=2) + "\n"


def read_recipe(recipe: Path | str, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """The recipe of that name or path, with `key=value` overrides put in.

    Raises `InputError` when there is no such recipe, when it is no valid Python, or when a key
    of it or of an override is unknown (the nearest known one is suggested).
    """
    path = find_recipe(recipe)
    settings = _with_defaults(_read_file(path), path)
    for key, value in _parse(overrides).items():
        _override(settings, key, value)
    return Recipe(path, json.loads(json.dumps(settings)))


def find_recipe(recipe: Path | str) -> Path:
    """The file of a recipe: a path, or a name such as "chan-f8k" that an installed plugin has."""
    path = Path(recipe)
    if path.suffix == ".py" or path.is_file():
        if path.is_file():
            return path.resolve()
        raise InputError(f"There is no recipe file {path}. Check the path, or give a recipe name.")
    known = list_recipes()
    if str(recipe) in known:
        return known[str(recipe)]
    raise InputError(
        f"No recipe is called {str(recipe)!r}. {suggest(str(recipe), known)} "
        "A path to a recipe file (.py) works too."
    )


def list_recipes() -> dict[str, Path]:
    """Every recipe of the loaded plugins: name to file.

    The file of a recipe bears its name with - and . turned into _.
    """
    files = [
        file
        for folder in _plugin_folders()
        for file in sorted((folder / "recipes").glob("*.py"))
        if not file.name.startswith("_")
    ]
    return {_recipe_name(file): file for file in files}


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs in two recipes and would change the weights, one line a setting."""
    old, new = flatten(before), flatten(now)
    absent = "absent"
    return [
        f"{key}: was {old.get(key, absent)!r}, is {new.get(key, absent)!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in WITHOUT_EFFECT and old.get(key, absent) != new.get(key, absent)
    ]


def suggest(word: str, known: Iterable[str]) -> str:
    """The known names nearest to a word, as the second sentence of an error."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3)
    if near:
        return f"Did you mean {' or '.join(repr(one) for one in near)}?"
    return f"Known: {', '.join(known) or 'none'}."


def _plugin_folders() -> list[Path]:
    from ..plugins import discover

    loaded = [record for record in discover().records if record.status == "loaded"]
    modules = [import_module(record.module.partition(":")[0]) for record in loaded]
    return [Path(module.__file__).parent for module in modules if module.__file__]


def _recipe_name(file: Path) -> str:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id == "name":
                return str(node.value.value)
    return file.stem.replace("_", "-")


def _read_file(path: Path) -> dict[str, Any]:
    from mmengine.config import Config

    try:
        ast.parse(path.read_text(encoding="utf-8"))  # MMEngine's own error leaves a file open
        settings = Config.fromfile(path, lazy_import=False).to_dict()
        json.dumps(settings)
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as a recipe ({type(error).__name__}: {error}). "
            "A recipe is Python that sets names to numbers, strings, lists and dicts."
        ) from error
    return dict(settings)


def _with_defaults(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    known = [*REQUIRED, *DEFAULTS]
    for key in given:
        if key not in known:
            raise InputError(f"{path} sets {key!r}, which is no recipe key. {suggest(key, known)}")
    missing = [key for key in REQUIRED if key not in given]
    if missing:
        raise InputError(f"{path} does not set {', '.join(missing)}. Add it to the recipe.")
    settings = copy.deepcopy(DEFAULTS) | copy.deepcopy(dict(given))
    for key in ("data", "initial_weights", "checkpoint"):
        for name in given.get(key) or {}:
            if name not in DEFAULTS[key]:
                raise InputError(
                    f"{path} sets {key}.{name}, which is unknown. {suggest(name, DEFAULTS[key])}"
                )
        settings[key] = copy.deepcopy(DEFAULTS[key]) | dict(given.get(key) or {})
    return settings


def _parse(overrides: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    if isinstance(overrides, Mapping):
        return dict(overrides)
    parsed: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or not key.strip():
            raise InputError(
                f"The setting {override!r} is not of the form key=value. "
                "Write it as in data.batch_size=64."
            )
        parsed[key.strip()] = _literal(value.strip())
    return parsed


def _literal(text: str) -> Any:
    words = {"true": True, "false": False, "none": None, "null": None}
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return words.get(text.lower(), text)


def _override(settings: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    inside: Any = settings
    for depth, part in enumerate(parents):
        inside = inside[_known(inside, part, parents[:depth], key)]
    inside[_known(inside, last, parents, key)] = value


def _known(inside: Any, part: str, parents: Sequence[str], key: str) -> Any:
    """The key or list position that `part` names; an error that helps if it names none."""
    where = ".".join(parents) or "the recipe"
    if isinstance(inside, list):
        if part.isdigit() and int(part) < len(inside):
            return int(part)
        names: Iterable[str] = map(str, range(len(inside)))
    elif isinstance(inside, dict):
        if part in inside:
            return part
        names = inside
    else:
        raise InputError(
            f"The setting {key!r} cannot be made: {where} is {inside!r} and has no parts. "
            f"Set {where} as a whole, as in {where}={{'{part}': VALUE}}."
        )
    prefix = "".join(f"{parent}." for parent in parents)
    raise InputError(
        f"The setting {key!r} does not exist: {where} has no {part!r}. "
        f"{suggest(prefix + part, [prefix + name for name in names])}"
    )

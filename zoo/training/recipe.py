"""Recipes: one MMEngine config file (trusted, local Python) for each run that is published."""

from __future__ import annotations

import ast
import copy
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ..errors import InputError, ZooError
from ..spelling import nearest
from .inheritance import with_paths
from .overrides import override
from .settings import checked


@dataclass(frozen=True)
class Recipe:
    """The settings of a run as plain values, after defaults and overrides.

    ablations: variants of the run, row name -> overrides; no part of any run's settings
    """

    path: Path
    settings: Mapping[str, Any]
    ablations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, dict[str, Any]])

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self.settings[key])


def read_recipe(recipe: Path | str, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Recipe:
    """The recipe of that name or path, with `key=value` overrides put in.

    Raises `InputError` when there is no such recipe, when it is no valid Python, or when a key
    of it or of an override is unknown (the nearest known one is suggested).
    """
    path = find_recipe(recipe)
    settings = checked(_read_file(path), path)
    ablations = settings.pop("ablations")
    override(settings, overrides)
    settings = checked(_plain(settings), path)
    del settings["ablations"]
    return Recipe(path, settings, ablations)


def find_recipe(recipe: Path | str) -> Path:
    """The file of a recipe: a path, or a name such as "chan-f8k" that an installed plugin has.

    Raises `InputError` when there is none, and when two plugins have one of that name.
    """
    path = Path(recipe)
    if path.suffix == ".py" or path.is_file():
        if path.is_file():
            return path.resolve()
        raise InputError(f"There is no recipe file {path}. Check the path, or give a recipe name.")
    known = list_recipes()
    files = known.get(str(recipe), [])
    if len(files) > 1:
        raise InputError(
            f"{len(files)} recipes are called {str(recipe)!r}: {' and '.join(map(str, files))}. "
            "Give the path of the one that you mean."
        )
    if files:
        return files[0]
    raise InputError(
        f"No recipe is called {str(recipe)!r}. {nearest(str(recipe), known)} "
        "A path to a recipe file (.py) works too."
    )


def list_recipes() -> dict[str, list[Path]]:
    """Every recipe of the loaded plugins: name to file; more than one where a name is taken twice.

    The file of a recipe bears its name with - and . turned into _.
    """
    recipes: dict[str, list[Path]] = {}
    for folder in _plugin_folders():
        for file in sorted((folder / "recipes").glob("*.py")):
            if not file.name.startswith("_"):
                recipes.setdefault(_recipe_name(file), []).append(file)
    return recipes


def _plugin_folders() -> list[Path]:
    from ..plugins.discovery import discover

    loaded = [record for record in discover().records if record.status == "loaded"]
    modules = [import_module(record.module.partition(":")[0]) for record in loaded]
    return [Path(module.__file__).parent for module in modules if module.__file__]


def _recipe_name(file: Path) -> str:
    """The name that the file sets; for one that cannot be read, as its file is called."""
    try:
        body = ast.parse(file.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):
        body = []  # whoever asks for it is told what is wrong with it
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id == "name":
                return str(node.value.value)
    return file.stem.replace("_", "-")


def _read_file(path: Path) -> dict[str, Any]:
    from mmengine.config import Config

    try:
        ast.parse(path.read_text(encoding="utf-8"))  # MMEngine's own error leaves a file open
        with tempfile.TemporaryDirectory() as folder:
            whole = with_paths(path, Path(folder), find_recipe)
            settings = Config.fromfile(whole, lazy_import=False).to_dict()
    except ZooError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error
    try:
        return _plain(settings)
    except InputError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path} cannot be read as a recipe ({type(error).__name__}: {error}). "
        "A recipe is Python that sets names to numbers, strings, lists and dicts."
    )


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON has them, which is how a run records them."""
    try:
        return dict(json.loads(json.dumps(settings)))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"A setting of the recipe is no plain value ({error}). "
            "Set numbers, strings, lists and dicts."
        ) from error

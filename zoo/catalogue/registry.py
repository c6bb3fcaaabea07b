"""Reading registry.yaml, the package's and those of plugins; its errors name file and line."""

from __future__ import annotations

import reprlib
from functools import cache
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import InputError, RegistryError, UnknownModelError
from . import strict_yaml
from .cards import Registry, TakenNameError, parts_together
from .schema import WEIGHTS_TAGS, RegistryFile, Variant


def read_registry(path: Path, onto: Registry | None = None) -> Registry:
    """Read a registry file, added to what is known already.

    Raises `RegistryError`, naming file, line and key, and `TakenNameError` (one of those) when it
    describes a method or model that `onto` has.
    """
    onto = onto or Registry()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RegistryError(
            f"The registry file {path} cannot be read ({error.strerror}). "
            "Reinstall what it belongs to."
        ) from error
    document = strict_yaml.parse(data, path.name)
    added = _validate(document)
    _check_names(added, onto, document)
    homes = dict.fromkeys(added.models, path.parent)
    registry = Registry(
        {**onto.methods, **added.methods},
        {**onto.models, **added.models},
        {**onto.homes, **homes},
    )
    _check_members(added, registry, document)
    return registry


@cache
def shipped_registry() -> Registry:
    """The registry that comes with the package, without what plugins add."""
    package = Path(__file__).parents[1]
    inside = package / "registry.yaml"
    return read_registry(inside if inside.is_file() else package.parent / "registry.yaml")


def _validate(document: strict_yaml.Document) -> RegistryFile:
    try:
        return RegistryFile.model_validate(document.value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        first = problems[0]
        place = document.place(tuple(part for part in first["loc"] if part not in WEIGHTS_TAGS))
        others = f" ({len(problems) - 1} more problems follow.)" if len(problems) > 1 else ""
        raise RegistryError(f"{place}: {_fault(first)}. Correct that entry.{others}") from None


def _fault(problem: ErrorDetails) -> str:
    """What is wrong, with the value found and the value wanted."""
    if problem["type"] == "missing":
        return "it is missing"
    if problem["type"] == "value_error":  # our own words, which name the values
        return problem["msg"].removeprefix("Value error, ")
    return f"{problem['msg']}; found {reprlib.repr(problem['input'])}"


def _check_names(added: RegistryFile, onto: Registry, document: strict_yaml.Document) -> None:
    for section in ("methods", "models"):
        for name in getattr(added, section):
            if name in getattr(onto, section):
                place = document.place((section, name))
                owner = _owner(onto, section, name)
                raise TakenNameError(
                    f"{place}: the name is taken already, by plugin {owner!r}. Choose another name."
                )
    for name, model in added.models.items():
        if model.method not in added.methods and model.method not in onto.methods:
            place = document.place(("models", name, "method"))
            raise RegistryError(
                f"{place}: no method is called {model.method!r}. Describe it under methods."
            )


def _owner(registry: Registry, section: str, name: str) -> str:
    method = name if section == "methods" else registry.models[name].method
    return registry.methods[method].plugin


def _check_members(added: RegistryFile, registry: Registry, document: strict_yaml.Document) -> None:
    """Members are models of one kind of features, and not made of members themselves."""
    for name, model in added.models.items():
        for key, variant in model.variants.items():
            place = document.place(("models", name, "variants", key, "members"))
            try:
                for member in variant.members or ():
                    _check_member(member, variant, registry)
                parts_together([registry.find(member) for member in variant.members or ()])
            except (InputError, UnknownModelError, ValueError) as error:
                raise RegistryError(f"{place}: {error}") from None


def _check_member(name: str, variant: Variant, registry: Registry) -> None:
    model, _, key = name.partition(".")
    found = registry.models.get(model)
    member = found.variants.get(key or found.default) if found else None
    if member is None:
        registry.find(name)
    elif member.members is not None:
        raise ValueError(f"{name} is made of members itself. Name those in its place.")
    elif member.features != variant.features:
        raise ValueError(f"{name} reads other features. Correct the features of one of them.")

"""What a registry file says of a model that is published, made from what was pushed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from ..catalogue import strict_yaml
from ..catalogue.cards import Registry
from ..catalogue.registry import read_registry
from ..catalogue.schema import Variant
from ..config import ModelConfig
from ..errors import DataError, InputError
from ..files import Pin
from ..plugins.discovery import discover
from ..report.recalls import RECALLS, WAYS
from ..report.tables import feature_words
from .folder import Publishable
from .yaml_edits import set_value, to_yaml

NAME = re.compile(
    r"(?P<model>[a-z0-9-]+-(?P<dataset>[a-z0-9]+))"
    r"(?:\.(?P<variant>[a-z0-9_+]+(?:\.[a-z0-9_+]+)*))?"
)
SAME = ("dataset", "split", "protocol", "command", "data_fingerprint", "date", "device")
"""What a row of a registry has as results.json has it."""


def entry_of(
    model: Publishable, repo: str, commit: str, files: Mapping[str, Pin]
) -> dict[str, Any]:
    """The entry of one variant: where it is published, and what was measured of its weights.

    Raises `DataError` for what cannot stand in a registry.
    """
    config = model.config
    pins = {name: {"sha256": pin.digest, "size": pin.size} for name, pin in sorted(files.items())}
    entry = {
        "status": "published",
        "license": model.license,
        "features": {**config.features.model_dump(), "boxes": model.boxes},
        "weights": {"repo": repo, "revision": commit, "files": pins},
        "results": {"measured": [_measured(row) for row in model.own]},
    }
    try:
        Variant.model_validate(strict_yaml.parse(to_yaml(entry).encode(), config.name).value)
    except ValidationError as error:
        fault = error.errors()[0]
        raise DataError(
            f"{config.name} cannot stand in a registry: {'.'.join(map(str, fault['loc']))}: "
            f"{fault['msg']}. Correct its config.json, or measure it again: "
            "zoo evaluate FOLDER --data PATH --save-results"
        ) from error
    return entry


def place_of(config: ModelConfig, registry: Registry) -> tuple[str, str]:
    """The model and the variant in it.

    Raises `InputError` for a name that no registry can have, and for one that stands there for a
    mean of several models or for a model that reads other features.
    """
    parts = NAME.fullmatch(config.name)
    if parts is None or parts["model"] != f"{config.method}-{parts['dataset']}":
        raise InputError(
            f"{config.name!r} is no name for a registry, where models of this method are called "
            f"{config.method}-DATASET or {config.method}-DATASET.VARIANT. Give the model such a "
            "name in config.json, or keep it out of the registry."
        )
    known = registry.models.get(parts["model"])
    variant = parts["variant"] or (known.default if known else _usual(config))
    if known and variant in known.variants:
        _check_same(config, known.variants[variant])
    return parts["model"], variant


def _check_same(config: ModelConfig, known: Variant) -> None:
    """Raise `InputError` for a model that is not what its name stands for in a registry."""
    ours, theirs = feature_words(config.features), feature_words(known.features)
    if known.members:
        other = f"the mean of the scores of {' and '.join(known.members)}: publish these"
    elif ours != theirs:
        other = f"a model that reads {theirs} features, and this one reads {ours}: correct either"
    else:
        return
    raise InputError(
        f"{config.name} stands in the registry for {other}, or name this model another variant in "
        f"its config.json ({config.method}-DATASET.VARIANT)."
    )


def as_yaml(config: ModelConfig, entry: Mapping[str, Any]) -> str:
    """The entry as it stands in a registry, without what else stands there."""
    model, variant = place_of(config, discover().registry)
    return to_yaml({"models": {model: _new_model(config, model, variant, entry)}})


def with_entry(path: Path, config: ModelConfig, entry: Mapping[str, Any]) -> str:
    """The text of a registry file, with the entry in it and all else as it stands.

    Raises `RegistryError` for a file that cannot be changed so or is not sound, `InputError` for a
    model that cannot have an entry there.
    """
    data = path.read_bytes()
    registry = _registry(path, data)
    text, line_end = data.decode("utf-8"), "\r\n" if b"\r\n" in data else "\n"
    text = text.replace("\r\n", "\n")
    model, variant = place_of(config, registry)
    known = registry.models[model].variants if model in registry.models else {}
    if variant in known and known[variant].status == "bundled":
        raise InputError(
            f"{config.name} comes with the package, and {path} says so. Leave out --register, or "
            "take its weights out of the package first."
        )
    for keys, value in _changes(config, model, variant, entry, registry):
        text = set_value(text, ("models", model, *keys), value, path.name)
    _registry(path, text.encode())
    return text.replace("\n", line_end)


def _changes(
    config: ModelConfig, model: str, variant: str, entry: Mapping[str, Any], registry: Registry
) -> list[tuple[tuple[str, ...], Any]]:
    """The keys below the model's, and what is to stand there; the paper's results stay."""
    if model not in registry.models:
        return [((), _new_model(config, model, variant, entry))]
    here = ("variants", variant)
    if variant not in registry.models[model].variants:
        return [(here, entry)]
    kept = [((*here, key), value) for key, value in entry.items() if key != "results"]
    return [*kept, ((*here, "results", "measured"), entry["results"]["measured"])]


def _new_model(
    config: ModelConfig, model: str, variant: str, entry: Mapping[str, Any]
) -> dict[str, Any]:
    dataset = model.rpartition("-")[2]
    above = {"method": config.method, "dataset": dataset, "default": variant}
    return above | {"variants": {variant: entry}}


def _usual(config: ModelConfig) -> str:
    """The variant's name as most are called: what reads the words, and the features."""
    reader = config.text_encoder.get("reader", config.text_encoder)
    return re.sub(r"[^a-z0-9_+]", "_", f"{reader['type']}_{config.features.kind}".lower())


def _registry(path: Path, data: bytes) -> Registry:
    """What a registry file with this content says; its methods may stand in other files."""
    value = strict_yaml.parse(data, path.name).value
    own = (value.get("methods") if isinstance(value, dict) else None) or {}
    others = {name: one for name, one in discover().registry.methods.items() if name not in own}
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(data)
        return read_registry(copy, Registry(methods=others))


def _measured(row: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: row[key] for key in SAME if row.get(key) is not None}
    ways = {way: {at: float(row["metrics"][f"{way}_{at}"]) for at in RECALLS} for way in WAYS}
    code = row.get("code") or row.get("zoo_version")
    told["seed"] = row.get("seed")  # nobody knows that of an imported checkpoint
    return told | ways | {"rsum": float(row["metrics"]["rsum"]), "code_version": code}

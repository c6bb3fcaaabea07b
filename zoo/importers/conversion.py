"""From a checkpoint of another program to a model folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config import ModelConfig, Source
from ..errors import WeightsError, ZooError
from ..model import MatchingModel, build_model
from ..plugins.discovery import component_table, discover
from ..version import __version__
from .checkpoint import Checkpoint
from .importer import Imported, Importer
from .words import GivenWords

SHOWN = 6
"""Faults that an error names one by one."""


@dataclass(frozen=True)
class Conversion:
    """A model that was made from a checkpoint, and how."""

    model: MatchingModel
    checkpoint: Checkpoint
    imported: Imported


def import_checkpoint(
    method: str, path: Path, *, vocabulary: Path | None = None, name: str | None = None
) -> Conversion:
    """The model in a checkpoint that a program of the field saved; `save` it to keep it.

    `vocabulary` is the file of words or word pieces that the checkpoint was trained with, where it
    does not bring its own. `name` becomes the model's; by default that of the registered model
    that it is one of. Nothing in the checkpoint is run.

    Raises `InputError` for a method without an importer and a vocabulary that is wanting, and
    `WeightsError` for a file that is no checkpoint of the method, or has a tensor too many, too few
    or of another shape.

    >>> import_checkpoint("chan", Path("model_best.pth")).model.save("chan")   # doctest: +SKIP
    """
    importer: Importer = component_table().resolve("importer", method)()
    checkpoint = Checkpoint.open(path)
    imported = importer.read(checkpoint, GivenWords(vocabulary))
    config = _checked(method, name, checkpoint, imported)
    model = build_model(config, imported.files).eval()
    model.load_state_dict(imported.account.tensors, strict=True)
    return Conversion(model, checkpoint, imported)


def _checked(
    method: str, name: str | None, checkpoint: Checkpoint, imported: Imported
) -> ModelConfig:
    """The configuration of the model, which was seen to be one that can be built and filled.

    Raises `WeightsError` for sizes of which nothing can be built.
    """
    try:
        config = _config(method, name, checkpoint, imported)
        _check(config, imported, checkpoint.path)
    except ZooError:
        raise
    except (ValueError, AssertionError, ArithmeticError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise WeightsError(
            f"{checkpoint.path} has tensors of sizes of which no model can be built: {said}. "
            "It was made by another version of the program, or is damaged."
        ) from error
    return config


def _config(
    method: str, name: str | None, checkpoint: Checkpoint, imported: Imported
) -> ModelConfig:
    plugin = component_table().entries["importer", method].plugin
    file = os.fsencode(checkpoint.path.name).decode("utf-8", "replace")
    return ModelConfig.model_validate(
        {
            "name": name or imported.card or f"{method}-imported",
            "method": method,
            "plugin": discover().require(plugin).provider,
            "zoo_version": __version__,
            "source": Source(file=file, sha256=checkpoint.sha256, size=checkpoint.size),
            **imported.parts,
            "features": dict(imported.features),
            "scoring": dict(imported.scoring),
        }
    )


def _check(config: ModelConfig, imported: Imported, path: Path) -> None:
    """Raise `WeightsError` that names all tensors that do not fit the model.

    The model is built without memory for its numbers: a damaged file could ask for any size.
    """
    with torch.device("meta"):
        wanted = build_model(config, imported.files).state_dict()
    faults = _faults(wanted, imported.account.tensors, imported.account.origins)
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise WeightsError(
            f"{path} does not fill the model that its options describe: "
            f"{'; '.join(faults[:SHOWN])}{more}. It was made by another version of the program, or "
            "with options that the zoo does not have."
        )


def _faults(
    wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], origins: Mapping[str, str]
) -> list[str]:
    faults = [f"nothing in it becomes {name}" for name in wanted if name not in found]
    for name, tensor in found.items():
        theirs = origins.get(name, name)
        if name not in wanted:
            faults.append(f"{theirs} has no place, since there is no {name}")
        elif tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, wanted {tuple(wanted[name].shape)} for {name}"
            faults.append(f"{theirs} is {shapes}")
        elif tensor.is_floating_point() != wanted[name].is_floating_point():
            faults.append(f"{theirs} holds {tensor.dtype}, wanted {wanted[name].dtype}")
        elif tensor.is_floating_point() and not tensor.isfinite().all():
            faults.append(f"{theirs} holds values that are not finite")
    return faults

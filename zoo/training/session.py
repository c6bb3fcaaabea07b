"""The training session: what `zoo train` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..data.dataset import Dataset, open_dataset
from ..device import usable_device
from ..errors import InputError
from .building import named_files
from .journal import warn
from .recipe import Recipe, read_recipe
from .run import Run
from .run_folder import RunFolder, file_prints, fingerprints, this_command


def train(
    recipe: Path | str,
    data: Path | str,
    work_dir: Path | str,
    *,
    resume: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    features: Path | str | None = None,
    device: str | None = None,
    console: Console | None = None,
) -> Path:
    """Train by a recipe and return the folder of the best model, which `zoo.load` reads.

    The best epoch is chosen by rsum on the dev split; the test split is never opened. Killed at
    any moment and started again with `resume`, a run ends with the same weights, on a CPU bit for
    bit. `device` is CUDA where torch finds it, else the CPU. Raises `InputError` for a recipe or
    an option that cannot be used, and `DataError` for data that are missing, a folder that is
    taken, and a loss that is not finite.

    >>> train("chan-f8k", "data/flickr8k", "runs/f8k", overrides=["seed=1"])    # doctest: +SKIP
    PosixPath('runs/f8k/model')
    """
    settings = read_recipe(recipe, overrides)
    where = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = RunFolder(Path(work_dir))
    console = console or Console(stderr=True)
    store = None if features is None else Path(features)
    training, dev = open_data(settings, Path(data), store)
    data_prints = fingerprints(training, dev) | file_prints(named_files(settings, Path(data)))
    with folder.locked():
        if folder.open(settings, data_prints, resume=resume):
            console.print(f"finished before: {folder.model}", highlight=False, markup=False)
            return folder.model
        run = Run(settings, folder, training, dev, Path(data), data_prints, where, console)
        for change in folder.begin(settings, data_prints, this_command(), str(where)):
            warn(console, f"{change}; the weights may differ in their last bits from then on")
        run.train()
        return run.finish()


def open_data(recipe: Recipe, data: Path, features: Path | None) -> tuple[Dataset, Dataset | None]:
    """The train split and the dev split, with what the recipe reads: photographs or features.

    Raises `InputError` for a recipe that would look at a test split, and for features that a
    recipe for photographs would not read.
    """
    settings = recipe["data"]
    for use in ("train", "dev"):
        if str(settings[use]).startswith("test"):
            raise InputError(
                f"data.{use} is {settings[use]!r}, and training must not see a test split. "
                f"Set data.{use}={use}."
            )
    photos = settings["inputs"] == "photos"
    if photos and features is not None:
        raise InputError(
            f"The recipe trains on photographs, and the features in {features} were given. "
            "Leave the features out, or set data.inputs=features."
        )
    splits = [
        open_dataset(data, settings[use], features=features) if settings[use] else None
        for use in ("train", "dev")
    ]
    training, dev = (
        replace(split, features=None) if split is not None and photos else split for split in splits
    )
    assert training is not None  # a recipe always names it
    return training, dev

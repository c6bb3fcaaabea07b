"""The training session: what `zoo train` does."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..data.dataset import Dataset, open_dataset
from ..device import usable_device
from ..errors import InputError
from ..processes import Processes, own_device
from .building import named_files
from .continuing import Resume, resume_mode
from .journal import warn
from .launchers import Launcher, joined, named_processes, restarted
from .parent import open_parent, with_parent
from .planning import Plan, plan_of
from .recipe import Recipe, read_recipe
from .run import Run, check_division
from .run_folder import RunFolder, file_prints, fingerprints, this_command
from .slurm import check_requeue


def train(
    recipe: Path | str,
    data: Path | str,
    work_dir: Path | str,
    *,
    resume: bool | Resume = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    features: Path | str | None = None,
    device: str | None = None,
    requeue: bool = False,
    parent: Path | str | None = None,
    console: Console | None = None,
    launcher: Launcher = "none",
    seconds: float | None = None,
) -> Path:
    """Train by a recipe and return the folder of the best model, which `zoo.load` reads.

    The best epoch is chosen by rsum on the dev split; the test split is never opened. Killed at
    any moment and started again with `resume`, a run ends with the same weights, on a CPU bit for
    bit; with `resume="loose"` it goes on with other settings, which run.json records. `device` is
    CUDA where torch finds it, else the CPU. `parent` is a model, by name or folder, with whose
    weights and vocabulary the run begins.

    With a `launcher`, torchrun ("pytorch") or srun ("slurm") has started several processes that
    all call this with the same arguments and train one model: batches are divided among them, and
    the first one writes. `seconds` is how long they wait for each other (ZOO_PROCESS_SECONDS, or
    half an hour). Those that the launcher starts again go on from the newest checkpoint.

    A run that is asked to stop (SIGTERM, SIGUSR1, Ctrl-C) saves and raises `SystemExit` with 128
    and the number of the signal. With `requeue`, which implies `resume`, its job of SLURM goes
    back into the queue, but for Ctrl-C.

    Raises `InputError` for a recipe or an option that cannot be used, `DataError` for data that
    are missing, a folder that is taken, and a loss that is not finite, and `LostError` when
    another process ends or does not answer.

    >>> train("chan-f8k", "data/flickr8k", "runs/f8k", overrides=["seed=1"])    # doctest: +SKIP
    PosixPath('runs/f8k/model')
    """
    mode = resume_mode(resume or requeue)
    if requeue:
        check_requeue()
    settings = read_recipe(recipe, overrides)
    forebear = None if parent is None else open_parent(parent)
    if forebear is not None:
        settings = with_parent(settings)
    processes = named_processes(launcher)
    where = usable_device(own_device(device or default_device(), processes))
    folder = RunFolder(Path(work_dir))
    if not processes.first:
        console = Console(quiet=True)
    console = console or Console(stderr=True)
    store = None if features is None else Path(features)
    mode = mode or ("exact" if launcher != "none" and restarted() else None)
    with joined(launcher, where, seconds) as processes, ExitStack() as stack:
        training, dev = open_data(settings, Path(data), store)
        prints = processes.once(lambda: data_prints(settings, Path(data), training, dev))
        if forebear is not None:
            prints["parent"] = forebear.sha256
        processes.once(lambda: stack.enter_context(folder.locked()))
        known = (settings, prints)
        if processes.once(lambda: folder.open(*known, resume=mode, processes=processes.count)):
            console.print(f"finished before: {folder.model}", highlight=False, markup=False)
            return folder.model
        run = Run(
            settings,
            folder,
            training,
            dev,
            Path(data),
            prints,
            where,
            console,
            processes,
            resume=mode or "exact",
            requeue=requeue,
            parent=forebear,
        )
        begun = (*known, this_command(), str(where), processes.count)
        facts: dict[str, Any] = {"parent": forebear.identity.model_dump()} if forebear else {}
        for change in processes.once(lambda: folder.begin(*begun, **facts)):
            warn(console, f"{change}; the weights may differ in their last bits from then on")
        run.train()
        return run.finish()


def plan(
    recipe: Path | str,
    data: Path | str,
    work_dir: Path | str,
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    features: Path | str | None = None,
    device: str | None = None,
    parent: Path | str | None = None,
    processes: int = 1,
) -> Plan:
    """What `train` would do with these arguments, in so many processes; nothing is written.

    The model is built in this one, and steps are made with some items of the data to see what
    memory they take. Raises what `train` raises before it begins.

    >>> plan("chan-f8k", "data/flickr8k", "runs/f8k").steps                     # doctest: +SKIP
    1104
    """
    settings = read_recipe(recipe, overrides)
    forebear = None if parent is None else open_parent(parent)
    if forebear is not None:
        settings = with_parent(settings)
    where = usable_device(device or default_device())
    store = None if features is None else Path(features)
    training, dev = open_data(settings, Path(data), store)
    with tempfile.TemporaryDirectory() as place:
        folder, console = RunFolder(Path(place)), Console(stderr=True)
        strategy = settings["strategy"]
        if processes > 1:
            check_division(settings, Processes(count=processes))
            settings = replace(settings, settings={**settings.settings, "strategy": None})
        run = Run(settings, folder, training, dev, Path(data), {}, where, console, parent=forebear)
        return plan_of(run, str(where), RunFolder(Path(work_dir)), processes, strategy)


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
    dev = settings["dev"]
    return (
        open_split(recipe, data, settings["train"], features),
        open_split(recipe, data, dev, features) if dev else None,
    )


def open_split(recipe: Recipe, data: Path, split: str, features: Path | None) -> Dataset:
    """A split with what the recipe reads: photographs or features."""
    opened = open_dataset(data, split, features=features)
    return replace(opened, features=None) if recipe["data"]["inputs"] == "photos" else opened


def data_prints(
    recipe: Recipe, data: Path, training: Dataset, dev: Dataset | None
) -> dict[str, str]:
    """Fingerprints of all that a run reads: the splits, and the files that the recipe names."""
    return fingerprints(training, dev) | file_prints(named_files(recipe, data))


def default_device() -> str:
    """CUDA where torch finds it, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"

"""One training run from a recipe to an exported model folder."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..data.dataset import Dataset, open_dataset
from ..errors import DataError
from ..evaluation import evaluate
from ..model import MatchingModel
from ..weights import save_model
from .average import Average
from .building import build_from, initialize
from .checkpoint import (
    Checkpoint,
    newest_checkpoint,
    prune,
    read_checkpoint,
    write_checkpoint,
)
from .data import training_loader
from .engine import Hook, TrainedPair, ZooRunner
from .hooks import AverageHook, Findings, PlaceHook, SavingHook, SelectionHook, WarmUpHook
from .journal import JournalHook, trim_log
from .recipe import Recipe, read_recipe
from .run_folder import RunFolder, fingerprints, run_meta, this_command


def train(
    recipe: Path | str,
    data: Path | str,
    work_dir: Path | str,
    *,
    resume: bool = False,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    features: Path | str | None = None,
    console: Console | None = None,
) -> Path:
    """Train by a recipe and return the folder of the best model, which `zoo.load` reads.

    The best epoch is chosen by rsum on the dev split; the test split is never opened. Killed at
    any moment and started again with `resume`, a run ends with the same weights, on a CPU bit for
    bit. Raises `InputError` for a recipe or an option that cannot be used, and `DataError` for
    data that are missing, a folder that is taken, and a loss that is not finite.

    >>> train("chan-f8k", "data/flickr8k", "runs/f8k", overrides=["seed=1"])    # doctest: +SKIP
    PosixPath('runs/f8k/model')
    """
    settings = read_recipe(recipe, overrides)
    folder = RunFolder(Path(work_dir))
    console = console or Console(stderr=True)
    training, dev = _open_data(settings, Path(data), features)
    data_prints = fingerprints(training, dev)
    with folder.locked():
        if folder.open(settings, data_prints, resume=resume):
            console.print(f"The run in {folder.path} is finished.", highlight=False)
            return folder.model
        run = Run(settings, folder, training, dev, Path(data), data_prints, console)
        folder.begin(settings, data_prints, this_command())
        run.train()
        return run.export()


class Run:
    """The parts of a run, and what moves between them and the disk."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        training: Dataset,
        dev: Dataset | None,
        data: Path,
        data_prints: Mapping[str, str],
        console: Console,
    ) -> None:
        self.recipe, self.folder, self.dev, self.console = recipe, folder, dev, console
        self.training, self.meta = training, run_meta(recipe, data_prints)
        self.model, self.loss = build_from(recipe, training, data)
        self.resumed = newest_checkpoint(folder.checkpoints, self._warn)
        if self.resumed is None:
            initialize(self.model, recipe, training, data)
        self.pair = TrainedPair(self.model, self.loss, recipe["autocast"])
        self.pair.to("cuda" if torch.cuda.is_available() else "cpu")
        self.average = _average(self.model, recipe)
        self.findings = Findings()
        self.saving = SavingHook(self.save, recipe["checkpoint"]["every"])
        self.journal = JournalHook(folder.log, self.findings, recipe["log_every"], console)
        self.runner = self._runner()

    def train(self) -> None:
        """Train until the last epoch, from the newest checkpoint on if there is one."""
        try:
            self.runner.train()
        finally:
            self.journal.close()
            self.saving.restore_signals()

    def save(self, epoch: int, iteration: int) -> None:
        """Write a checkpoint, then remove those that are no longer needed."""
        runner, average = self.runner, self.average
        state = {
            "epoch": epoch,
            "iteration": iteration,
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedules": [one.state_dict() for one in runner.param_schedulers or []],
            "average_updates": average.updates if average else 0,
            "best": self.findings.best,
            "last": self.findings.last,
        }
        tensors = average.tensors if average else None
        saved = Checkpoint(iteration, self.pair.state_dict(), tensors, state, self.meta)
        write_checkpoint(self.folder.checkpoints, saved)
        keep = self.recipe["checkpoint"]["keep"]
        prune(self.folder.checkpoints, keep, self.findings.best.get("step"))

    def restore(self, runner: ZooRunner) -> None:
        """Put everything where the newest checkpoint left it."""
        saved = self.resumed
        if saved is None:
            trim_log(self.folder.log, 0)
            return
        self.folder.check_same(saved.meta, self.recipe, self.meta["data"])
        state = saved.state
        self.pair.load_state_dict(saved.model)
        runner.optim_wrapper.load_state_dict(state["optimizer"])
        for schedule, values in zip(runner.param_schedulers or [], state["schedules"], strict=True):
            schedule.load_state_dict(values)
        if self.average is not None and saved.average is not None:
            self.average.restore(saved.average, state["average_updates"])
        self.findings.best, self.findings.last = state["best"], state["last"]
        runner.place(state["epoch"], state["iteration"])
        trim_log(self.folder.log, state["iteration"])
        self.resumed = None

    def export(self) -> Path:
        """Write the best model as a model folder and mark the run as finished."""
        best = self.findings.best
        if best:
            path = self.folder.checkpoints / f"step_{best['step']:08d}"
            saved = read_checkpoint(path)
            own = {
                name.removeprefix("model."): tensor
                for name, tensor in saved.model.items()
                if name.startswith("model.")
            }
            self.model.load_state_dict(saved.average if saved.average is not None else own)
        elif self.average is not None:
            self.model.load_state_dict(self.average.tensors)
        save_model(self.model, self.folder.model, results=self._results())
        self.folder.finish(best=best)
        self.console.print(f"model: {self.folder.model}", highlight=False, markup=False)
        return self.folder.model

    def measure(self) -> dict[str, Any]:
        """Figures on dev, with the record of the measurement."""
        assert self.dev is not None
        self.model.eval()
        evaluation = evaluate(self.model, self.dev)
        self.model.train()
        return {**evaluation.metrics, "evaluation": evaluation.to_json()}

    def _results(self) -> dict[str, Any] | None:
        best = self.findings.best
        if not best:
            return None
        return {
            **best["evaluation"],
            "epoch": best["epoch"],
            "seed": self.recipe["seed"],
            "command": " ".join(self.folder.command()),
        }

    def _runner(self) -> ZooRunner:
        recipe = self.recipe
        train_cfg = {"by_epoch": True} | recipe["train_cfg"]
        return ZooRunner(
            restore=self.restore,
            model=self.pair,
            work_dir=str(self.folder.path),
            experiment_name=f"{recipe['name']}-{uuid.uuid4().hex[:8]}",
            train_dataloader=training_loader(
                self.model, self.training, recipe["data"], recipe["seed"]
            ),
            train_cfg=train_cfg,
            optim_wrapper={"constructor": "GroupByPrefix"} | recipe["optim_wrapper"],
            param_scheduler=recipe["param_scheduler"],
            default_hooks=dict.fromkeys(
                ("runtime_info", "timer", "sampler_seed", "logger", "checkpoint")
            ),
            custom_hooks=self._hooks(train_cfg.get("val_interval", 1)),
            randomness={"seed": recipe["seed"]},
        )

    def _hooks(self, every: int) -> list[Hook]:
        hooks: list[Hook] = [PlaceHook(self.recipe["seed"]), self.saving, self.journal]
        if self.recipe["warm_up"]:
            hooks.append(WarmUpHook(self.loss, **self.recipe["warm_up"]))
        if self.average is not None:
            hooks.append(AverageHook(self.average))
        if self.dev is not None:
            hooks.append(SelectionHook(self.measure, self.findings, self.average, every))
        return hooks

    def _warn(self, text: str) -> None:
        self.console.print(text, style="yellow", highlight=False, markup=False)


def _average(model: MatchingModel, recipe: Recipe) -> Average | None:
    settings = recipe["average"]
    return Average(model, **settings) if settings else None


def _open_data(
    recipe: Recipe, data: Path, features: Path | str | None
) -> tuple[Dataset, Dataset | None]:
    settings = recipe["data"]
    store = None if features is None else Path(features)
    training = open_dataset(data, settings["train"], features=store)
    dev = open_dataset(data, settings["dev"], features=store) if settings["dev"] else None
    if dev is not None and dev.split == "test":
        raise DataError(
            "The recipe selects the best epoch on the test split. Set data.dev to 'dev', or to "
            "None to keep the last epoch."
        )
    if settings["inputs"] == "photos":
        training = replace(training, features=None)
        dev = replace(dev, features=None) if dev is not None else None
    return training, dev

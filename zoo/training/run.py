"""One training run: its parts, built from a recipe and data."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.data import DataLoader

from ..data.dataset import Dataset
from ..device import device_words
from ..errors import InputError
from ..evaluation.encoding import check_extractor
from ..evaluation.measuring import evaluate
from ..model import MatchingModel
from ..processes import Processes
from .average import Average
from .building import build_from, initialize
from .clock import Clock
from .continuing import Resume
from .data import Division, end_workers, training_loader
from .engine import Hook, ZooRunner
from .feeding import Feed
from .freezing import FreezeHook, freeze
from .gathering import ALONE, share_tensors
from .gauges import Gauges
from .hooks import (
    AverageHook,
    BeforeMeasuringHook,
    Findings,
    PlaceHook,
    SavingHook,
    SelectionHook,
    WarmUpHook,
)
from .journal import JournalHook, warn
from .keeping import Keeper, start_of
from .nonfinite import NonFiniteHook
from .norms import share_norms
from .optimizer import GroupByPrefix
from .pair import TrainedPair
from .parent import Parent
from .recipe import Recipe
from .run_folder import RunFolder, run_meta
from .sharding import Gathered, described, shard
from .slurm import WHEN, requeue
from .stopping import AskedToStopError
from .visualizers import Visualizers


class Run:
    """The parts of a run."""

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        training: Dataset,
        dev: Dataset | None,
        data: Path,
        data_prints: Mapping[str, str],
        device: torch.device,
        console: Console,
        processes: Processes = ALONE,
        *,
        resume: Resume = "exact",
        requeue: bool = False,
        parent: Parent | None = None,
    ) -> None:
        self.recipe, self.folder, self.dev, self.console = recipe, folder, dev, console
        self.training, self.processes, self.requeue = training, processes, requeue
        meta = run_meta(recipe, data_prints, processes.count)
        check_division(recipe, processes)
        start = start_of(folder, meta, resume, processes, self.warn)
        texts = processes.once(folder.read_texts) if start.changed else None
        if parent is not None:
            parent.check_parts(recipe)
            texts = parent.model.files()
        self.model, self.loss = build_from(recipe, training, data, texts)
        if parent is not None:
            for line in parent.adopt(self.model):
                self.warn(line)
        if start.saved is None:
            if parent is None:
                initialize(self.model, recipe, training, data)
            if training.features is not None:
                check_extractor(self.model, training.features)
        self.pair = TrainedPair(
            self.model,
            self.loss,
            recipe["autocast"]["parts"],
            dtype=getattr(torch, recipe["autocast"]["dtype"]),
            processes=processes,
            gather=recipe["gather"],
            accumulate=recipe["accumulate"],
        )
        freeze(self.pair, recipe["freeze"])
        self.pair.to(device)
        if processes.count > 1:
            share_norms(self.pair)
            share_tensors(self.pair.state_dict().values())
        self.whole = self._divided(recipe["strategy"])
        self.average = _average(self.model, recipe)
        self.gauges = Gauges(self.loss, device)
        shown = recipe["visualizers"] if processes.first else []
        self.visualizers = Visualizers(shown, folder.path / "visualizers", self.warn)
        findings, self.clock = Findings(), Clock()
        self.journal = JournalHook(
            folder.log,
            findings,
            recipe["log_every"],
            console,
            self.gauges,
            self.visualizers,
            start.part,
        )
        self.nonfinite = NonFiniteHook(
            **recipe["nonfinite"],
            module=self.pair,
            dataset=training,
            write=self.journal.write if processes.first else _nothing,
            warn=self.warn,
        )
        self.pair.answer = self.nonfinite.answer
        self.keeper = Keeper(
            recipe,
            folder,
            meta,
            start,
            processes,
            self.model,
            self.whole,
            self.average,
            findings,
            self.clock,
            self.nonfinite,
            self.journal,
            _where(device, processes),
            self.warn,
        )
        self.saving = SavingHook(self.keeper.save, recipe["checkpoint"]["every"], processes)
        self.runner = self._runner()

    def train(self) -> None:
        """Train until the last epoch, from the newest checkpoint on if there is one."""
        try:
            self._train()
        except SystemExit as stop:
            self._say("stopped and saved, as asked; --resume goes on from here")
            if self.requeue and self.processes.first and stop.code in [128 + one for one in WHEN]:
                requeue(self._say, self.warn)
            raise
        finally:
            self.clock.stop()
            self.journal.close()
            end_workers(self.runner.train_dataloader.loader)
            self.saving.restore_signals()

    def _train(self) -> None:
        name = f"{self.recipe['name']}-{(self.folder.record() or {}).get('id', 'run')}"
        self.visualizers.begin(self.recipe.settings, name)
        try:
            self.runner.train()
        except AskedToStopError:
            self.saving.save_and_leave(self.runner)

    def finish(self) -> Path:
        """Mark the run as finished: the folder of its model."""
        self.keeper.finish()
        self._say(f"model: {self.folder.model}")
        return self.folder.model

    def measure(self) -> dict[str, Any] | None:
        """Figures on dev, with the record of the measurement, which all processes share.

        None where the run was asked to stop meanwhile; several processes go on to the end.
        """
        assert self.dev is not None
        heed = (lambda *_: self.saving.heed()) if self.processes.count == 1 else None
        try:
            with self.clock.paused(), self.whole() as model:
                model.eval()
                evaluation = evaluate(model, self.dev, advance=heed, processes=self.processes)
        except AskedToStopError:
            return None
        self.model.train()
        return {**evaluation.metrics, "evaluation": evaluation.to_json()}

    def _divided(self, strategy: Mapping[str, Any] | None) -> Gathered:
        """Divide the weights, where the recipe has a strategy and others are there to have some."""
        if strategy is not None and self.processes.count == 1:
            self.warn(
                "strategy: one process has nobody to divide the weights with, and keeps them "
                "whole; --nproc 2 starts two"
            )
        if strategy is None or self.processes.count == 1:
            return lambda: nullcontext(self.model)
        gathered = shard(self.model, self.loss, strategy)
        self._say(described(self.model))
        return gathered

    def _runner(self) -> ZooRunner:
        recipe = self.recipe
        train_cfg = {"by_epoch": True} | recipe["train_cfg"]
        return ZooRunner(
            restore=self.keeper.restore,
            model=self.pair,
            work_dir=str(self.folder.path),
            experiment_name=f"{recipe['name']}-{uuid.uuid4().hex[:8]}",
            train_dataloader=Feed(self._loader(), self.model.device),
            train_cfg=train_cfg,
            optim_wrapper={"constructor": GroupByPrefix.__name__, "scaled_on": self._scaled_on()}
            | recipe["optim_wrapper"],
            param_scheduler=recipe["param_scheduler"],
            default_hooks=dict.fromkeys(
                ("runtime_info", "timer", "sampler_seed", "logger", "checkpoint")
            ),
            custom_hooks=self._hooks(train_cfg.get("val_interval", 1)),
            randomness={"seed": recipe["seed"]},
        )

    def _loader(self) -> DataLoader[Any]:
        recipe, processes = self.recipe, self.processes
        return training_loader(
            self.model,
            self.training,
            recipe["data"],
            recipe["seed"],
            Division(processes.number, processes.count, recipe["gather"]),
            neighbours=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        )

    def _scaled_on(self) -> str | None:
        """The kind of device on which gradients of float16 need a loss that is scaled."""
        half = self.recipe["autocast"]["dtype"] == "float16"
        return self.model.device.type if half and self.pair.low_precision else None

    def _hooks(self, every: int) -> list[Hook]:
        hooks: list[Hook] = [PlaceHook(self.recipe["seed"]), self.nonfinite, self.saving]
        if self.processes.first:
            hooks += [self.journal, self.gauges]
        if self.recipe["freeze"]:
            hooks.append(FreezeHook(self.pair, self.recipe["freeze"]))
        if self.recipe["warm_up"]:
            hooks.append(WarmUpHook(self.loss, **self.recipe["warm_up"]))
        if self.average is not None:
            hooks.append(AverageHook(self.average))
        if self.dev is not None:
            if self.processes.count > 1:
                hooks.append(BeforeMeasuringHook(self.keeper.save))
            keeper = self.keeper
            hooks.append(
                SelectionHook(self.measure, keeper.export, keeper.findings, self.average, every)
            )
        return hooks

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """Tell what the reader should know and need not act upon."""
        warn(self.console, text)


def check_division(recipe: Recipe, processes: Processes) -> None:
    """Raise `InputError` where processes, and their pieces, cannot have equal parts of a batch."""
    size, pieces = recipe["data"]["batch_size"], recipe["accumulate"]
    parts = processes.count * pieces
    if size % parts:
        raise InputError(
            f"data.batch_size is {size}, the batch of all processes together, and cannot be "
            f"divided by {processes.count} processes x accumulate {pieces} = {parts}. Set "
            f"data.batch_size={max(size // parts, 1) * parts}."
        )
    if processes.count > 1 and not recipe["gather"] and not recipe["data"]["drop_last"]:
        raise InputError(
            "gather is off and data.drop_last too, so the last batch of an epoch may have fewer "
            "samples than there are processes. Set one of them to True."
        )


def _where(device: torch.device, processes: Processes) -> str:
    words = device_words(device)
    return words if processes.count == 1 else f"{processes.count} processes: {words} each"


def _nothing(**values: Any) -> None:
    """What the other processes write to the log."""
    del values


def _average(model: MatchingModel, recipe: Recipe) -> Average | None:
    settings = recipe["average"]
    return Average(model, **settings) if settings else None

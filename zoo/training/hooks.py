"""What happens around the iterations of a run: seeds, warm-up, averaging, selection, saving."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ..errors import InputError
from ..interfaces import Loss
from ..processes import Processes
from .average import Average, averaged
from .engine import Hook, ZooRunner
from .gathering import ALONE
from .seeds import mix
from .stopping import STOPS, AskedToStopError

Save = Callable[[ZooRunner, int, int], None]
"""What saves a run that is at this epoch and iteration."""


@dataclass
class Findings:
    """What a run has found so far: saved with each checkpoint.

    best: epoch, step and dev figures of the best epoch; empty before the first
    last: the figures of the last epoch that was measured
    """

    best: dict[str, Any] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)


class PlaceHook(Hook):  # type: ignore[misc]
    """Makes all randomness a function of seed and position; skips what was already seen."""

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_epoch(self, runner: ZooRunner) -> None:
        """Tell the sampler and the losses which epoch it is, and how much of it is already done."""
        for part in runner.model.modules():
            if isinstance(part, Loss):
                part.epoch = runner.epoch
        loader = runner.train_dataloader
        done = runner.iter - runner.epoch * len(loader)
        loader.sampler.start_at(runner.epoch, done * loader.batch_size)
        torch.manual_seed(mix(self.seed, "epoch", runner.epoch, runner.rank))

    def before_train_iter(self, runner: ZooRunner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed this iteration, so that dropout is the same however the run got here."""
        del batch_idx, data_batch
        torch.manual_seed(mix(self.seed, "iteration", runner.iter, runner.rank))


class WarmUpHook(Hook):  # type: ignore[misc]
    """Sets attributes of the loss for the first epochs (`negatives="all"`), then sets them back."""

    priority = "HIGH"

    def __init__(self, loss: Loss, epochs: int, **attributes: Any) -> None:
        self.epochs = epochs
        self.changes: list[tuple[nn.Module, str, Any, Any]] = []
        for name, value in attributes.items():
            having = [part for part in loss.modules() if hasattr(part, name)]
            if not having:
                raise InputError(
                    f"warm_up sets {name!r}, and the loss {type(loss).__name__} has no such "
                    "attribute. Take it out of the recipe's warm_up."
                )
            self.changes += [(part, name, value, getattr(part, name)) for part in having]

    def before_train_epoch(self, runner: ZooRunner) -> None:
        """Set what this epoch wants."""
        for part, name, warm, own in self.changes:
            setattr(part, name, warm if runner.epoch < self.epochs else own)


class AverageHook(Hook):  # type: ignore[misc]
    """Takes the weights into their running mean after each update."""

    priority = "NORMAL"

    def __init__(self, average: Average) -> None:
        self.average = average

    def after_train_iter(
        self, runner: ZooRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Update the mean."""
        del runner, batch_idx, data_batch, outputs
        self.average.update()


class SelectionHook(Hook):  # type: ignore[misc]
    """Measures the (averaged) model on dev at the end of an epoch and exports a new best one.

    Only ever the dev split: the test split is not opened in training. A measurement that is broken
    off, for the run is asked to stop, gives no figures; it is made when the run goes on.
    """

    priority = "BELOW_NORMAL"

    def __init__(
        self,
        measure: Callable[[], dict[str, Any] | None],
        export: Callable[[], object],
        findings: Findings,
        average: Average | None,
        every: int = 1,
    ) -> None:
        self.measure, self.export, self.every = measure, export, every
        self.findings, self.average = findings, average

    def after_train_epoch(self, runner: ZooRunner) -> None:
        """Measure, compare by rsum, and tell the other hooks (`after_measurement`)."""
        epoch = runner.epoch + 1
        if epoch % self.every and epoch != runner.max_epochs:
            return
        with averaged(self.average):
            figures = self.measure()
            if figures is None:
                raise AskedToStopError
            self.findings.last = {"epoch": epoch, "step": runner.iter, **figures}
            if figures["rsum"] > self.findings.best.get("rsum", float("-inf")):
                self.findings.best = dict(self.findings.last)
                self.export()
        runner.call_hook("after_measurement")


class BeforeMeasuringHook(Hook):  # type: ignore[misc]
    """Saves before a measurement that cannot be broken off, as that of several processes."""

    priority = "NORMAL"

    def __init__(self, save: Save) -> None:
        self.save = save

    def after_train_epoch(self, runner: ZooRunner) -> None:
        """Save where the run is: it goes on with the measurement."""
        self.save(runner, runner.epoch, runner.iter)


class SavingHook(Hook):  # type: ignore[misc]
    """Saves at the end of each epoch, each `every` iterations, and when asked to stop.

    SIGTERM, SIGUSR1 or SIGINT (Ctrl-C): save after the iteration that is running, or in place of
    the measurement, then leave; schedulers may ask more than once, and a second Ctrl-C leaves at
    once. Of several processes one is enough to be asked.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        save: Save,
        every: int | None = None,
        processes: Processes = ALONE,
    ) -> None:
        self.save, self.every, self.processes = save, every, processes
        self.asked: int | None = None
        self.before: dict[int, Any] = {}

    def before_train(self, runner: ZooRunner) -> None:
        """Listen to signals, where this thread may."""
        del runner
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                self.before[number] = signal.signal(number, self._ask)

    def after_train_iter(
        self, runner: ZooRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Save in the middle of an epoch. Its last iteration is left to the end of the epoch."""
        del batch_idx, data_batch, outputs
        self._hear_the_others()
        done = runner.iter + 1
        last = done == (runner.epoch + 1) * len(runner.train_dataloader)
        if self.asked or (self.every and done % self.every == 0 and not last):
            self.save(runner, runner.epoch, done)
        self._leave_if_asked()

    def after_train_epoch(self, runner: ZooRunner) -> None:
        """Save what the epoch made, after it was measured."""
        self._hear_the_others()
        self.save(runner, runner.epoch + 1, runner.iter)
        self._leave_if_asked()

    def after_train(self, runner: ZooRunner) -> None:
        """Stop listening."""
        del runner
        self.restore_signals()

    def restore_signals(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before.clear()

    def heed(self) -> None:
        """Raise `AskedToStopError` where the run has been asked to stop."""
        if self.asked:
            raise AskedToStopError

    def save_and_leave(self, runner: ZooRunner) -> None:
        """Save where the run is, between two iterations, and leave."""
        self._hear_the_others()
        self.save(runner, runner.epoch, runner.iter)
        self._leave_if_asked()

    def _ask(self, number: int, frame: Any) -> None:
        del frame
        self.asked = number
        if self.processes.count == 1 and signal.SIGINT in self.before:
            signal.signal(signal.SIGINT, self.before.pop(signal.SIGINT))

    def _hear_the_others(self) -> None:
        self.asked = max(self.processes.everyones(self.asked or 0)) or None

    def _leave_if_asked(self) -> None:
        if self.asked:
            raise SystemExit(128 + self.asked)

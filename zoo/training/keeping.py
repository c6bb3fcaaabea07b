"""What moves between a run and the disk: checkpoints, the model folder, the run's record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..model import MatchingModel
from ..processes import Processes
from .average import Average, averaged
from .checkpoint import Checkpoint, newest_checkpoint, prune, write_checkpoint
from .clock import Clock
from .continuing import Resume, parameter_names, what_changed
from .engine import ZooRunner
from .hooks import Findings
from .journal import JournalHook, trim_log
from .nonfinite import NonFiniteHook
from .recipe import Recipe
from .restoring import restore_exactly, restore_loosely
from .run_folder import RunFolder, this_command
from .run_results import complete_results, results_of
from .sharding import Gathered
from .shards import check_moments, whole_on_first


@dataclass
class Start:
    """Where a run begins: at nothing, or at its newest checkpoint.

    changed: what is asked otherwise than before, where it goes on loosely; one line each
    part:    how often the run went on with other settings
    """

    saved: Checkpoint | None = None
    changed: list[str] = field(default_factory=list)
    part: int = 0


def start_of(
    folder: RunFolder,
    meta: Mapping[str, Any],
    resume: Resume,
    processes: Processes,
    warn: Callable[[str], None],
) -> Start:
    """Where the run in a folder begins, as the first process finds it, whatever disk others see.

    `meta` is what is asked of it now. Raises `InputError` as `what_changed`.
    """
    saved = processes.once(lambda: newest_checkpoint(folder.checkpoints, warn))
    if saved is None:
        return Start()
    changed = what_changed(saved.meta, meta, folder.path, resume)
    return Start(saved, changed, saved.part + bool(changed))


@dataclass
class Keeper:
    """Saves a run and puts it back; the first process writes, and the others wait.

    meta:  what identifies the run
    whole: gives the model with whole weights, of which each process may have a share
    where: what it computes on, in words
    """

    recipe: Recipe
    folder: RunFolder
    meta: Mapping[str, Any]
    start: Start
    processes: Processes
    model: MatchingModel
    whole: Gathered
    average: Average | None
    findings: Findings
    clock: Clock
    nonfinite: NonFiniteHook
    journal: JournalHook
    where: str
    warn: Callable[[str], None]

    def save(self, runner: ZooRunner, epoch: int, iteration: int) -> None:
        """Write a checkpoint, then remove those that are no longer needed."""
        check_moments(runner.optim_wrapper.optimizer)
        average = self.average.tensors if self.average else None
        held = (runner.model.state_dict(), average, self._state(runner, epoch, iteration))
        model, average, state = whole_on_first(held, self.processes)
        saved = Checkpoint(iteration, model, average, state, self.meta, part=self.start.part)
        self.processes.once(lambda: self._write(saved))

    def _write(self, saved: Checkpoint) -> None:
        write_checkpoint(self.folder.checkpoints, saved)
        prune(self.folder.checkpoints, self.recipe["checkpoint"]["keep"])

    def _state(self, runner: ZooRunner, epoch: int, iteration: int) -> dict[str, Any]:
        length, wrapper = len(runner.train_dataloader), runner.optim_wrapper
        return {
            "epoch": epoch,
            "iteration": iteration,
            "seen": (iteration - epoch * length) * self.recipe["data"]["batch_size"],
            "optimizer": wrapper.state_dict(),
            "parameters": parameter_names(runner.model, wrapper.optimizer),
            "schedules": [one.state_dict() for one in runner.param_schedulers or []],
            "average_updates": self.average.updates if self.average else 0,
            "best": self.findings.best,
            "last": self.findings.last,
            "training_seconds": self.clock.seconds,
            "skipped": self.nonfinite.skipped,
        }

    def restore(self, runner: ZooRunner) -> None:
        """Put everything where the newest checkpoint left it."""
        saved, self.start.saved = self.start.saved, None
        self.clock.start(saved.state.get("training_seconds") if saved else 0.0)
        if self.processes.first:
            trim_log(self.folder.log, *((saved.step, saved.part) if saved else (0, 0)))
        if saved is None:
            self.processes.once(lambda: self.folder.write_texts(self.model.files()))
            return
        self.findings.best, self.findings.last = saved.state["best"], saved.state["last"]
        self.nonfinite.skipped = saved.state.get("skipped", 0)
        if self.findings.best and not self.processes.once(self.folder.model.is_dir):
            self.warn(f"{self.folder.model}, the best model so far, is gone: the next counts anew")
            self.findings.best = {}
        if self.start.changed:
            self._go_on_with_other_settings(runner, saved)
        else:
            restore_exactly(runner, saved, self.average)

    def _go_on_with_other_settings(self, runner: ZooRunner, saved: Checkpoint) -> None:
        epoch, step = restore_loosely(runner, saved, self.average, self.recipe)
        changed = self.start.changed
        if any(line.startswith(("data.dev:", "data of dev")) for line in changed):
            self.findings.best = {}  # of other data, and no measure for what comes
        change = {"part": self.start.part, "epoch": epoch, "step": step, "changed": changed}
        command = this_command()
        self.processes.once(lambda: self.folder.go_on(self.recipe, self.meta, command, change))
        if self.processes.first:
            self.journal.write(kind="changes", **change)
        self.save(runner, epoch, step)
        self.warn(f"goes on with other settings from epoch {epoch + 1}: {'; '.join(changed)}")

    def export(self) -> None:
        """Write the model as it is now, with what was measured of it, as the run's model folder."""
        half = self.recipe["export"]["half"]
        with self.whole() as model:
            self.processes.once(
                lambda: model.save(self.folder.model, half=half, results=self._results())
            )

    def finish(self) -> None:
        """Mark the run as finished; without a best epoch the last model is the run's."""
        if not self.findings.best:
            with averaged(self.average):
                self.export()
        self.processes.once(self._finish)

    def _finish(self) -> None:
        seconds, results = self.clock.seconds, self._results()
        if results is not None:
            rounded = None if seconds is None else round(seconds, 1)
            facts = {"training_seconds": rounded, "trained_on": self.where}
            complete_results(self.folder.model, results, self.recipe["export"]["half"], **facts)
        self.folder.finish(best=self.findings.best, training_seconds=seconds, trained_on=self.where)

    def _results(self) -> dict[str, Any] | None:
        parent = self.model.config.parent if self.model.config else None
        return results_of(self.recipe, self.folder, self.findings.best, parent)

"""Putting a run where a checkpoint left it: exactly, or as far as other settings allow."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .checkpoint import Checkpoint
from .continuing import new_place, parameter_names, take_moments, take_weights
from .engine import ZooRunner
from .run_folder import this_command
from .schedules import advance

if TYPE_CHECKING:
    from .run import Run


def restore_exactly(run: Run, runner: ZooRunner, saved: Checkpoint) -> None:
    """Everything is the checkpoint's."""
    state = saved.state
    run.pair.load_state_dict(saved.model)
    runner.optim_wrapper.load_state_dict(state["optimizer"])
    for schedule, values in zip(runner.param_schedulers or [], state["schedules"], strict=True):
        schedule.load_state_dict(values)
    if run.average is not None and saved.average is not None:
        run.average.restore(saved.average, state["average_updates"])
    runner.place(state["epoch"], state["iteration"])


def restore_loosely(run: Run, runner: ZooRunner, saved: Checkpoint) -> None:
    """Weights, moments and averages are the checkpoint's; rate, schedules, batches and data those
    that are now asked for.

    What changed is recorded, and the first checkpoint of the new part written.
    """
    state, began, now = saved.state, saved.meta["recipe"], run.recipe
    take_weights(run.pair, saved.model, began["loss"]["type"] == now["loss"]["type"])
    optimizer = runner.optim_wrapper.optimizer
    kinds = {one["optim_wrapper"]["optimizer"]["type"] for one in (began, now)}
    if len(kinds) == 1:
        names = parameter_names(run.pair, optimizer)
        take_moments(optimizer, names, state["optimizer"], state.get("parameters", names))
    epoch, iteration = new_place(state, run.length, now["data"]["batch_size"])
    deque(advance(runner, iteration, run.length, epoch), maxlen=0)
    if run.average is not None:
        run.average.restore(saved.average or run.model.state_dict(), state["average_updates"])
    if any(line.startswith(("data.dev:", "data of dev")) for line in run.changed):
        run.findings.best = {}  # of other data, and no measure for what comes
    runner.place(epoch, iteration)
    _record(run, epoch, iteration)


def _record(run: Run, epoch: int, iteration: int) -> None:
    change = {"part": run.part, "epoch": epoch, "step": iteration, "changed": run.changed}
    run.processes.once(lambda: run.folder.go_on(run.recipe, run.meta, this_command(), change))
    if run.processes.first:
        run.journal.write(kind="changes", **change)
    run.save(epoch, iteration)
    run.warn(f"goes on with other settings from epoch {epoch + 1}: {'; '.join(run.changed)}")

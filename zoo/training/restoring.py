"""Putting a run where a checkpoint left it: exactly, or as far as other settings allow."""

from __future__ import annotations

from collections import deque

from .average import Average
from .checkpoint import Checkpoint
from .continuing import new_place, parameter_names, take_moments, take_weights
from .engine import ZooRunner
from .recipe import Recipe
from .schedules import advance
from .shards import shares_of, shares_of_moments


def restore_exactly(runner: ZooRunner, saved: Checkpoint, average: Average | None) -> None:
    """Everything is the checkpoint's."""
    state = saved.state
    runner.model.load_state_dict(shares_of(saved.model, runner.model.state_dict()))
    wrapper = runner.optim_wrapper
    wrapper.load_state_dict(shares_of_moments(state["optimizer"], wrapper.optimizer))
    for schedule, values in zip(runner.param_schedulers or [], state["schedules"], strict=True):
        schedule.load_state_dict(values)
    if average is not None and saved.average is not None:
        average.restore(saved.average, state["average_updates"])
    runner.place(state["epoch"], state["iteration"])


def restore_loosely(
    runner: ZooRunner, saved: Checkpoint, average: Average | None, recipe: Recipe
) -> tuple[int, int]:
    """Weights, moments and averages are the checkpoint's; rate, schedules, batches and data those
    that are now asked for.

    Returns the epoch and the iteration from which the run goes on.
    """
    pair, state, began = runner.model, saved.state, saved.meta["recipe"]
    take_weights(pair, saved.model, began["loss"]["type"] == recipe["loss"]["type"])
    optimizer = runner.optim_wrapper.optimizer
    kinds = {one["optim_wrapper"]["optimizer"]["type"] for one in (began, recipe)}
    if len(kinds) == 1:
        names = parameter_names(pair, optimizer)
        take_moments(optimizer, names, state["optimizer"], state.get("parameters", names))
    length = len(runner.train_dataloader)
    epoch, iteration = new_place(state, length, recipe["data"]["batch_size"])
    deque(advance(runner, iteration, length, epoch), maxlen=0)
    if average is not None:
        average.restore(saved.average or average.module.state_dict(), state["average_updates"])
    runner.place(epoch, iteration)
    return epoch, iteration

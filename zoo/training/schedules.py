"""Where the schedules of a run are at an iteration."""

from __future__ import annotations

from collections.abc import Iterator

from .engine import ZooRunner


def advance(runner: ZooRunner, iterations: int, length: int, epochs: int) -> Iterator[float]:
    """Step new schedules as training would; yields the learning rate of each iteration.

    There are `iterations` in all, `length` in each epoch, and `epochs` of them are over. The rate
    is that of the group that learns fastest.
    """
    schedules = runner.param_schedulers or []
    runner.optim_wrapper._global_step = 0  # MMEngine warns where nothing was learned in between
    for iteration in range(iterations):
        yield rate(runner)
        ended = (iteration + 1) % length == 0 and (iteration + 1) // length <= epochs
        for by_epoch in (False, True) if ended else (False,):
            for schedule in schedules:
                if schedule.by_epoch == by_epoch:
                    schedule.step()


def rate(runner: ZooRunner) -> float:
    """The learning rate now."""
    return float(max(group["lr"] for group in runner.optim_wrapper.param_groups))

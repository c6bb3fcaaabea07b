"""A process that has imported everything and forks the processes of a training run for each line.

Each line is JSON: `work_dir`, `recipe`, `data`, `overrides`, `count`, `resume`, and perhaps
`signal`: the number of a signal, which of the processes gets it, and at which iteration (0: in the
first measurement); and `twice`: whether every block is scored in two passes, however small. It
answers with the exit status of each. Its arguments are modules to import before.

`poison` is an iteration whose loss is no number; `least`, how many numbers a layer has that is
divided by itself; `scale`, with which a loss of float16 begins. A process whose weights are divided
says how many numbers it holds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path

import torch

import toy_matching as toy
from zoo.processes import MEETING
from zoo.scoring import two_pass as two_pass_scoring
from zoo.training import optimizer, sharding
from zoo.training import run as runs
from zoo.training.hooks import AverageHook
from zoo.training.pair import TrainedPair
from zoo.training.session import train
from zoo.training.shards import is_shared

DRAWING = ("matplotlib.figure", "matplotlib.backends.backend_agg")
"""What MMEngine imports in every run, if only to draw nothing."""


def signal_at(number: int, iteration: int) -> None:
    """Let this process send itself a signal after that many iterations, or while it measures."""
    if iteration == 0:
        runs.evaluate = lambda *_, **__: os.kill(os.getpid(), number)
        return
    update = AverageHook.after_train_iter

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == iteration:
            os.kill(os.getpid(), number)
        return update(self, runner, batch_idx, data_batch, outputs)

    AverageHook.after_train_iter = after_train_iter


def poison(iteration: int) -> None:
    """Let the loss of that iteration be no number."""
    forward, seen = TrainedPair.forward, []

    def poisoned(self, batch):
        seen.append(batch)
        return forward(self, batch) * (torch.nan if len(seen) == iteration else 1.0)

    TrainedPair.forward = poisoned


def tell_what_is_held() -> None:
    """At each update, how many numbers there are here of divided weights and of their moments."""
    step = optimizer.FiniteOptimWrapper.step

    def told(self, **options):
        step(self, **options)
        states = {one: state for one, state in self.optimizer.state.items() if is_shared(one)}
        moments = [one for state in states.values() for one in state.values() if is_shared(one)]
        if moments:
            held = [sum(x.to_local().numel() for x in some) for some in (states, moments)]
            whole = sum(one.numel() for one in states)
            print("held", *held, "of", whole, flush=True)  # noqa: T201 - the parent reads it

    optimizer.FiniteOptimWrapper.step = told


def run(job: dict, number: int) -> int:
    """One process of a run; its output goes to a file beside it."""
    work_dir, count = job["work_dir"], job["count"]
    with Path(f"{work_dir}.{number}.out").open("a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ |= {
        "RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_RANK": str(number),
        "GLOO_SOCKET_IFNAME": "lo",
        MEETING: f"file://{work_dir}.meeting",
    }
    if job.get("signal") and job["signal"][1] == number:
        signal_at(job["signal"][0], job["signal"][2])
    if job.get("twice") is not None:
        two_pass_scoring.LEAST, two_pass_scoring.FEW = (1, 1) if job["twice"] else (1000, 0)
    if job.get("poison"):
        poison(job["poison"])
    tell_what_is_held()
    sharding.LEAST = job.get("least", sharding.LEAST)
    optimizer.FIRST_SCALE = job.get("scale", optimizer.FIRST_SCALE)
    options = {"resume": job.get("resume", False), "overrides": job.get("overrides", ())}
    launcher = "pytorch" if count > 1 else "none"
    try:
        train(job["recipe"], job["data"], work_dir, launcher=launcher, seconds=60, **options)
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - the parent reports it
        traceback.print_exc()
        return 1
    return 0


def attempt(job: dict) -> list[int]:
    """Fork the processes of a run and wait for them: the exit status of each."""
    Path(f"{job['work_dir']}.meeting").unlink(missing_ok=True)
    children = []
    for number in range(job["count"]):
        child = os.fork()
        if child == 0:
            os._exit(run(job, number))
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]


def main() -> None:
    """Answer each line of stdin."""
    torch.set_num_threads(1)
    for module in (*DRAWING, *sys.argv[1:]):
        importlib.import_module(module)
    toy.register()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""A process that has imported everything and forks the processes of a training run for each line.

Each line is JSON: `work_dir`, `recipe`, `data`, `overrides`, `count`, `resume`, and perhaps
`signal`: the number of a signal, which of the processes gets it, and at which iteration (0: in the
first measurement); and `twice`: whether every block is scored in two passes, however small. It
answers with the exit status of each.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

import torch

import toy_matching as toy
from zoo.processes import MEETING
from zoo.scoring import two_pass as two_pass_scoring
from zoo.training import run as runs
from zoo.training.hooks import AverageHook
from zoo.training.session import train


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
    toy.register()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()

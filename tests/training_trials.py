"""A process that has imported everything and forks one training run for each line that it reads.

Each line is JSON: `work_dir`, `recipe`, `data`, `overrides`, and perhaps `seconds` (SIGKILL after
so long), `operation` (SIGKILL at the n-th file operation on a checkpoint), `signal` and `after`
(that signal after so many operations, to all processes of the run, its workers too), `options` of
`train`, `environment`, `out` (where what is said goes), or `watch` (memory and
open files, to watch.jsonl). It answers with the exit status, the number of file operations, and how
many seconds the run still took after the signal.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import torch
from rich.console import Console

import toy_matching as toy
from zoo.training.hooks import SavingHook
from zoo.training.session import train

WATCHED = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}


def die_at(operation: int | None, pipe: int) -> None:
    """Count what the run does to its checkpoints, and end it by SIGKILL at that operation."""
    count = 0

    def audit(event: str, arguments: tuple) -> None:
        nonlocal count
        if event in WATCHED and "checkpoints" in str(arguments[0]):
            count += 1
            os.write(pipe, b".")
            if count == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(audit)


def watch(folder: Path) -> None:
    """Note memory in use and open files after every hundredth iteration."""
    after = SavingHook.after_train_iter

    def watched(self, runner, *given, **named):
        if runner.iter % 100 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            line = {
                "iteration": runner.iter,
                "memory": pages * os.sysconf("SC_PAGESIZE"),
                "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - names only
            }
            with (folder / "watch.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
        after(self, runner, *given, **named)

    SavingHook.after_train_iter = watched


def run(job: dict, pipe: int) -> int:
    """The run itself, in a process of its own; its output goes to a file beside the run."""
    with Path(job.get("out", f"{job['work_dir']}.out")).open("a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.setsid()
    os.environ.update(job.get("environment", {}))
    die_at(job.get("operation"), pipe)
    if job.get("watch"):
        watch(Path(job["work_dir"]))
    try:
        train(
            job["recipe"],
            job["data"],
            job["work_dir"],
            overrides=job.get("overrides", ()),
            **{"resume": True, **job.get("options", {})},
        )
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - the parent reports it
        traceback.print_exc()
        return 1
    return 0


def attempt(job: dict) -> dict:
    """Fork one run, send it the signal that the job asks for, and wait for it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os._exit(run(job, write))
    os.close(write)
    if "seconds" in job:
        time.sleep(job["seconds"])
        os.kill(child, signal.SIGKILL)
    operations = sum(len(os.read(read, 1)) for _ in range(job.get("after", 0)))
    began = time.monotonic()
    if "signal" in job:
        os.killpg(child, job["signal"])
    operations += sum(len(block) for block in iter(lambda: os.read(read, 65536), b""))
    _, status = os.waitpid(child, 0)
    os.close(read)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "operations": operations,
        "seconds": time.monotonic() - began,
    }


def warm_up() -> None:
    """Train once in this process: what a first run imports, every fork then has."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        console = Console(file=io.StringIO())
        data = toy.write_data(folder / "data")
        train(toy.write_recipe(folder), data, folder / "run", console=console)


def main() -> None:
    """Answer each line of stdin."""
    torch.set_num_threads(1)
    toy.register()
    warm_up()
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        print(json.dumps(attempt(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""`zoo train --launcher pytorch`: processes that are killed are started again and lose nothing.

ZOO_KILLS sets how many kills the test makes (two).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from launched_training import RECIPE
from zoo.files import sha256
from zoo.training.checkpoint import list_checkpoints

KILLS = int(os.environ.get("ZOO_KILLS", "2"))
RESTARTS = 3
ITERATIONS = 100
ROOT = Path(__file__).resolve().parents[1]

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="finds processes under /proc"
)


class Jobs:
    """Starts the command in a folder, on the toy's data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = toy.write_recipe(folder, RECIPE)
        self.data = toy.write_data(folder / "data")

    def start(self, name: str, *options: object) -> subprocess.Popen:
        """A job of two processes."""
        command = ["train", self.recipe, "--data", self.data, "--work-dir", self.folder / name]
        command += ["--nproc", 2, "--timeout", 60]
        path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
        return subprocess.Popen(
            [sys.executable, "-m", "zoo.cli", *map(str, command), *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )

    def digests(self, name: str) -> list[str]:
        """Of the exported weights, and of the last ones with their mean."""
        last = list_checkpoints(self.folder / name / "checkpoints")[-1]
        model = self.folder / name / "model" / "model.safetensors"
        return [sha256(file) for file in (model, *sorted(last.glob("*.safetensors")))]

    def kill_at(self, job: subprocess.Popen, name: str, iteration: int, number: int) -> None:
        """SIGKILL one of the processes when so many iterations are done."""
        log = self.folder / name / "log.jsonl"
        until = time.monotonic() + 240
        while job.poll() is None and time.monotonic() < until:
            lines = log.read_text().splitlines() if log.exists() else []
            if len(lines) >= iteration:
                os.kill(process_of(job.pid, number), signal.SIGKILL)
                return
            time.sleep(0.002)
        self.end(job)
        pytest.fail(f"the job ended, or hung, before iteration {iteration}: {job.stdout.read()}")

    @staticmethod
    def end(job: subprocess.Popen) -> None:
        """End a job that hangs, with its processes."""
        job.terminate()
        try:
            job.wait(timeout=60)
        except subprocess.TimeoutExpired:
            job.kill()
            job.wait()


def process_of(launcher: int, number: int) -> int:
    """The process of that number among those that a launcher has started."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    for child in children:
        told = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"RANK={number}".encode() in told:
            return int(child)
    pytest.fail(f"there is no process {number} among {children}")


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """A folder for all jobs, and what an undisturbed one ends with."""
    made = Jobs(tmp_path_factory.mktemp("jobs"))
    job = made.start("reference", "--set", f"train_cfg.max_epochs={ITERATIONS // 5}")
    said = job.communicate(timeout=240)[0]
    assert job.returncode == 0, said
    assert said.count("reference/model") == 2, said  # the journal, and stdout
    return made


@needs_proc
def test_killed_processes_are_started_again_and_end_with_the_same_weights(jobs):
    """Any of them, at any iteration: bit for bit."""
    drawn = random.Random(0)
    kills = runs = 0
    while kills < KILLS:
        name = f"killed-{runs}"
        runs += 1
        job = jobs.start(name, "--set", f"train_cfg.max_epochs={ITERATIONS // 5}")
        some = min(RESTARTS, KILLS - kills)
        for iteration in sorted(drawn.sample(range(15, ITERATIONS - 15), some)):
            jobs.kill_at(job, name, iteration, drawn.randrange(2))
            kills += 1
        said = job.communicate(timeout=240)[0]
        assert job.returncode == 0, said
        assert said.count("resumed at epoch") == some, said
        assert jobs.digests(name) == jobs.digests("reference")


@needs_proc
def test_when_the_restarts_are_spent_the_job_ends(jobs):
    """Within half a minute of the kill, with an error that says how to go on."""
    long = ["--set", "train_cfg.max_epochs=4000", "--max-restarts", 0]
    job = jobs.start("spent", *long)
    jobs.kill_at(job, "spent", 30, 1)
    killed = time.monotonic()
    said = job.communicate(timeout=120)[0]
    assert time.monotonic() - killed < 30
    assert job.returncode == 1
    assert "no restart of 0 is left" in said
    assert "go on with --resume" in said
    assert list_checkpoints(jobs.folder / "spent" / "checkpoints")


def test_an_error_of_the_user_is_told_once_and_not_tried_again(jobs):
    """Here of a setting; no process is started again for it."""
    job = jobs.start("refused", "--set", "loss.margn=1")
    said = job.communicate(timeout=120)[0]
    assert job.returncode == 1
    assert said.count("Did you mean") == 1, said


def test_without_a_gpu_the_number_of_processes_is_asked_for(run, jobs, monkeypatch):
    """Two is as good as any, and the user has to say it; not to a job of SLURM, which has it."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    command = ("train", jobs.recipe, "--data", jobs.data, "--launcher")
    status, _, error = run(*command, "pytorch")
    assert status == 1
    assert "Give --nproc 2, say." in error
    status, _, error = run(*command, "slurm", "--nproc", 2)
    assert status == 1
    assert "#SBATCH --ntasks=2" in error

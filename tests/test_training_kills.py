"""A run that is killed and resumed ends with the weights of one that never stopped, bit for bit.

How often each test tries is set by variables of the environment; `tests/nightly.sh` has the large
numbers.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from zoo.files import sha256
from zoo.training.checkpoint import list_checkpoints, newest_checkpoint

KILLS = int(os.environ.get("ZOO_KILLS", "40"))
WRITE_KILLS = int(os.environ.get("ZOO_WRITE_KILLS", "20"))
STOPS = int(os.environ.get("ZOO_STOPS", "3"))
SECOND_RUNS = int(os.environ.get("ZOO_SECOND_RUNS", "2"))
FULL_DISKS = int(os.environ.get("ZOO_FULL_DISKS", "5"))
SOAK = int(os.environ.get("ZOO_SOAK", "0"))
HERE = Path(__file__).parent
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Trials:
    """The toy recipe on toy data, run again and again by a process that forks for each run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.job = {
            "recipe": str(toy.write_recipe(folder)),
            "data": str(toy.write_data(folder / "data")),
        }
        path = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parent / "plugins")])
        self.server = subprocess.Popen(
            [sys.executable, str(HERE / "training_trials.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )
        self.reference, self.operations = self.finish(folder / "reference")
        # The first run also waited for the imports; the second shows how long a run takes.
        started = time.monotonic()
        assert self.finish(folder / "again")[0] == self.reference
        self.seconds = time.monotonic() - started

    def ask(self, work_dir: Path, **how: object) -> dict[str, float]:
        """What the server answers of one run."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(self.job | {"work_dir": str(work_dir), **how}), file=self.server.stdin)
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def attempt(self, work_dir: Path, **how: object) -> tuple[int, int]:
        """Exit status (negative: the signal) and number of file operations of one run."""
        answer = self.ask(work_dir, **how)
        return answer["status"], answer["operations"]

    def finish(self, work_dir: Path, **how: object) -> tuple[list[str], int]:
        """Run to the end; digests of the model and of the last weights, and file operations."""
        status, operations = self.attempt(work_dir, **how)
        assert status == 0, self.said(work_dir)
        last = list_checkpoints(work_dir / "checkpoints")[-1]
        files = [work_dir / "model" / "model.safetensors", *sorted(last.glob("*.safetensors"))]
        assert len(files) == 3
        return [sha256(file) for file in files], operations

    def said(self, work_dir: Path) -> str:
        """What the runs in a folder wrote to the screen."""
        return Path(f"{work_dir}.out").read_text()

    def close(self) -> None:
        """End the process."""
        self.server.communicate(timeout=30)


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """A server, the digest of an undisturbed run, and how long it takes."""
    made = Trials(tmp_path_factory.mktemp("trials"))
    yield made
    made.close()


def test_killed_at_random_moments_a_run_ends_with_the_same_weights(trials):
    """Up to four kills in a run, each at a moment drawn from all of its time."""
    drawn = random.Random(0)
    kills = runs = 0
    while kills < KILLS:
        runs += 1
        work_dir = trials.folder / f"moment-{runs}"
        for _ in range(min(4, KILLS - kills)):
            status, _ = trials.attempt(work_dir, seconds=drawn.uniform(0, trials.seconds))
            assert status in (0, -signal.SIGKILL), trials.said(work_dir)
            kills += status == -signal.SIGKILL
        assert trials.finish(work_dir)[0] == trials.reference


def test_killed_while_a_checkpoint_is_written_the_one_before_is_whole(trials):
    """At any file operation on a checkpoint: the newest one reads, and the run can go on."""
    drawn = random.Random(1)
    said: list[str] = []
    for number in range(WRITE_KILLS):
        work_dir = trials.folder / f"operation-{number}"
        status, _ = trials.attempt(work_dir, operation=drawn.randrange(1, trials.operations))
        assert status == -signal.SIGKILL
        there = list_checkpoints(work_dir / "checkpoints")
        newest = newest_checkpoint(work_dir / "checkpoints", said.append)
        assert (newest is None) == (not there)
        assert trials.finish(work_dir)[0] == trials.reference
        assert not list((work_dir / "checkpoints").glob("*.tmp-*"))
    assert said == []


def test_asked_to_stop_a_run_saves_and_goes_on_later(trials):
    """SIGTERM, SIGUSR1 and Ctrl-C: the iteration that ran is saved, the exit status tells which.

    All processes are asked at once, as schedulers do, those that read ahead among them.
    """
    drawn = random.Random(2)
    for turn in range(STOPS):
        number = SIGNALS[turn % len(SIGNALS)]
        work_dir = trials.folder / f"signal-{turn}"
        workers = f"data.workers={drawn.choice((0, 2))}"
        after = drawn.randrange(trials.operations // 4, trials.operations * 3 // 4)
        answer = trials.ask(work_dir, signal=int(number), after=after, overrides=[workers])
        assert answer["status"] == 128 + number, trials.said(work_dir)
        assert answer["seconds"] < 10
        assert "stopped and saved" in trials.said(work_dir)
        newest = list_checkpoints(work_dir / "checkpoints")[-1]
        assert 3 <= int(newest.name.removeprefix("step_")) < 20
        assert trials.finish(work_dir)[0] == trials.reference


def test_a_job_of_slurm_goes_back_into_the_queue(trials, tmp_path):
    """Saved first, then `scontrol requeue JOB`; not after Ctrl-C; and a refusal is told."""
    calls = tmp_path / "calls"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\nls {trials.folder}/queue-$SLURM_JOB_ID/checkpoints > {calls}-$SLURM_JOB_ID\n"
        f'echo "$@" >> {calls}-$SLURM_JOB_ID\n'
        '[ "$SLURM_JOB_ID" != 30 ] || { echo "Invalid job id" >&2; exit 1; }\n'
    )
    program.chmod(0o755)
    for job, number, asked in (
        ("10", signal.SIGUSR1, True),
        ("20", signal.SIGINT, False),
        ("30", signal.SIGTERM, True),
    ):
        work_dir = trials.folder / f"queue-{job}"
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        how = {
            "environment": {"PATH": path, "SLURM_JOB_ID": job},
            "options": {"resume": False, "requeue": True},
        }
        stop = {"signal": int(number), "after": trials.operations // 2}
        assert trials.attempt(work_dir, **how, **stop)[0] == 128 + number, trials.said(work_dir)
        told = Path(f"{calls}-{job}")
        assert told.exists() == asked
        if asked:
            *steps, call = told.read_text().splitlines()
            assert call == f"requeue {job}"
            assert list_checkpoints(work_dir / "checkpoints")[-1].name in steps
        refused = "could not be queued again (Invalid job id)" in trials.said(work_dir)
        assert refused == (job == "30")
        assert trials.finish(work_dir, **how)[0] == trials.reference


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_nothing(trials, workers):
    """Worker processes prepare the batches that none would have prepared; also after a stop."""
    work_dir = trials.folder / f"workers-{workers}"
    setting = [f"data.workers={workers}"]
    trials.attempt(work_dir, operation=trials.operations // 2, overrides=setting)
    assert trials.finish(work_dir, overrides=setting)[0] == trials.reference


def test_a_second_process_is_kept_out(trials):
    """While one process trains in a folder, another is refused at once."""
    work_dir = trials.folder / "locked"
    work_dir.mkdir()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from pathlib import Path; from zoo.training.run_folder import RunFolder\n"
            "with RunFolder(Path(sys.argv[1])).locked(): print('held', flush=True); input()",
            str(work_dir),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    for _ in range(SECOND_RUNS):
        assert trials.attempt(work_dir)[0] == 1
    assert trials.said(work_dir).count("Another process is training in") >= SECOND_RUNS
    holder.kill()
    holder.communicate()
    assert trials.finish(work_dir)[0] == trials.reference


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a given size, where this user may make one."""
    place = tmp_path / "disk"
    place.mkdir()

    def make(size):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)],
            capture_output=True,
            check=False,
        )
        if done.returncode:
            pytest.skip("a disk that is full needs a tmpfs, which only root may mount")
        return place

    yield make
    while subprocess.run(["umount", str(place)], capture_output=True, check=False).returncode == 0:
        pass


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no command mount")
def test_a_full_disk_ends_a_run_that_goes_on_once_there_is_space(trials, small_disk):
    """At any size: what is saved stays whole, and the error tells the bytes needed and free."""
    work_dir = trials.folder / "reference"
    needed = sum(one.stat().st_size for one in work_dir.rglob("*") if one.is_file())
    drawn = random.Random(3)
    fitted = 0
    for turn in range(FULL_DISKS):
        # A page is the least that a file takes.
        size = drawn.randrange(needed // 8, needed) // 4096 * 4096
        disk = small_disk(size)
        run = disk / f"run-{turn}"
        out = trials.folder / f"full-{turn}.out"
        status, _ = trials.attempt(run, out=str(out))
        fitted += status == 0
        if status:
            assert status == 1, out.read_text()
            said = out.read_text()
            assert "Free some space" in said
            if "The checkpoint" in said:
                assert re.search(r"about [\d,]+ bytes are needed, [\d,]+ are free", said)
            assert not list((run / "checkpoints").glob("*.tmp-*"))
            damaged: list[str] = []
            newest = newest_checkpoint(run / "checkpoints", damaged.append)
            assert damaged == []
            assert (newest is None) == (not list_checkpoints(run / "checkpoints"))
            larger = f"remount,size={4 * needed + (1 << 20)}"
            subprocess.run(["mount", "-o", larger, str(disk)], check=True)
        assert trials.finish(run)[0] == trials.reference
        subprocess.run(["umount", str(disk)], check=True)
    assert fitted < FULL_DISKS


@pytest.mark.skipif(not SOAK, reason="ZOO_SOAK, in iterations, is not set; nightly.sh sets it")
def test_a_long_run_takes_no_more_and_more(trials, tmp_path):
    """Memory grows by at most 1 MB in 100 iterations, and no file stays open; with 20 measurements.

    The first quarter is not counted: what is imported and cached late comes then.
    """
    epochs = SOAK // 5
    work_dir = tmp_path / "soak"
    longer = {"max_epochs": epochs, "val_interval": max(epochs // 20, 1)}
    answer = trials.ask(work_dir, overrides=[f"train_cfg={longer}"], watch=True)
    assert answer["status"] == 0, trials.said(work_dir)
    text = (work_dir / "watch.jsonl").read_text()
    seen = [json.loads(line) for line in text.splitlines()]
    seen = seen[len(seen) // 4 :]
    first, last = seen[0], seen[-1]
    slope = (last["memory"] - first["memory"]) / (last["iteration"] - first["iteration"])
    assert slope * 100 <= 1 << 20
    assert last["files"] == first["files"]

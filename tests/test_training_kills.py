"""A run that is killed and resumed ends with the weights of one that never stopped, bit for bit.

ZOO_KILLS sets how many kills each of the two tests makes (ten).
"""

from __future__ import annotations

import json
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
from zoo.files import sha256
from zoo.training.checkpoint import list_checkpoints, newest_checkpoint

KILLS = int(os.environ.get("ZOO_KILLS", "10"))
HERE = Path(__file__).parent


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

    def attempt(self, work_dir: Path, **how: object) -> tuple[int, int]:
        """Exit status (negative: the signal) and number of file operations of one run."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(self.job | {"work_dir": str(work_dir), **how}), file=self.server.stdin)
        self.server.stdin.flush()
        answer = json.loads(self.server.stdout.readline())
        return answer["status"], answer["operations"]

    def finish(self, work_dir: Path, **how: object) -> tuple[list[str], int]:
        """Run to the end; digests of the model and of the last weights, and file operations."""
        status, operations = self.attempt(work_dir, **how)
        assert status == 0, Path(f"{work_dir}.out").read_text()
        last = list_checkpoints(work_dir / "checkpoints")[-1]
        files = [work_dir / "model" / "model.safetensors", *sorted(last.glob("*.safetensors"))]
        assert len(files) == 3
        return [sha256(file) for file in files], operations

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
            assert status in (0, -signal.SIGKILL), Path(f"{work_dir}.out").read_text()
            kills += status == -signal.SIGKILL
        assert trials.finish(work_dir)[0] == trials.reference


def test_killed_while_a_checkpoint_is_written_the_one_before_is_whole(trials):
    """At any file operation on a checkpoint: the newest one reads, and the run can go on."""
    places = random.Random(1).sample(range(1, trials.operations), min(KILLS, trials.operations - 1))
    said: list[str] = []
    for place in places:
        work_dir = trials.folder / f"operation-{place}"
        status, _ = trials.attempt(work_dir, operation=place)
        assert status == -signal.SIGKILL
        there = list_checkpoints(work_dir / "checkpoints")
        newest = newest_checkpoint(work_dir / "checkpoints", said.append)
        assert (newest is None) == (not there)
        assert trials.finish(work_dir)[0] == trials.reference
        assert not list((work_dir / "checkpoints").glob("*.tmp-*"))
    assert said == []


def test_asked_to_stop_a_run_saves_and_goes_on_later(trials):
    """SIGTERM and Ctrl-C: a checkpoint of the iteration that ran, then the usual exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        work_dir = trials.folder / f"signal-{number}"
        status, _ = trials.attempt(work_dir, signal=int(number), after=trials.operations // 2)
        assert status == 128 + number, Path(f"{work_dir}.out").read_text()
        assert "stopped and saved" in Path(f"{work_dir}.out").read_text()
        newest = list_checkpoints(work_dir / "checkpoints")[-1]
        assert 8 < int(newest.name.removeprefix("step_")) < 20
        assert trials.finish(work_dir)[0] == trials.reference


def test_the_number_of_workers_changes_nothing(trials):
    """Two worker processes prepare the batches that none would have prepared."""
    work_dir = trials.folder / "workers"
    assert trials.finish(work_dir, overrides=["data.workers=2"])[0] == trials.reference


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
    assert trials.attempt(work_dir)[0] == 1
    assert "Another process is training in" in Path(f"{work_dir}.out").read_text()
    holder.kill()
    holder.communicate()
    assert trials.finish(work_dir)[0] == trials.reference

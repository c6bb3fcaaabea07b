"""Several processes find one another, tell one another things, and notice when one is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo.errors import InputError
from zoo.processes import Processes, _named, joined_processes, own_device
from zoo.workers import MEETING

ROOT = Path(__file__).resolve().parents[1]
BEGIN = """
import sys, warnings
from zoo.errors import InputError
from zoo.processes import joined_processes
with joined_processes() as processes:
"""


def start(folder: Path, body: str, count: int = 2, seconds: float = 30) -> list[subprocess.Popen]:
    """So many processes that run the lines, indented once, as `processes`."""
    code = BEGIN + "".join(f"    {line}\n" for line in body.splitlines())
    network = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    common = {
        **os.environ,
        **network,
        MEETING: f"file://{folder / 'meeting'}",
        "WORLD_SIZE": str(count),
        "OMP_NUM_THREADS": "1",
        "ZOO_PROCESS_SECONDS": str(seconds),
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "plugins", ROOT / "tests"))),
    }
    return [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env=common | {"RANK": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def ended(processes: list[subprocess.Popen], within: float = 60) -> list[tuple[int, str, str]]:
    """Exit status, stdout and stderr of each."""
    try:
        told = [process.communicate(timeout=within) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *one) for process, one in zip(processes, told, strict=True)]


def test_processes_tell_one_another(tmp_path):
    """Everyone's values by number, one's value to all, and an error of the first to all."""
    lines = (
        "print(processes.everyones(processes.number * 10))\n"
        "print(processes.told(f'from {processes.number}', by=1))\n"
        "print(processes.once(lambda: f'made by {processes.number}'))\n"
        "def fail(): raise InputError(f'refused by {processes.number}')\n"
        "try: processes.once(fail)\n"
        "except InputError as error: print(error)"
    )

    for status, out, error in ended(start(tmp_path, lines)):
        assert status == 0, error
        assert out.splitlines() == ["[0, 10]", "from 1", "made by 0", "refused by 0"]


def test_a_process_that_is_gone_is_missed(tmp_path):
    """At once, and not when the time is up; the message says what to do."""
    lines = "if processes.number: import os; os._exit(7)\nprocesses.wait()"
    began = time.monotonic()

    (status, _, error), (other, _, _) = ended(start(tmp_path, lines, seconds=100))

    assert (status, other) == (1, 7)
    assert "LostError: One of 2 processes ended, or did not answer" in error
    assert time.monotonic() - began < 50


def test_a_process_that_hangs_is_given_up(tmp_path):
    """After the seconds that were given."""
    lines = "import time\nif processes.number: time.sleep(40)\nprocesses.wait()"
    waiting, sleeping = start(tmp_path, lines, seconds=3)

    status, _, error = ended([waiting], within=35)[0]

    assert sleeping.poll() is None
    sleeping.kill()
    sleeping.communicate()
    assert (status, "LostError" in error) == (1, True)


def test_without_an_environment_a_process_is_alone():
    """Every way of telling gives its own value back."""
    with joined_processes() as processes:
        assert processes == Processes() == _named({})
        assert processes.first
        assert (processes.everyones(3), processes.told(4)) == ([3], 4)
        assert processes.once(lambda: 5) == 5
        processes.wait()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"RANK": "1"}, "'WORLD_SIZE' is missing"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is 2 of 2"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "'x' is missing or no number"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is missing"),
    ],
)
def test_half_an_environment_is_refused(environment, message):
    """With what is missing and what to set."""
    with pytest.raises(InputError, match=f"{message}.*Start them with torchrun, or set RANK"):
        _named(environment)


def test_each_process_has_a_gpu_of_its_own():
    """By its number on its machine; one that all would share is refused."""
    several = Processes(number=5, count=8, local=1)

    assert own_device("cuda", several) == "cuda:1"
    assert (own_device("cpu", several), own_device("cuda:3", Processes())) == ("cpu", "cuda:3")
    with pytest.raises(InputError, match=r"cuda:3 and there are 8 processes.*Give cuda"):
        own_device("cuda:3", several)

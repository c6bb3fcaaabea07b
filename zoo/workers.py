"""One command in several processes of this machine: started together, watched, ended together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .errors import InputError, ZooError

MEETING = "ZOO_MEETING"
"""A file:// address at which processes of one machine meet, in place of MASTER_ADDR."""

WORKER = "ZOO_WORKER"
"""Set where a process is one of those that `run_workers` started."""

COMMAND = "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"
GRACE = 2.0
"""Seconds in which the others may say what they have to say once one of them failed."""


class WorkerError(ZooError):
    """One of the processes failed, and the others were ended."""


def is_worker() -> bool:
    """Whether this process is one of those that `run_workers` started."""
    return WORKER in os.environ


def run_workers(arguments: Sequence[str], count: int, *, code: str = COMMAND) -> None:
    """Run a command of `zoo` in so many processes of this machine; returns when all succeeded.

    The first one has this terminal. Each has its share of the cores, unless OMP_NUM_THREADS says
    how many threads it has. When one fails, the others are ended, and `WorkerError` has its
    message. Raises `InputError` in a process that is one of several already.
    """
    if os.environ.get("WORLD_SIZE") or os.environ.get("RANK"):
        raise InputError(
            "--nproc starts processes, and this is one of several already (RANK or WORLD_SIZE is "
            "set). Leave --nproc out, or unset them."
        )
    with tempfile.TemporaryDirectory(prefix="zoo-workers-") as place:
        messages = [Path(place) / f"{number}.txt" for number in range(count)]
        workers: list[subprocess.Popen[bytes]] = []
        with _ended(workers):
            for number in range(count):
                environment = _environment(number, count, Path(place) / "meeting")
                call = [sys.executable, "-c", code, *arguments]
                workers.append(_start(call, environment, messages[number] if number else None))
            failed = _first_failure(workers)
        if failed is not None:
            raise WorkerError(_words(failed, workers, messages[failed]))


def _environment(number: int, count: int, meeting: Path) -> Mapping[str, str]:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    usual = {
        "OMP_NUM_THREADS": str(max(1, cores // count)),
        "GOMP_SPINCOUNT": "0",  # a thread that waits leaves the core to those that work
        **({"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}),
    }
    return {
        **usual,
        **os.environ,
        WORKER: "1",
        MEETING: f"file://{meeting}",
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
    }


def _start(
    call: Sequence[str], environment: Mapping[str, str], told: Path | None
) -> subprocess.Popen[bytes]:
    """A process; what it prints goes nowhere and its messages to a file, if one is given."""
    follow = _end_with_parent()
    if told is None:
        return subprocess.Popen(call, env=environment, preexec_fn=follow)
    with told.open("wb") as file:
        return subprocess.Popen(
            call, env=environment, stdout=subprocess.DEVNULL, stderr=file, preexec_fn=follow
        )


def _end_with_parent() -> Callable[[], None] | None:
    """Has a process killed with the one that started it, however that ends; Linux can."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _first_failure(workers: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The number of the process that failed first; None once all succeeded."""
    while True:
        states = [worker.poll() for worker in workers]
        failed = [number for number, state in enumerate(states) if state]
        if failed:
            return failed[-1]  # where several failed within a moment, the first speaks for itself
        if all(state == 0 for state in states):
            return None
        time.sleep(0.05)


@contextmanager
def _ended(workers: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """None of them is left when the block ends, also by Ctrl-C or a request to end."""

    def stop(number: int, frame: FrameType | None) -> None:
        del frame
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        limit = time.monotonic() + GRACE
        for worker in workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(max(0.0, limit - time.monotonic()))
        for worker in workers:
            worker.kill()
            worker.wait()
        signal.signal(signal.SIGTERM, before)


def _words(number: int, workers: Sequence[subprocess.Popen[bytes]], told: Path) -> str:
    status = workers[number].returncode
    if status < 0:
        name = signal.Signals(-status).name
        why = f"was killed ({name}{', perhaps for want of memory' if status == -9 else ''})"
    else:
        why = f"failed with status {status}"
    lines = told.read_text(errors="replace").strip().splitlines() if told.exists() else []
    message = f": {lines[-1].removeprefix('error: ')}" if lines else ""
    return (
        f"Process {number} of {len(workers)} {why}, and the others were ended{message}\n"
        "Mend what it says and give the command once more; scores that are kept go on."
    )

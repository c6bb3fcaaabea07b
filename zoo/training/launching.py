"""Starts the processes of one machine that train together, and starts them again when one dies.

That is torchrun's work (`torch.distributed.launcher`). It starts all again after any failure, and
an error that the user has to mend would come back each time: so one of them leaves a verdict in a
file when there is no sense in another start.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import InputError, ZooError
from ..files import write_atomically
from ..processes import LostError
from .data import processors

VERDICT = "ZOO_VERDICT"
"""In the environment of the processes: the file for what ends the whole job."""


class JobError(ZooError):
    """What ended a job of several processes, in the words of the one that it happened to."""


def launched() -> bool:
    """Whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def launch(arguments: Sequence[str], processes: int, restarts: int, seconds: float) -> int:
    """Run `zoo` with these arguments in so many processes of this machine; the exit status.

    When one dies, all are started again, `restarts` times at most; `seconds` is how long they may
    take to find each other. Raises `JobError` when one met an error that is the user's to mend, and
    when the restarts are spent.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        rdzv_configs={"timeout": max(round(seconds), 1)},
        max_restarts=restarts,
        local_addr="localhost",
        **_signals(LaunchConfig),
    )
    with (
        tempfile.TemporaryDirectory(prefix="zoo-job-") as folder,
        _told(folder, processes) as verdict,
    ):
        try:
            elastic_launch(config, sys.executable)("-m", "zoo.cli", *arguments)
        except ChildFailedError as error:
            if verdict.exists():
                return _judge(verdict)
            raise JobError(_spent(error, restarts)) from error
        except SignalException as signal:
            return 128 + int(signal.sigval)
        return _judge(verdict)


@contextmanager
def verdict_left() -> Iterator[None]:
    """Within, an error that another start cannot mend, or a wish to stop, ends the whole job.

    For processes that `launch` started; others see nothing of it.
    """
    if VERDICT not in os.environ:
        yield
        return
    file = Path(os.environ[VERDICT])
    if file.exists():
        raise SystemExit(0)  # torchrun's restart of a job that is over
    try:
        yield
    except LostError:
        raise
    except ZooError as error:
        _leave(file, said=str(error), status=1)
        raise SystemExit(1) from error
    except SystemExit as stop:
        _leave(file, said="", status=stop.code)
        raise


def _leave(file: Path, **verdict: object) -> None:
    if not file.exists():  # the first one knows best
        write_atomically(file, json.dumps(verdict).encode())


def _judge(file: Path) -> int:
    """The exit status of the job; raises `JobError` for an error that a process has left."""
    if not file.exists():
        return 0
    verdict = json.loads(file.read_text(encoding="utf-8"))
    if verdict["said"]:
        raise JobError(verdict["said"])
    return int(verdict["status"] or 0)


@contextmanager
def _told(folder: str, processes: int) -> Iterator[Path]:
    """The environment of the processes, while they run; they share the processors evenly."""
    file = Path(folder) / "verdict.json"
    threads = str(max(processors() // processes, 1))
    told = {VERDICT: str(file), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", threads)}
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield file
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _signals(config: type) -> dict[str, Any]:
    """Which signals go on to the processes: also SIGUSR1, where this torch can be told so."""
    known = "signals_to_handle" in {field.name for field in fields(config)}
    return {"signals_to_handle": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"} if known else {}


def _spent(error: Exception, restarts: int) -> str:
    failures: dict[int, object] = getattr(error, "failures", {})
    ends = ", ".join(
        f"process {process} with status {getattr(failure, 'exitcode', '?')}"
        for process, failure in sorted(failures.items())
    )
    return (
        f"The job ended {restarts + 1} times too early, the last time {ends or 'at once'}, and no "
        f"restart of {restarts} is left. Look for the cause above; then go on with --resume."
    )


def count_of(processes: int | None) -> int:
    """How many processes to start: as told, or one for each accelerator.

    Raises `InputError` without either.
    """
    import torch

    if processes is None:
        processes = torch.cuda.device_count()
    if processes < 1:
        raise InputError(
            "The launcher is pytorch, and it is not said how many processes to start: there is no "
            "CUDA device to have one each. Give --nproc 2, say."
        )
    return processes

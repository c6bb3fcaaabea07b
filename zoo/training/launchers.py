"""Joining the processes that a launcher has started: torchrun, or SLURM's srun."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch

from ..errors import InputError
from ..processes import Processes, joined_processes

Launcher = Literal["none", "pytorch", "slurm"]
SINGLE = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
PORTS = (20_000, 40_000)
SAID = {"RANK": "SLURM_PROCID", "WORLD_SIZE": "SLURM_NTASKS", "LOCAL_RANK": "SLURM_LOCALID"}


@contextmanager
def joined(
    launcher: Launcher, device: torch.device, seconds: float | None = None
) -> Iterator[Processes]:
    """The processes that the launcher started, joined while the block runs; "none" is this alone.

    Raises `InputError` where the environment does not name them.
    """
    if launcher == "none":
        yield Processes()
        return
    os.environ.update(_named_by(launcher))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with joined_processes(device, seconds=seconds) as processes:
        yield processes


def named_processes(launcher: Launcher) -> Processes:
    """Which process this is, by its environment alone; as `joined` has it later."""
    names = _named_by(launcher)
    number, count, local = (int(names.get(name, single)) for name, single in SINGLE.items())
    return Processes(number, count, local)


def _named_by(launcher: Launcher) -> dict[str, str]:
    if launcher == "slurm":
        return told_by_slurm(os.environ)
    if launcher == "none":
        return {}
    if any(not os.environ.get(name, "").isdigit() for name in SINGLE):
        raise InputError(
            "The launcher is pytorch, and RANK, WORLD_SIZE and LOCAL_RANK of the environment are "
            "no numbers. Start the program with torchrun, or use `zoo train --launcher pytorch`."
        )
    return {name: os.environ[name] for name in SINGLE}


def told_by_slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """RANK, WORLD_SIZE and so on of this task, and where the tasks meet.

    That is the first node of the job, at a port that follows from its number; MASTER_ADDR and
    MASTER_PORT say otherwise. Raises `InputError` outside of srun.
    """
    lacking = [name for name in SAID.values() if not environment.get(name, "").isdigit()]
    if lacking:
        raise InputError(
            f"The launcher is slurm, and {', '.join(lacking)} of the environment is no number. "
            "Start the command with srun, as docs/cluster.md shows it."
        )
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    beside = re.match(r"\d+", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))  # as in 8(x2)
    low, high = PORTS
    job = int(re.sub(r"\D", "", environment.get("SLURM_JOB_ID", "")) or 0)
    meeting = {
        "MASTER_ADDR": first_node(nodes) or "localhost",
        "MASTER_PORT": str(low + job % (high - low)),
        "LOCAL_WORLD_SIZE": beside.group() if beside else "1",
    }
    given = {name: environment[name] for name in meeting if name in environment}
    return {name: environment[said] for name, said in SAID.items()} | meeting | given


def first_node(nodes: str) -> str:
    """The first host of SLURM's list of nodes.

    >>> first_node("gpu[003-007,9],login1")
    'gpu003'
    """
    name, bracket, rest = re.split(r",(?![^\[]*\])", nodes)[0].partition("[")
    if not bracket:
        return name
    numbers, _, suffix = rest.partition("]")
    return name + re.split("[-,]", numbers)[0] + suffix


def restarted() -> bool:
    """Whether SLURM or torchrun has started this process again, after one that ended too early."""
    names = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")
    return any(os.environ.get(name, "0") not in ("", "0") for name in names)

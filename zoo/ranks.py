"""Several processes that do one job: which of them this is, and what they tell each other.

They are called ranks, from 0; rank 0 is the first one, and it alone writes. Alone, a process is
the first of one, and everything here is immediate.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Literal

import torch
from torch import Tensor, distributed

from . import errors
from .errors import InputError, ZooError

Launcher = Literal["none", "pytorch", "slurm"]
SECONDS = 600.0
"""How long a rank waits for the others to be there, and for an answer while all compute."""
PATIENCE = timedelta(hours=12)
"""How long a rank waits while the first one writes or measures. One that dies is noticed at once,
where the system closes its connections."""

VARIABLES: Mapping[Launcher, tuple[str, str, str]] = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
}
"""What a launcher sets in the environment: the rank, how many there are, the rank on this node."""
NEIGHBOURS = {"pytorch": "LOCAL_WORLD_SIZE", "slurm": "SLURM_STEP_TASKS_PER_NODE"}
"""And how many there are on this node; SLURM writes 8(x2) for two nodes of eight."""
RESTARTS: Mapping[Launcher, str] = {
    "pytorch": "TORCHELASTIC_RESTART_COUNT",
    "slurm": "SLURM_RESTART_COUNT",
}
PORTS = (20_000, 40_000)


class RankError(ZooError):
    """Another rank ended or does not answer: started again, the job can go on."""


@dataclass(frozen=True)
class Ranks:
    """The processes of a job, seen from one of them.

    number: of this one, from 0
    count:  how many there are
    local:  the number of this one among those of its machine: which accelerator it takes
    beside: how many its machine has
    quiet:  the group in which ranks wait for each other, on CPUs, with `PATIENCE`
    """

    number: int = 0
    count: int = 1
    local: int = 0
    beside: int = 1
    quiet: Any = None

    @property
    def first(self) -> bool:
        """Whether this one writes."""
        return self.number == 0

    def wait(self) -> None:
        """Until all ranks are here."""
        self.largest(0)

    def largest(self, number: int) -> int:
        """The largest number that any rank gives; each has to ask."""
        if self.count == 1:
            return number
        numbers = torch.tensor([number])
        with talking():
            distributed.all_reduce(numbers, distributed.ReduceOp.MAX, group=self.quiet)
        return int(numbers.item())

    def shared(self, content: bytes) -> bytes:
        """What the first rank gives, on every rank."""
        if self.count == 1:
            return content
        size = torch.tensor([len(content)])
        with talking():
            distributed.broadcast(size, 0, group=self.quiet)
            data = _bytes(content) if self.first else torch.empty(int(size), dtype=torch.uint8)
            distributed.broadcast(data, 0, group=self.quiet)
        return data.numpy().tobytes()

    def everyone(self, words: str) -> list[str]:
        """What each rank says, by their numbers."""
        if self.count == 1:
            return [words]
        own = _bytes(words.encode())
        sizes = [torch.zeros(1, dtype=torch.long) for _ in range(self.count)]
        with talking():
            distributed.all_gather(sizes, torch.tensor([len(own)]), group=self.quiet)
            longest = max(int(size) for size in sizes)
            rooms = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.count)]
            padded = torch.nn.functional.pad(own, (0, longest - len(own)))
            distributed.all_gather(rooms, padded, group=self.quiet)
        return [
            room[: int(size)].numpy().tobytes().decode()
            for room, size in zip(rooms, sizes, strict=True)
        ]

    def from_first(self, action: Callable[[], Any]) -> Any:
        """What the action gives on the first rank, which alone does it; its `ZooError` on all.

        The value is one that JSON has.
        """
        if self.count == 1:
            return action()
        answer = b""
        if self.first:
            try:
                answer = json.dumps({"value": action()}).encode()
            except ZooError as error:
                self.shared(json.dumps(_told(error)).encode())
                raise
        told = json.loads(self.shared(answer))
        if "error" in told:
            raise getattr(errors, told["error"], ZooError)(told["said"])
        return told["value"]


ALONE = Ranks()


@contextmanager
def opened(
    launcher: Launcher = "none", device: str = "cpu", seconds: float = SECONDS
) -> Iterator[Ranks]:
    """The ranks that a launcher started, connected: by NCCL on CUDA, by gloo on CPUs.

    `pytorch` is torchrun, `slurm` is srun. Raises `InputError` where the environment does not say
    who this is, and `RankError` where the others do not come within `seconds`.
    """
    who = standing(launcher)
    if who.count == 1:
        yield who
        return
    if launcher == "slurm":
        _meet_on_first_node()
    limit, cuda = timedelta(seconds=seconds), torch.device(device).type == "cuda"
    with talking():
        if cuda:
            torch.cuda.set_device(who.local % max(torch.cuda.device_count(), 1))
        distributed.init_process_group(
            "nccl" if cuda else "gloo", rank=who.number, world_size=who.count, timeout=limit
        )
        quiet = distributed.new_group(backend="gloo", timeout=PATIENCE)
    yield replace(who, quiet=quiet)
    # After an error the others are gone, or will be: to part from them could take forever.
    distributed.destroy_process_group()


def standing(launcher: Launcher) -> Ranks:
    """Which rank of how many this process is, by its environment; no connection is made.

    Raises `InputError` where the environment does not say.
    """
    if launcher == "none":
        return ALONE
    names = VARIABLES[launcher]
    try:
        number, count, local = (int(os.environ[name]) for name in names)
    except (KeyError, ValueError) as error:
        program = {"pytorch": "torchrun", "slurm": "srun"}[launcher]
        raise InputError(
            f"The launcher is {launcher}, and {', '.join(names)} are not all set to numbers "
            f"({error}). Start the command with {program}, or without --launcher."
        ) from error
    beside = re.match(r"\d+", os.environ.get(NEIGHBOURS[launcher], ""))
    return Ranks(number, count, local, int(beside.group()) if beside else 1)


def restarted(launcher: Launcher) -> bool:
    """Whether the launcher has started this process again, after one that ended too early."""
    return os.environ.get(RESTARTS.get(launcher, ""), "0").strip() not in ("", "0")


@contextmanager
def talking() -> Iterator[None]:
    """Within, what goes wrong between ranks is a `RankError`."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        if isinstance(error, ZooError):
            raise
        said = str(error).strip().splitlines() or ["no reason given"]
        raise RankError(
            f"Another process of this job ended, or did not answer in time ({said[0][:200]}). "
            "Look for its own error above; started again, with --resume, the job goes on from its "
            "newest checkpoint."
        ) from error


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


def _meet_on_first_node() -> None:
    """Tell torch where SLURM's ranks meet, unless the user did: MASTER_ADDR and MASTER_PORT."""
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", "")
    job = int(re.sub(r"\D", "", os.environ.get("SLURM_JOB_ID", "")) or 0)
    low, high = PORTS
    os.environ.setdefault("MASTER_ADDR", first_node(nodes) or "localhost")
    os.environ.setdefault("MASTER_PORT", str(low + job % (high - low)))


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)[: len(content)]


def _told(error: ZooError) -> dict[str, str]:
    """The error for the other ranks: as the nearest of the kinds in `zoo.errors`."""
    kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__]
    return {"error": kinds[0], "said": str(error)}

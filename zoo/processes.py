"""Several processes that work as one: which of them this is, and what they tell one another.

What starts them (torchrun, srun, `zoo evaluate --nproc`) says so in the environment: RANK and
WORLD_SIZE, LOCAL_RANK, and where they meet, MASTER_ADDR and MASTER_PORT. A rank here is the place
of a match among what was retrieved; of processes we say number and count.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, final

import torch
from torch import distributed

from .errors import InputError, ZooError
from .workers import MEETING

SECONDS = 1800.0
"""How long a process waits for the others; ZOO_PROCESS_SECONDS says otherwise."""

ValueT = TypeVar("ValueT")


class LostError(ZooError):
    """Another of the processes ended, or did not answer in time."""


@final
@dataclass(frozen=True)
class Processes:
    """This process among those that work as one; by default it is alone.

    number: which it is, from 0
    count:  how many there are
    local:  which it is on its machine, from 0

    >>> Processes().everyones("a")
    ['a']
    """

    number: int = 0
    count: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether it is the one that speaks for all: writes what is shared, and shows progress."""
        return self.number == 0

    def everyones(self, value: ValueT) -> list[ValueT]:
        """What each of the processes gave, by their numbers; all of them must call it."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with _lost(self.count):
            distributed.all_gather_object(found, value)
        return found

    def told(self, value: ValueT | None, by: int = 0) -> ValueT:
        """What process `by` gave, whatever the others did; all of them must call it."""
        found: list[Any] = [value]
        if self.count > 1:
            with _lost(self.count):
                distributed.broadcast_object_list(found, src=by)
        return found[0]  # type: ignore[no-any-return]

    def once(self, call: Callable[[], ValueT]) -> ValueT:
        """What the first process makes of the call, which it alone makes; its error is all's."""
        made, error = None, None
        if self.first:
            try:
                made = call()
            except ZooError as raised:
                error = raised
        made, error = self.told((made, error))
        if error is not None:
            raise error
        return made  # type: ignore[return-value]

    def wait(self) -> None:
        """Go on when all of them have come here."""
        if self.count > 1:
            with _lost(self.count):
                distributed.barrier()


@contextmanager
def joined_processes(
    device: torch.device | str = "cpu", *, seconds: float | None = None
) -> Iterator[Processes]:
    """The processes that the environment names, joined while the block runs; else this one alone.

    CPUs talk over gloo, GPUs over NCCL, and what is no tensor over gloo on either. A group that is
    open already is used and left open. Whoever waits longer than `seconds` for another process, or
    finds it gone, has a `LostError`. Raises `InputError` where the environment contradicts itself.

    >>> with joined_processes() as processes:
    ...     processes.count
    1
    """
    here = _named(os.environ)
    if distributed.is_initialized():
        yield Processes(distributed.get_rank(), distributed.get_world_size(), here.local)
        return
    if here.count == 1:
        yield here
        return
    kind = torch.device(device).type
    limit = float(os.environ.get("ZOO_PROCESS_SECONDS", SECONDS) if seconds is None else seconds)
    with _lost(here.count):
        distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo",
            store=_meeting(here, timedelta(seconds=limit)),
            timeout=timedelta(seconds=limit),
            rank=here.number,
            world_size=here.count,
        )
    try:
        yield here
        here.wait()  # nobody leaves while another still reads what it was told
    finally:
        distributed.destroy_process_group()


def own_device(device: str, processes: Processes) -> str:
    """The device of this process: its own GPU of its machine where all were given "cuda".

    Raises `InputError` for one GPU that several processes would share.

    >>> own_device("cuda", Processes(number=5, count=8, local=1))
    'cuda:1'
    """
    if processes.count == 1 or not device.startswith("cuda"):
        return device
    if device != "cuda":
        raise InputError(
            f"The device is {device} and there are {processes.count} processes, each of which "
            "wants a GPU of its own. Give cuda, and each takes that of its number on its machine."
        )
    return f"cuda:{processes.local}"


def _named(environment: Mapping[str, str]) -> Processes:
    """Which process this is. Raises `InputError` for half of what says it, or for no numbers."""
    if not environment.get("WORLD_SIZE") and not environment.get("RANK"):
        return Processes()
    try:
        number, count = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        local = int(environment.get("LOCAL_RANK", number))
    except (KeyError, ValueError) as error:
        raise _unclear(f"{error} is missing or no number") from error
    if not 0 <= number < count:
        raise _unclear(f"RANK is {number} of {count}")
    lacking = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if count > 1 and lacking and MEETING not in environment:
        raise _unclear(f"{lacking[0]} is missing")
    return Processes(number, count, local)


def _meeting(here: Processes, limit: timedelta) -> Any:
    """Where the processes leave their addresses; those of an earlier start are not found there.

    torchrun keeps one place for all its restarts, and who reads the address of a process that was
    killed waits for it in vain.
    """
    where = os.environ.get(MEETING, "env://")
    found = distributed.rendezvous(where, here.number, here.count, timeout=limit)  # type: ignore[attr-defined]
    store, _, _ = next(found)
    store.set_timeout(limit)
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return distributed.PrefixStore(f"start-{start}", store)  # type: ignore[attr-defined]


def _unclear(what: str) -> InputError:
    return InputError(
        f"The environment names one of several processes and not which ({what}). Start them with "
        "torchrun, or set RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, or none."
    )


@contextmanager
def lost_told(who: str, then: str) -> Iterator[None]:
    """Within, what goes wrong between processes is a `LostError`: of whom, and what to do then."""
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise LostError(
            f"{who} ended, or did not answer in time ({reason}). See what the others say{then}"
        ) from error


def _lost(count: int) -> AbstractContextManager[None]:
    return lost_told(f"One of {count} processes", ", and give the command once more.")

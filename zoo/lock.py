"""Files that one process at a time may hold, so that several can share a folder."""

from __future__ import annotations

import os
import struct
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError

_HERE: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
"""The system's locks keep out other processes; these, the other threads of this one."""


FLOCK = "hhqqi4x"
"""Linux's struct flock: type, whence, start, length, process."""


class BusyError(DataError):
    """Another living process, or another thread of this one, has taken what was asked for."""


@contextmanager
def held(lock: Path, busy: str = "", *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, which is made if need be; raises `BusyError(busy)`, or waits.

    One thread of one process has it at a time, and must not ask for it twice. It ends with the
    process, however that ends. Raises `DataError` where the file system has no locks.
    """
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
    here = _HERE[lock.resolve()]
    if not here.acquire(blocking=wait):
        raise BusyError(busy)
    try:
        with lock.open("w") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except (BlockingIOError, PermissionError) as error:
                raise BusyError(busy) from error
            except OSError as error:
                raise DataError(
                    f"{lock} cannot be locked ({error.strerror}). Choose a folder on a file system "
                    "that has locks, such as a local disk."
                ) from error
            yield
    finally:
        here.release()


def is_held(lock: Path) -> bool:
    """Whether somebody holds a lock file; nobody is disturbed by the question.

    False also where the system cannot tell without trying.
    """
    import fcntl

    if _HERE[lock.resolve()].locked():
        return True  # to open and close the file would give up this process's own lock
    if sys.platform != "linux" or not lock.is_file():
        return False
    wanted = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    with lock.open("rb") as file:
        found = fcntl.fcntl(file, fcntl.F_GETLK, wanted)
    return bool(struct.unpack(FLOCK, found)[0] != fcntl.F_UNLCK)

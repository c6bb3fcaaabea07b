"""Files that one process at a time may hold, so that several can share a folder."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError

_HERE: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
"""The system's locks keep out other processes; these, the other threads of this one."""


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

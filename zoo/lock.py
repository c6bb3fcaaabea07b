"""Files that one process at a time may hold, so that several can share a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError


class BusyError(DataError):
    """Another living process has taken what was asked for."""


@contextmanager
def held(lock: Path, busy: str = "", *, wait: bool = False) -> Iterator[None]:
    """Hold a lock file, which is made if need be; raises `BusyError(busy)`, or waits.

    The lock belongs to the process: it ends with it, however it ends. A process must not hold the
    same file twice, for the system would let it, and would free both when the first is left.
    Raises `DataError` where the file system has no locks.
    """
    import fcntl

    lock.parent.mkdir(parents=True, exist_ok=True)
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

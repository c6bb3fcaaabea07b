"""How long a run has trained."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Wall-clock seconds of a run's training, summed over its resumed parts.

    Counted is what lies between the first batch and the last: reading, forward and backward
    passes, updates, checkpoints. Not counted are the start of the process, the measurements on
    dev, and work that a kill undid, for it was done again. None where an earlier part of the run
    did not count.
    """

    def __init__(self) -> None:
        self._counted: float | None = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float | None:
        """What was counted until now."""
        if self._counted is None or self._since is None:
            return self._counted
        return self._counted + time.monotonic() - self._since

    def start(self, counted: float | None = 0.0) -> None:
        """Begin, or go on after what was counted before."""
        self._counted, self._since = counted, time.monotonic()

    def stop(self) -> None:
        """Count no further."""
        self._counted, self._since = self.seconds, None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is done inside."""
        self.stop()
        try:
            yield
        finally:
            self.start(self._counted)

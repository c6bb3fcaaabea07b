"""Being asked to stop: by Ctrl-C, by a scheduler, by SLURM some time before the end."""

from __future__ import annotations

import signal

STOPS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)
)
"""The signals that ask for it."""


class AskedToStopError(Exception):
    """The run is to save and to leave, in the middle of something that is longer than a step."""

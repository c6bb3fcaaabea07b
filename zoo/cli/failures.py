"""How the command line tells what went wrong: one message, no traceback unless it is asked for."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata

from ..errors import ZooError
from ..plugins.entry_points import OWN_DISTRIBUTION, candidates

EXTRAS = {"mmengine": "train", "cv2": "train", "transformers": "text"}
"""Packages that only some commands need, and the extra that installs them."""


@dataclass
class Settings:
    """How the program was called, and what the options before the command set."""

    arguments: Sequence[str] = ()
    debug: bool = field(default_factory=lambda: os.environ.get("ZOO_DEBUG", "") not in ("", "0"))


def report(error: Exception, settings: Settings) -> int:
    """Say on stderr what went wrong; with `debug`, with the traceback. The exit status."""
    if isinstance(error, BrokenPipeError):
        drop_output()
        return 1
    if settings.debug:
        traceback.print_exception(error)
    sys.stderr.write(f"error: {_message(error)}\n")
    return 1


def drop_output() -> None:
    """Send the rest of stdout nowhere: whoever read it has gone."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _message(error: Exception) -> str:
    if isinstance(error, ZooError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return (
            f"This needs {error.name}, which is not installed. "
            f"Install it: pip install 'itm-zoo[{EXTRAS[error.name]}]'"
        )
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}. Check the path and who may use it."
    lines = str(error).strip().splitlines() or ["no message"]
    return (
        f"{type(error).__name__}: {lines[0].rstrip('.')}. {_blame(error)}; "
        "`zoo --debug COMMAND ...` shows the traceback to report."
    )


def _blame(error: Exception) -> str:
    """Whose fault it is: that of the plugin whose code was innermost, or ours."""
    owners = {
        one.module.partition(":")[0].partition(".")[0]: one
        for one in candidates(metadata.distributions())
        if one.distribution != OWN_DISTRIBUTION
    }
    place = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        owner = owners.get(str(frame.f_globals.get("__name__", "")).partition(".")[0])
        if owner is not None:
            place = owner, f"{frame.f_code.co_filename}:{line}"
    if place is None:
        return "This is a fault of the zoo, not yours"
    owner, where = place
    return f"This is a fault of the plugin {owner.name} ({owner.distribution}), at {where}"

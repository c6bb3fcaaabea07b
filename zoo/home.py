"""Where the zoo keeps what it fetched, and what the user named."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import InputError


def home() -> Path:
    """The folder that ZOO_HOME names; else `zoo` in XDG_CACHE_HOME, or in ~/.cache."""
    given = os.environ.get("ZOO_HOME")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"


def made(folder: Path) -> Path:
    """A folder in the home, made if need be. Raises `InputError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be made ({error.strerror}). Set ZOO_HOME to a folder that you may "
            "write to."
        ) from error
    return folder

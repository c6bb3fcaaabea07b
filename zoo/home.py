"""Where the zoo keeps what it fetched, and what the user named."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder that ZOO_HOME names; else `zoo` in XDG_CACHE_HOME, or in ~/.cache."""
    given = os.environ.get("ZOO_HOME")
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoo"

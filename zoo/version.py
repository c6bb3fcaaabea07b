"""The version of the package, where every room can read it."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

__version__ = "0.1.0"


@cache
def code_version() -> str:
    """The version, and in a checkout the git commit: "0.1.0 (2f5c6d7e8a9b, changed)".

    "changed" where files that git tracks are not as they were committed.
    """
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return __version__
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=, changed", "--abbrev=12"]
    try:
        told = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return __version__
    return f"{__version__} ({told.stdout.strip()})" if told.returncode == 0 else __version__

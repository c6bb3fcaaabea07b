"""Whether a command can write what it is asked to: said before the work, not after it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError


def check_writable(path: Path, option: str, kind: Literal["file", "folder"] = "file") -> None:
    """Refuse a place that cannot become a file, or a folder, which is made if need be.

    Raises `InputError` that names the place and the option that gave it.
    """
    place = path.absolute()
    above = place.parent
    if kind == "folder":
        above = next(one for one in (place, *place.parents) if one.exists())
    wrong = kind == "file" and place.is_dir()
    if wrong or not above.is_dir() or not os.access(above, os.W_OK):
        raise InputError(
            f"{path} cannot be written: {place if wrong else above} is no "
            f"{'file' if wrong else 'folder that you may write to'}. "
            f"Give {option} the path of a {kind} in a folder that exists."
        )


def write_json(path: Path, value: Any) -> None:
    """Write a value to a file as indented JSON. Raises `DataError` where that cannot be done."""
    from ..files import write_atomically

    write_atomically(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())

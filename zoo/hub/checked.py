"""Which content the files of a folder had when they were last checked.

`.checked.json` tells it, with each file's size, time and inode then: as long as these stay, the
file is not read again to be checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..errors import DataError
from ..files import Pin, write_atomically

CHECKED = ".checked.json"


def faults(folder: Path, files: Mapping[str, Pin]) -> dict[str, str]:
    """Which files are not what they should be, and in what; reads every byte of the others."""
    found = {name: pin.fault(folder / name) for name, pin in files.items()}
    return {name: fault for name, fault in found.items() if fault is not None}


def is_checked(folder: Path, files: Mapping[str, Pin]) -> bool:
    """Whether the files were found to be right, and were not touched since; reads none."""
    noted = _noted(folder)
    try:
        return all(noted.get(name) == (pin, _seen(folder / name)) for name, pin in files.items())
    except OSError:
        return False


def note_checked(folder: Path, files: Mapping[str, Pin]) -> None:
    """Note the files as they are now; where nothing can be written, they are read each time."""
    noted = _noted(folder) | {name: (pin, _seen(folder / name)) for name, pin in files.items()}
    told = {
        name: {"size": pin.size, "digest": pin.digest, "seen": seen}
        for name, (pin, seen) in noted.items()
    }
    try:
        write_atomically(folder / CHECKED, (json.dumps(told, indent=2) + "\n").encode())
    except DataError:
        return


def pins(folder: Path) -> dict[str, Pin]:
    """What the files were when they were checked; nothing in a folder where none was."""
    return {name: pin for name, (pin, _) in _noted(folder).items()}


def _seen(path: Path) -> list[int]:
    """What changes when a file is written or replaced."""
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ino]


def _noted(folder: Path) -> dict[str, tuple[Pin, list[int]]]:
    try:
        noted = json.loads((folder / CHECKED).read_bytes())
        return {
            name: (Pin(one["size"], one["digest"]), one["seen"])
            for name, one in noted.items()
            if Path(name).name == name
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}

"""What every command writes to: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from ..bars import bars

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from ..bars import Advance
    from ..report.tables import Table

WIDE = 200  # columns where the output is no terminal, so that no name is cut


def show(*parts: Table | str) -> None:
    """Write tables and lines of text to stdout."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    for part in parts:
        if isinstance(part, str):
            console.print(part, markup=False, soft_wrap=True)
        else:
            console.print(part.to_rich())


def show_json(value: Any) -> None:
    """Write a value to stdout as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def note(line: str) -> None:
    """Write a line for the reader, not for a program, to stderr."""
    sys.stderr.write(line + "\n")


def progress() -> AbstractContextManager[Advance]:
    """A bar for each thing that is reported, with its count and the time that is left."""
    return bars(_counts)


def _counts() -> tuple[ProgressColumn, ...]:
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    return MofNCompleteColumn(), TimeRemainingColumn()

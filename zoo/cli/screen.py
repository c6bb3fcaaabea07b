"""What every command writes to: tables and JSON on stdout, progress on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..report.tables import Table
    from ..split_scores import Advance

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


@contextmanager
def progress() -> Iterator[Advance]:
    """A bar for each thing that is reported, while stderr is a terminal; else nothing is drawn."""
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Remaining())
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def advance(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.advance(tasks[what], done)

    with bars:
        yield advance

"""Progress bars of downloads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def transfer_bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each file that is fetched, while stderr is a terminal; else nothing is drawn.

    What is yielded is told the file's name, the bytes that came since, and the bytes in all.
    """
    if not sys.stderr.isatty():
        yield lambda _name, _came, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    bars = Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def advance(name: str, came: int, total: int) -> None:
        if name not in tasks:
            tasks[name] = bars.add_task(name, total=total)
        bars.advance(tasks[name], came)

    with bars:
        yield advance

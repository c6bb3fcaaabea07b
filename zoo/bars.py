"""Progress bars on stderr, where somebody looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

Advance = Callable[[str, int, int], None]
"""Told what is done, how much of it was done since, and how much there is in all."""


@contextmanager
def bars(columns: Callable[[], tuple[ProgressColumn, ...]]) -> Iterator[Advance]:
    """A bar for each thing that is reported, while stderr is a terminal; else nothing is drawn.

    `columns` makes what stands after the name and the bar; it is called only where they are drawn.
    """
    if not sys.stderr.isatty():
        yield lambda _what, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    drawn = (TextColumn("{task.description}"), BarColumn(), *columns())
    shown = Progress(*drawn, console=Console(stderr=True), transient=True)
    tasks: dict[str, Any] = {}

    def advance(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = shown.add_task(what, total=total)
        shown.advance(tasks[what], done)

    with shown:
        yield advance


def transfer_bars() -> AbstractContextManager[Advance]:
    """A bar for each file that is fetched, in bytes."""
    return bars(_transfer)


def _transfer() -> tuple[ProgressColumn, ...]:
    from rich.progress import DownloadColumn, TransferSpeedColumn

    return DownloadColumn(), TransferSpeedColumn()

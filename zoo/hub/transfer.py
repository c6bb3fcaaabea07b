"""The bytes of a download, from the answer into a file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..bars import Advance
from .refusals import Asked, WrongLengthError

TRICKLE = 1024  # bytes; fewer in the time of a silence are a silence too


def take_in(
    asked: Asked, response: Any, part: Path, wanted: int, silence: float, advance: Advance
) -> None:
    """Write the content of an answer behind what `part` has, or over it if it is the whole again.

    `response` is httpx's. No more is written than the `wanted` bytes. Raises `WrongLengthError`
    when it has another length, and a passing `HubError` when fewer than 1 kB come in `silence` s.
    """
    had = size_of(part)
    start = had if response.status_code == 206 else 0  # a server without ranges sends the whole
    advance(asked.what, start - had, wanted)
    _check_length(asked, response, start, wanted)
    with part.open("ab" if start else "wb") as file:
        for piece in _lively(asked, response.iter_bytes(), silence):
            if file.tell() + len(piece) > wanted:
                raise _wrong_length(asked, file.tell() + len(piece), wanted)
            file.write(piece)
            advance(asked.what, len(piece), wanted)
        file.flush()
        os.fsync(file.fileno())


def size_of(path: Path) -> int:
    """The bytes of a file; none where there is none."""
    return path.stat().st_size if path.is_file() else 0


def _lively(asked: Asked, pieces: Iterator[bytes], silence: float) -> Iterator[bytes]:
    """The pieces as they come; raises a passing `HubError` when they only trickle."""
    came, since = 0, time.monotonic()
    for piece in pieces:
        yield piece
        came += len(piece)
        if time.monotonic() - since > silence:
            if came < TRICKLE:
                raise asked.unreachable(f"only {came} bytes came in {silence:.0f} s")
            came, since = 0, time.monotonic()


def _check_length(asked: Asked, response: Any, start: int, wanted: int) -> None:
    told = response.headers.get("Content-Length", "")
    total = start + int(told) if told.isdigit() else wanted
    ranged = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if ranged and int(ranged[1]) != start:
        raise asked.unreachable("it sent another part than it was asked for")
    if total != wanted:
        raise _wrong_length(asked, total, wanted)


def _wrong_length(asked: Asked, found: int, wanted: int) -> WrongLengthError:
    fault = f"has {found:,} bytes in place of {wanted:,}"
    return WrongLengthError(asked.what, asked.repo, fault)

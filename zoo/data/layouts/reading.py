"""Reading text files: always UTF-8, whatever the machine's language."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import DataError

OPENING = 1 << 16


def opening(path: Path) -> str:
    """The beginning of a file as text, to recognise it by."""
    with path.open("rb") as file:
        return file.read(OPENING).decode("utf-8-sig", errors="replace")


def read_text(path: Path) -> str:
    """The text of a file. Raises `DataError` when it is missing or not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing. Put it beside the other files.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, none of them blank. Raises `DataError` otherwise."""
    try:
        # Line by line: the train split of COCO has 30 MB of captions.
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            lines = [line.strip() for line in file]
    except (FileNotFoundError, UnicodeDecodeError):
        lines = read_text(path).split("\n")  # which raises, and says at which byte
    if "" in lines:
        raise DataError(
            f"{path} has nothing in line {lines.index('') + 1}. Give every line a value."
        )
    return lines


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises `DataError` when it is damaged."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not JSON ({error}). Fetch the file again.") from error

"""Finding the photographs that a command was given: files, what lies in folders, and lists."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".ppm")


def list_photos(places: Sequence[Path]) -> list[Path]:
    """Files as they are, and of each folder the photographs in it and below it, by name.

    Hidden files and folders are left out. Raises `InputError` for a place that does not exist and
    a folder without photographs.
    """
    photos: list[Path] = []
    for place in places:
        if not place.exists():
            raise InputError(f"{place} does not exist. Check the path.")
        found = sorted(_below(place)) if place.is_dir() else [place]
        if not found:
            raise InputError(
                f"{place} holds no photographs. Give a folder with files that end in "
                f"{', '.join(SUFFIXES)}, or name the files."
            )
        photos += found
    return photos


def read_list(file: Path) -> list[Path]:
    """The paths that a UTF-8 text file names, one a line, as seen from the current folder.

    Raises `InputError` for a file that cannot be read or names nothing.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read as a list ({error}). Give a UTF-8 text file with a path a line."
        ) from error
    paths = [Path(line) for line in lines if line.strip()]
    if not paths:
        raise InputError(f"{file} names no photographs. Write the path of one in each line.")
    return paths


def in_order(photos: Iterable[Path]) -> list[Path]:
    """Each photograph once, by the whole of its path, so that order of asking does not matter."""
    by_path = {os.path.abspath(photo): photo for photo in photos}  # noqa: PTH100  (keeps links)
    return [by_path[path] for path in sorted(by_path)]


def _below(folder: Path) -> Iterator[Path]:
    """The photographs in a folder and in those below it; links are followed, once each."""
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(place))
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(place, name)) not in seen
        ]
        for name in names:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(place, name)

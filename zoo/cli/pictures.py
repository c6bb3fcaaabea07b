"""Finding the photographs that a command was given: files, and what lies in folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".ppm")


def list_photos(places: Sequence[Path]) -> list[Path]:
    """Files as they are, and of each folder the photographs right in it, by name.

    Raises `InputError` for a place that does not exist and a folder without photographs.
    """
    photos: list[Path] = []
    for place in places:
        if not place.exists():
            raise InputError(f"{place} does not exist. Check the path.")
        found = _in_folder(place) if place.is_dir() else [place]
        if not found:
            raise InputError(
                f"{place} holds no photographs. Give a folder with files that end in "
                f"{', '.join(SUFFIXES)}, or name the files."
            )
        photos += found
    return photos


def _in_folder(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)

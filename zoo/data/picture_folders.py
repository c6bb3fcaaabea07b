"""Where the pictures of a data set lie: which folder beside its captions has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from .layouts import Found, Listing

IMAGE_FOLDERS = (
    "images",
    "Images",
    "flickr30k-images",
    "flickr30k_images",
    "Flicker8k_Dataset",
    "Flickr8k_Dataset",
    "coco-images",
)
COMPARED = 16

Form = Callable[[str], str]


def find_pictures(found: Found, listing: Listing, *, required: bool) -> tuple[Path, ...] | None:
    """The pictures of a split, in its order, or None.

    They lie in a folder with one of the usual names or right beside the captions, in the data
    set's folder or the one around it, with the folders that the listing says or without. Raises
    `DataError` when they are `required` and only some of them are there.
    """
    names = listing.file_names
    if names is None:
        return None
    rows = np.unique(np.linspace(0, len(names) - 1, COMPARED).astype(int))
    place = _best_place(found, [names[row] for row in rows], _forms(names))
    if place is None:
        return None
    folder, form = place
    paths = tuple(folder / form(name) for name in names)
    missing = [path for path in paths if not path.is_file()]
    if missing and required:
        raise DataError(
            f"{len(missing):,} of {len(paths):,} pictures are not there, the first {missing[0]}. "
            f"Put them into {folder}, or give features."
        )
    return None if missing else paths


def _best_place(
    found: Found, names: Sequence[str], forms: Sequence[Form]
) -> tuple[Path, Form] | None:
    """The folder that has most of these pictures, and how their names are to be read for it.

    Where none has any, it is an images folder of the data set itself, if there is one.
    """
    best, most = None, 0
    for folder in _folders(found):
        for form in forms:
            present = sum((folder / form(name)).is_file() for name in names)
            if present > most:
                best, most = (folder, form), present
    if best is None and (folder := _folders(found)[0]).name in IMAGE_FOLDERS:
        best = (folder, forms[0])
    return best


def _folders(found: Found) -> list[Path]:
    """Where pictures may lie, the likeliest first; the data set's folder itself is one."""
    homes = list(dict.fromkeys((found.home, found.root, found.home.parent)))
    named = [home / name for home in homes for name in IMAGE_FOLDERS]
    return [folder for folder in (*named, *homes) if folder.is_dir()]


def _without_folders(name: str) -> str:
    return name.rpartition("/")[2]


def _forms(names: Sequence[str]) -> list[Form]:
    """How names may be read so that pictures with different names stay apart."""
    apart = len({_without_folders(name) for name in names}) == len(set(names))
    return [str, _without_folders] if apart else [str]

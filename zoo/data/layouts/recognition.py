"""Which data set lies in a folder, and in which layout: found by the files, not by names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import InputError
from .coco import Coco
from .karpathy import Karpathy
from .layout import Found, Layout
from .names import INNER
from .pictures import Pictures
from .records import JsonLines, Lavis
from .scan import Scan
from .splits import canonical_split
from .tables import Tables

LAYOUTS: tuple[Layout, ...] = (
    Scan(),
    Karpathy(),
    Lavis(),
    Coco(),
    JsonLines(),
    Tables(),
    Pictures(),
)
"""Where a split is in several layouts in one folder, the first of these counts."""

DEPTH = 2
"""How many levels below the given folder are searched."""


def recognise(path: str | Path, split: str | None = None) -> Found:
    """The data set in a folder, or in the nearest one below it; with `split`, one that has it.

    `path` may also be a caption file itself. Raises `InputError`, with the choices, where nothing
    or more than one data set is found, or none that has the split.

    >>> recognise("data/flickr8k").words()                             # doctest: +SKIP
    'SCAN precomp: dev_caps.txt, dev_ids.txt, test_caps.txt and 3 more'
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"There is no folder {path}. Give the folder of a data set.")
    for level in range(DEPTH + 1 if path.is_dir() else 1):
        found = [one for folder in _below(path, level) for one in find_all(folder)]
        if found:
            return _choose(path, found, split)
    raise InputError(
        f"{path} holds no data set that is known. It must have SPLIT_caps.txt and SPLIT_ids.txt, "
        "dataset_NAME.json in Karpathy's layout, or captions in another layout of docs/data.md."
    )


def find_all(path: Path) -> list[Found]:
    """Every data set right in a folder, those of the first layouts first; or that of one file."""
    if path.is_file():
        return [one for one in find_all(path.parent) if path in one.files]
    folders = [folder for folder in (path, *(path / name for name in INNER)) if folder.is_dir()]
    listed = [(folder, _files(folder)) for folder in folders]
    return [
        Found(folder, layout, splits)
        for layout in LAYOUTS
        for folder, files in listed
        for splits in layout.find(files)
    ]


def _choose(path: Path, found: Sequence[Found], split: str | None) -> Found:
    """The one that has the split, in the first layout that has it."""
    wanted = None if split is None else canonical_split(split)
    having = [one for one in found if wanted is None or wanted in one.splits]
    if not having:
        splits = dict.fromkeys(name for one in found for name in one.splits)
        raise InputError(f"{path} has no split {split!r}. Choose one of {', '.join(splits)}.")
    homes = dict.fromkeys(str(one.home) for one in having)
    same = [one for one in having if one.layout is having[0].layout]
    choices = list(homes) if len(homes) > 1 else [str(one.files[0]) for one in same]
    if len(choices) > 1:
        raise InputError(f"{path} holds more than one data set. Give one of {', '.join(choices)}.")
    return having[0]


def _below(path: Path, level: int) -> Iterator[Path]:
    """The folders that lie `level` levels below a folder."""
    if level == 0:
        yield path
        return
    for folder in _below(path, level - 1):
        yield from (folder / one.name for one in _entries(folder) if one.is_dir())


def _files(folder: Path) -> list[Path]:
    return [folder / one.name for one in _entries(folder) if one.is_file()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name, without what is hidden; nothing if it may not be read."""
    try:
        with os.scandir(folder) as entries:
            seen = [one for one in entries if not one.name.startswith(".")]
    except PermissionError:
        return []
    return sorted(seen, key=lambda one: one.name)

"""Which snapshots are on this disk, whether they are still what was fetched, and deleting them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..files import Pin
from .checked import faults, pins
from .client import COMMIT
from .snapshot_folders import alone, joined_root, root, unfinished
from .transfer import size_of


@dataclass(frozen=True)
class Stored:
    """A snapshot on this disk, or a model that was made of others (repo: joined/NAME).

    It has whole files and their bytes, and those of unfinished downloads.
    """

    repo: str
    commit: str
    folder: Path
    files: Mapping[str, Pin]
    size: int
    unfinished: int

    @property
    def missing(self) -> list[str]:
        """Files that were there when they were checked, and are not now."""
        return [name for name in self.files if not (self.folder / name).is_file()]

    @property
    def is_whole(self) -> bool:
        """Whether all of it was fetched, and is there."""
        return bool(self.files) and not self.missing

    def faults(self) -> dict[str, str]:
        """Which files are not as they were fetched, and in what; reads every byte."""
        return faults(self.folder, self.files)


def stored() -> list[Stored]:
    """All snapshots on this disk, sorted by repository and commit; then what was made of them."""
    folders = [path for path in root().glob("*/*/*") if COMMIT.fullmatch(path.name)]
    made = joined_root().glob("*/[!.]*")
    return [_stored(path) for path in (*sorted(folders), *sorted(made)) if path.is_dir()]


def remove(one: Stored) -> int:
    """Delete a snapshot. How many bytes that sets free. Raises `WeightsError`."""
    with alone(one.folder):
        shutil.rmtree(one.folder)
    return one.size + one.unfinished


def remove_unfinished(one: Stored) -> int:
    """Delete what interrupted downloads left in a snapshot: all of it, if it never was whole.

    How many bytes that sets free. Raises `WeightsError`.
    """
    if not one.files:
        return remove(one)
    with alone(one.folder):
        for part in unfinished(one.folder):
            part.unlink()
    return one.unfinished


def _stored(folder: Path) -> Stored:
    org, name, commit = folder.parts[-3:]
    whole = (path for path in folder.iterdir() if not path.name.startswith("."))
    return Stored(
        repo=f"{org}/{name}",
        commit=commit,
        folder=folder,
        files=pins(folder),
        size=sum(map(size_of, whole)),
        unfinished=sum(map(size_of, unfinished(folder))),
    )

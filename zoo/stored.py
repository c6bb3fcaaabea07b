"""Which snapshots are on this disk, whether they are still what was fetched, and deleting them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .checked import faults, pins
from .files import Pin
from .hub import COMMIT
from .snapshot_folders import BRANCHES, alone, root, unfinished
from .transfer import size_of


@dataclass(frozen=True)
class Stored:
    """A snapshot on this disk: whole files and their bytes, and those of unfinished downloads."""

    repo: str
    commit: str
    folder: Path
    files: Mapping[str, Pin]
    size: int
    unfinished: int

    @property
    def is_whole(self) -> bool:
        """Whether every file is there that was there when they were checked."""
        there = all((self.folder / name).is_file() for name in self.files)
        return there and bool(self.files) and not self.unfinished

    def faults(self) -> dict[str, str]:
        """Which files are not as they were fetched, and in what; reads every byte."""
        return faults(self.folder, self.files)


def stored() -> list[Stored]:
    """All snapshots on this disk, sorted by repository and commit."""
    folders = [path for path in root().glob("*/*/*") if COMMIT.fullmatch(path.name)]
    return [_stored(path) for path in sorted(folders) if path.is_dir()]


def remove(one: Stored) -> None:
    """Delete a snapshot, and the branches that led to it. Raises `WeightsError`."""
    with alone(one.folder):
        shutil.rmtree(one.folder)
        for branch in (one.folder.parent / BRANCHES).glob("*"):
            if branch.read_text("utf-8") == one.commit:
                branch.unlink()


def remove_unfinished(one: Stored) -> None:
    """Delete what interrupted downloads left in a snapshot. Raises `WeightsError`."""
    with alone(one.folder):
        for part in unfinished(one.folder):
            part.unlink()
        if not any(one.folder.iterdir()):
            one.folder.rmdir()


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

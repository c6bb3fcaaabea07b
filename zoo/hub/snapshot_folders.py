"""Where snapshots of the Hub's repositories lie on this disk, and who may change them when."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from ..errors import WeightsError
from ..home import home
from ..lock import held

PART, BRANCHES = ".part", "branches"
MAKE_SPACE = (
    "Free some space (`zoo cache ls` shows what the zoo holds), or set ZOO_HOME to a folder on "
    "another disk."
)


def folder_of(repo: str, commit: str) -> Path:
    """Where the files of a repository at a commit lie, or will lie."""
    return root() / repo / commit


def branch_of(repo: str, revision: str) -> Path:
    """The file that tells which commit a branch or tag was when it was last looked up."""
    return root() / repo / BRANCHES / quote(revision, safe="")


def root() -> Path:
    """Where all of them lie."""
    return home() / "hub"


def joined_root() -> Path:
    """Where the models lie that were made of others, each in a folder of its name."""
    return home() / "joined"


def part_of(folder: Path, name: str) -> Path:
    """Where a file of a snapshot lies until it is whole."""
    return folder / f".{name}{PART}"


def unfinished(folder: Path) -> list[Path]:
    """Unfinished downloads, and what a killed process was about to write."""
    return [*folder.glob(f".*{PART}"), *folder.glob(".*.tmp")]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One thread of one process changes a snapshot, while the others wait."""
    lock = folder.with_name(f".{folder.name}.lock")
    with writing(folder), held(lock, wait=True):
        folder.mkdir(exist_ok=True)  # whoever held the lock may have removed it
        yield


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Make the folder; say in words when the disk is full or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            for part in unfinished(folder):
                part.unlink(missing_ok=True)
            raise WeightsError(
                f"The disk of {root()} is full; what was begun is deleted. {MAKE_SPACE}"
            ) from error
        raise WeightsError(
            f"{error.filename or folder} cannot be written ({error.strerror}). "
            "Set ZOO_HOME to a folder that you may write to."
        ) from error

"""Files of a repository of the Hub on this disk: fetched once, checked before use.

A snapshot is a model's folder, `hub/ORG/REPO/COMMIT` under the zoo's home. A file gets its name
there when its content is what it should be; until then it is `.NAME.part`, where an interrupted
download goes on.
"""

from __future__ import annotations

import errno
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from . import hub
from .checked import faults, is_checked, note_checked, pins
from .errors import WeightsError
from .files import Pin, sync_folder, write_atomically
from .home import home
from .hub import Advance, Snapshot, WrongLengthError
from .lock import held

PART, BRANCHES = ".part", "branches"
A_MODEL_S = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(?:json|safetensors|txt|md)")
"""Names of the files that a model's folder may have: no folders, and nothing that could be run."""
_IN_THIS_PROCESS = threading.Lock()  # a file lock keeps out other processes, not other threads


def fetch(
    snapshot: Snapshot,
    *,
    offline: bool | None = None,
    verify: bool = False,
    advance: Advance = lambda *_: None,
) -> Path:
    """The folder with the files of a snapshot, each with the content that it should have.

    What is here is used without a word to the Hub; `verify` reads it again to check it. What is
    missing or wrong is fetched, by one process while the others wait. Raises `HubError` when that
    fails, and `WeightsError` when it may not be tried, when a file's content is wrong twice, and
    when the disk is full or cannot be written.
    """
    folder = folder_of(snapshot.repo, snapshot.commit)
    if not verify and is_checked(folder, snapshot.files):
        return folder
    wrong = faults(folder, snapshot.files)
    if wrong and hub.is_offline(offline):
        told = "; ".join(f"{name} {fault}" for name, fault in wrong.items())
        raise WeightsError(
            f"{snapshot.repo} at {snapshot.commit[:12]} is not whole in {folder} ({told}), and "
            "offline nothing is fetched. Try again without offline=True and HF_HUB_OFFLINE."
        )
    if wrong:
        with _alone(folder):
            _complete(snapshot, folder, advance)
    note_checked(folder, snapshot.files)
    return folder


def look_up(repo: str, revision: str, *, offline: bool | None = None) -> Snapshot:
    """A model's files at a revision. Of a commit that was fetched before, as they were then.

    Offline, a branch or tag is what it was when it was last looked up. Raises `HubError`, and
    `WeightsError` offline for what was never fetched.
    """
    branch = _root() / repo / BRANCHES / quote(revision, safe="")
    offline = hub.is_offline(offline)
    commit = branch.read_text("utf-8") if offline and branch.is_file() else revision
    if hub.COMMIT.fullmatch(commit) and (known := pins(folder_of(repo, commit))):
        return Snapshot(repo, commit, known)
    if offline:
        raise WeightsError(
            f"{repo} was not fetched at {revision}, and offline nothing is. "
            "Try again without offline=True and HF_HUB_OFFLINE."
        )
    found = hub.look_up(repo, revision)
    if found.commit != revision:
        with _writing(branch.parent):
            write_atomically(branch, found.commit.encode())
    files = {name: pin for name, pin in found.files.items() if A_MODEL_S.fullmatch(name)}
    return Snapshot(repo, found.commit, files)


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
    folders = [path for path in _root().glob("*/*/*") if hub.COMMIT.fullmatch(path.name)]
    return [_stored(path) for path in sorted(folders) if path.is_dir()]


def remove(one: Stored) -> None:
    """Delete a snapshot, and the branches that led to it. Raises `WeightsError`."""
    with _alone(one.folder):
        shutil.rmtree(one.folder)
        for branch in (one.folder.parent / BRANCHES).glob("*"):
            if branch.read_text("utf-8") == one.commit:
                branch.unlink()


def remove_unfinished(one: Stored) -> None:
    """Delete what interrupted downloads left in a snapshot. Raises `WeightsError`."""
    with _alone(one.folder):
        for part in _parts(one.folder):
            part.unlink()
        if not any(one.folder.iterdir()):
            one.folder.rmdir()


def folder_of(repo: str, commit: str) -> Path:
    """Where the files of a repository at a commit lie, or will lie."""
    return _root() / repo / commit


def _root() -> Path:
    return home() / "hub"


def _complete(snapshot: Snapshot, folder: Path, advance: Advance) -> None:
    """Fetch what is missing or wrong, unless another process did so meanwhile."""
    wrong = faults(folder, snapshot.files)
    for name in wrong:
        (folder / name).unlink(missing_ok=True)
    _check_space(snapshot, folder, list(wrong))
    for name in wrong:
        _fetch_file(snapshot, name, folder, advance)
    sync_folder(folder)


def _fetch_file(snapshot: Snapshot, name: str, folder: Path, advance: Advance) -> None:
    """Download a file; one with wrong content is deleted and fetched once more, then refused."""
    part, pin, fault = _part(folder, name), snapshot.files[name], None
    for _ in range(2):
        try:
            hub.download(snapshot, name, part, advance)
            fault = pin.fault(part)
        except WrongLengthError as error:
            fault = error.fault
        if fault is None:
            part.rename(folder / name)
            return
        advance(name, -_size(part), pin.size)
        part.unlink(missing_ok=True)
    raise WeightsError(
        f"{name} of {snapshot.repo} at {snapshot.commit[:12]} came twice and {fault}; it is "
        "deleted. The Hub has something else than was published, or something on the way changes "
        "it: ask those who publish the model, or choose another revision."
    )


def _check_space(snapshot: Snapshot, folder: Path, names: list[str]) -> None:
    here = sum(_size(_part(folder, name)) for name in names)
    needed = sum(snapshot.files[name].size for name in names) - here
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise WeightsError(
            f"{snapshot.repo} needs {needed:,} bytes more in {_root()}, and {free:,} are free. "
            f"{_MAKE_SPACE}"
        )


_MAKE_SPACE = (
    "Free some space (`zoo cache ls` shows what the zoo holds), or set ZOO_HOME to a folder on "
    "another disk."
)


def _part(folder: Path, name: str) -> Path:
    return folder / f".{name}{PART}"


def _parts(folder: Path) -> list[Path]:
    """Unfinished downloads, and what a killed process was about to write."""
    return [*folder.glob(f".*{PART}"), *folder.glob(".*.tmp")]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _stored(folder: Path) -> Stored:
    org, name, commit = folder.parts[-3:]
    whole = (path for path in folder.iterdir() if not path.name.startswith("."))
    size, unfinished = sum(map(_size, whole)), sum(map(_size, _parts(folder)))
    return Stored(f"{org}/{name}", commit, folder, pins(folder), size, unfinished)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One thread of one process changes a snapshot, while the others wait."""
    lock = folder.with_name(f".{folder.name}.lock")
    with _writing(folder), _IN_THIS_PROCESS, held(lock, wait=True):
        folder.mkdir(exist_ok=True)  # whoever held the lock may have removed it
        yield


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Make the folder; say in words when the disk is full or nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            for part in _parts(folder):
                part.unlink()
            raise WeightsError(
                f"The disk of {_root()} is full; what was begun is deleted. {_MAKE_SPACE}"
            ) from error
        raise WeightsError(
            f"{error.filename or folder} cannot be written ({error.strerror}). "
            "Set ZOO_HOME to a folder that you may write to."
        ) from error

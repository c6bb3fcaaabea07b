"""Files of a repository of the Hub on this disk: fetched once, checked before use.

A snapshot is a model's folder, `hub/ORG/REPO/COMMIT` under the zoo's home. A file gets its name
there when its content is what it should be; until then it is `.NAME.part`, where an interrupted
download goes on.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ..bars import Advance
from ..errors import WeightsError
from ..files import sync_folder, write_atomically
from . import client as hub
from .checked import faults, is_checked, note_checked, pins
from .client import Snapshot
from .refusals import WrongLengthError
from .snapshot_folders import MAKE_SPACE, alone, branch_of, folder_of, part_of, root, writing
from .transfer import size_of

A_MODEL_S = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.(?:json|safetensors|txt|md)")
"""Names of the files that a model's folder may have: no folders, and nothing that could be run."""


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
        with alone(folder):
            _complete(snapshot, folder, advance)
    note_checked(folder, snapshot.files)
    return folder


def look_up(repo: str, revision: str, *, offline: bool | None = None) -> Snapshot:
    """A model's files at a revision. Of a commit that was fetched before, as they were then.

    Offline, a branch or tag is what it was when it was last looked up. Raises `HubError`, and
    `WeightsError` offline for what was never fetched.
    """
    branch = branch_of(repo, revision)
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
        with writing(branch.parent):
            write_atomically(branch, found.commit.encode())
    files = {name: pin for name, pin in found.files.items() if A_MODEL_S.fullmatch(name)}
    return Snapshot(repo, found.commit, files)


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
    part, pin, fault = part_of(folder, name), snapshot.files[name], None
    for _ in range(2):
        try:
            hub.download(snapshot, name, part, advance)
            fault = pin.fault(part)
        except WrongLengthError as error:
            fault = error.fault
        if fault is None:
            part.rename(folder / name)
            return
        advance(name, -size_of(part), pin.size)
        part.unlink(missing_ok=True)
    raise WeightsError(
        f"{name} of {snapshot.repo} at {snapshot.commit[:12]} came twice and {fault}; it is "
        "deleted. The Hub has something else than was published, or something on the way changes "
        "it, such as a log-in page of your network: look there, ask those who publish the model, "
        "or choose another revision."
    )


def _check_space(snapshot: Snapshot, folder: Path, names: list[str]) -> None:
    here = sum(size_of(part_of(folder, name)) for name in names)
    needed = sum(snapshot.files[name].size for name in names) - here
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise WeightsError(
            f"{snapshot.repo} needs {needed:,} bytes more in {root()}, and {free:,} are free. "
            f"{MAKE_SPACE}"
        )

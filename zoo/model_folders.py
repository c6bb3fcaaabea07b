"""A model's folder on disk: what its files are called, and making one whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import InputError
from .files import sync_folder

CONFIG, WEIGHTS, RESULTS = "config.json", "model.safetensors", "results.json"
CARD = "README.md"


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the place of `folder` when the block ends well.

    The card of an old model's folder is carried over. That folder makes way in a first rename, the
    new one comes in a second. If the process is killed between the two, there is no folder of that
    name: the old one lies beside it, whole, as `.NAME.PID.old`, and the next call puts it back
    before it begins. Raises `InputError` for a folder that holds other things than a model.
    """
    place = folder.resolve()
    _put_back(place)
    _refuse_others(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".tmp", dir=place.parent))
    try:
        yield written
        if (place / CARD).is_file():
            shutil.copyfile(place / CARD, written / CARD)
        written.chmod(0o755)
        _move(written, place)
    finally:
        shutil.rmtree(written, ignore_errors=True)


def _put_back(folder: Path) -> None:
    """Undo what a killed process left half done; left-overs of a whole replacement are removed."""
    leftover = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.old")
    for path in sorted(folder.parent.glob(".*.old")):
        if leftover.fullmatch(path.name):
            if folder.exists():
                shutil.rmtree(path)
            else:
                path.rename(folder)


def _refuse_others(folder: Path) -> None:
    """Only an empty folder or a model's is replaced: nobody's files are lost to a wrong path."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    missing = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is there and is no model folder: it lacks {' and '.join(missing)}. "
            "It stays as it is; save to a new or an empty folder."
        )


def _move(written: Path, folder: Path) -> None:
    replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(replaced)
    try:
        written.rename(folder)
    except BaseException:
        if replaced.exists():
            replaced.rename(folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
    sync_folder(folder.parent)

"""A model's folder on disk: its files, its configuration, and making one whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..config import ModelConfig, read_config
from ..errors import InputError, WeightsError
from ..files import sync_folder
from .safe_tensors import CHECKPOINTS, importing

CONFIG, WEIGHTS, RESULTS = "config.json", "model.safetensors", "results.json"
CARD = "README.md"
TEXTS = (".json", ".txt")
"""How the names of the text files end."""
LARGEST_TEXT = 64 << 20  # bytes; a vocabulary takes a few hundred kB


def read_text(path: Path) -> str:
    """The text of a UTF-8 file of at most 64 MiB; raises `WeightsError`."""
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise WeightsError(
                f"{path} has {size:,} bytes, and at most {LARGEST_TEXT:,} are read. "
                "It is not the file that it is named after: take it again from its source."
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path} cannot be read ({error}). Check the path, or take the file again."
        ) from error


def read_folder_config(folder: Path) -> ModelConfig:
    """The configuration in a model folder; raises `WeightsError` when it is no such folder."""
    if not (folder / CONFIG).is_file():
        raise no_model(folder)
    return read_config(read_text(folder / CONFIG), str(folder / CONFIG))


def no_model(folder: Path) -> WeightsError:
    """The error for a path where no model's folder is."""
    what = "has no config.json" if folder.is_dir() else "is not a folder"
    other = f"; or {importing(folder)}" if folder.suffix in CHECKPOINTS else "."
    return WeightsError(
        f"{folder} {what}. A model folder holds config.json and model.safetensors: "
        f"give the folder that was passed to `model.save`, or that `zoo train` printed{other}"
    )


def state_of(folder: Path) -> list[tuple[str, int, int, int]]:
    """What changes when a file that the model consists of is written or replaced; not its results.

    Of each file: its name, size, time and inode.
    """
    parts = [
        path
        for path in sorted(folder.resolve().glob("[!.]*"))
        if path.suffix in (*TEXTS, Path(WEIGHTS).suffix) and path.name != RESULTS
    ]
    facts = [(path.name, path.stat()) for path in parts if path.is_file()]
    return [(name, one.st_size, one.st_mtime_ns, one.st_ino) for name, one in facts]


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Raise `WeightsError` when the model in a folder is written while the block reads it.

    Then what was read may be of the old one and of the new one, and what failed to fit, sound.
    """
    before = state_of(folder)
    try:
        yield
    finally:
        if state_of(folder) != before:
            raise WeightsError(
                f"{folder} was written to while the model in it was read. Load it again."
            )


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

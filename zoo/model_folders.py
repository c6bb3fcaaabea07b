"""A model's folder on disk: its files, its configuration, and making one whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .config import ModelConfig, read_config
from .errors import InputError, WeightsError
from .files import sync_folder
from .safe_tensors import CHECKPOINTS, importing

CONFIG, WEIGHTS, RESULTS = "config.json", "model.safetensors", "results.json"
CARD = "README.md"
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
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        other = f"; or {importing(folder)}" if folder.suffix in CHECKPOINTS else "."
        raise WeightsError(
            f"{folder} {what}. A model folder holds config.json and model.safetensors: "
            f"give the folder that was passed to `model.save`, or that `zoo train` printed{other}"
        )
    return read_config(read_text(folder / CONFIG), str(folder / CONFIG))


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

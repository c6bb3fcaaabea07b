"""Writing files so that a crash leaves the old one or the new one, never half of either."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .errors import DataError


@dataclass(frozen=True)
class Pin:
    """What a file must be: its size in bytes, and the digest of its content.

    digest: the SHA-256 (64 hexadecimal digits), or git's name for the content (40 of them)
    """

    size: int
    digest: str

    def fault(self, path: Path) -> str | None:
        """What is wrong with the file there, in words; None for the very file."""
        try:
            size = path.stat().st_size
            if size != self.size:
                return f"has {size:,} bytes in place of {self.size:,}"
            found = sha256(path) if len(self.digest) == 64 else git_blob(path)
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        if found != self.digest:
            return f"has the content {found[:12]}... in place of {self.digest[:12]}..."
        return None


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` under a temporary name beside `path`, make it durable, then rename it.

    Raises `DataError` when the folder cannot be written or the disk is full; a file that was
    there before is then untouched.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror}). Choose a folder that exists and that "
            "you may write to."
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except OSError as error:
        raise DataError(
            f"{path} could not be written ({error.strerror}; {len(data):,} bytes are needed). "
            "Free some space and try again; nothing was changed."
        ) from error
    finally:
        Path(name).unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system allows it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob(path: Path) -> str:
    """Git's name for a file's content, as 40 hexadecimal digits."""
    with Path(path).open("rb") as file:
        digest = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size)
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current

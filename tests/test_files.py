"""A file is the old one or the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import DataError
from zoo.files import sha256, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    """No temporary name stays behind."""
    target = tmp_path / "results.json"
    write_atomically(target, b"old")
    write_atomically(target, b"new")

    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    """As when the disk is full."""
    target = tmp_path / "results.json"
    write_atomically(target, b"old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.files.os.fsync", full)
    with pytest.raises(DataError, match=r"No space left on device; 5 bytes are needed"):
        write_atomically(target, b"newer")

    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_missing_folder_is_named(tmp_path):
    """The message says which path cannot be written."""
    with pytest.raises(DataError, match=r"absent.*Choose a folder that exists"):
        write_atomically(tmp_path / "absent" / "file", b"")


def test_sha256_of_known_bytes(tmp_path):
    """The digest of "abc" from the standard (FIPS 180-2)."""
    path = Path(tmp_path / "abc")
    path.write_bytes(b"abc")

    assert sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

"""The repositories of the loopback Hub, in memory: commits, and branches and tags of them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LARGE = (".safetensors", ".bin", ".pt", ".pth", ".npy")


class StaleParentError(Exception):
    """A commit names a parent that the branch has left behind."""


class MissingUploadError(Exception):
    """A commit names a large file that was never uploaded."""


@dataclass
class Commit:
    """A state of a repository: each file's content by path."""

    parent: str | None
    message: str
    files: Mapping[str, bytes]


@dataclass
class Repository:
    """One repository: its commits by name, and the branches and tags that point to them."""

    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commit({".gitattributes": b"*.safetensors filter=lfs\n"}, message="initial commit")

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, a tag, or of itself."""
        return revision if revision in self.commits else self.refs.get(revision)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """What lies in the repository at a revision, by path."""
        return dict(self.commits[self.refs.get(revision, revision)].files)

    def commit(
        self,
        add: Mapping[str, bytes],
        *,
        remove: tuple[str, ...] = (),
        branch: str = "main",
        message: str = "a commit",
        parent: str | None = None,
    ) -> str:
        """Add a commit to a branch; raises `StaleParentError` unless `parent` is its newest."""
        newest = self.refs.get(branch)
        if parent not in (None, newest):
            raise StaleParentError
        kept = self.files(branch) if newest else {}
        files = {path: data for path, data in kept.items() if not _under(path, remove)} | dict(add)
        told = repr((newest, message, len(self.commits), sorted(files.items())))
        name = hashlib.sha1(told.encode()).hexdigest()
        self.commits[name] = Commit(newest, message, files)
        self.refs[branch] = name
        return name

    def commit_sent(self, branch: str, body: bytes, uploads: Mapping[str, bytes]) -> str:
        """A commit as the client sends it: a header and a line of JSON for each file."""
        add: dict[str, bytes] = {}
        remove: list[str] = []
        head: dict[str, str] = {}
        for line in body.splitlines():
            said = json.loads(line)
            key, value = said["key"], said["value"]
            if key == "header":
                head = value
            elif key == "file":
                add[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                if value["oid"] not in uploads:
                    raise MissingUploadError(value["oid"])
                add[value["path"]] = uploads[value["oid"]]
            else:
                remove.append(value["path"])
        return self.commit(
            add,
            remove=tuple(remove),
            branch=branch,
            message=head["summary"],
            parent=head.get("parentCommit"),
        )


def _under(path: str, removed: tuple[str, ...]) -> bool:
    return any(path == one or path.startswith(one.rstrip("/") + "/") for one in removed)


def is_large(path: str) -> bool:
    """Whether a file is kept beside the repository, by its SHA-256, as Git LFS does."""
    return path.endswith(LARGE)


def git_blob(data: bytes) -> str:
    """The name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def sha256(data: bytes) -> str:
    """The SHA-256 of a content."""
    return hashlib.sha256(data).hexdigest()


def _pointer(data: bytes) -> bytes:
    oid = sha256(data)
    return (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(data)}\n".encode()
    )


def tree_entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as a listing of the tree shows it."""
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
    if not is_large(path):
        return entry | {"oid": git_blob(data)}
    pointer = _pointer(data)
    large = {"oid": sha256(data), "size": len(data), "pointerSize": len(pointer)}
    return entry | {"oid": git_blob(pointer), "lfs": large}


def tree_folder(path: str) -> dict[str, Any]:
    """A folder as a listing of the tree shows it."""
    return {"type": "directory", "path": path, "size": 0, "oid": git_blob(path.encode())}


def sibling(path: str, data: bytes, with_blobs: bool) -> dict[str, Any]:
    """A file as the description of a repository shows it."""
    if not with_blobs:
        return {"rfilename": path}
    entry = tree_entry(path, data)
    shown: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": entry["oid"]}
    if "lfs" in entry:
        shown["lfs"] = entry["lfs"] | {"sha256": entry["lfs"]["oid"]}
    return shown

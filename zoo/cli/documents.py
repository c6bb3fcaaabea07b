"""Tables and drawings in documents, made again by the commands that their markers bear."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import typer

from ..errors import InputError
from .screen import note
from .tabling import Request


def renew(files: Sequence[Path], *, write: bool) -> None:
    """Make the marked text of each file anew; only compare it unless `write`.

    A drawing lies beside the document that shows it, and is renewed and compared with it.
    Raises `typer.Exit` with status 1 where something is not up to date.
    """
    from ..files import write_atomically

    if not files:
        raise InputError("No file was given. Name those with markers: zoo results --write FILE.")
    new = {path: text for file in files for path, text in _contents(file).items()}
    outdated = [path for path, text in new.items() if not _holds(path, text)]
    if write:
        for path in outdated:
            write_atomically(path, new[path].encode())
        note(f"{len(outdated)} of {len(new)} files changed.")
    elif outdated:
        names, documents = (" ".join(map(str, some)) for some in (outdated, files))
        note(f"Not up to date: {names}. Renew with: zoo results --write {documents}")
        raise typer.Exit(1)


def _contents(file: Path) -> dict[Path, str]:
    """What a document and its drawings should hold."""
    from ..report.markers import renewed

    drawings: dict[Path, str] = {}

    def render(command: str) -> str:
        request = marked_request(command, file)
        if request.figure is not None:
            drawings[file.parent / request.figure.name] = request.drawing()
        return request.markdown()

    return {file: renewed(_read(file), file, render)} | drawings


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode()


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is no text ({error}). Give Markdown files.") from error


def marked_request(command: str, file: Path) -> Request:
    """What a marker's command asks for; `file` is where it stands.

    Paths are looked for beside the file and in the folders above it; a drawing lies beside it.
    """
    parser = _MarkerParser(prog=f"{file}: <!-- {command} -->", add_help=False, allow_abbrev=False)
    parser.add_argument("places", nargs="*")
    parser.add_argument("--dataset")
    parser.add_argument("--split", default="test")
    parser.add_argument("--ablation")
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--leaderboard")
    parser.add_argument("--protocol")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args(shlex.split(command)[2:])
    for option in ("ablation", "leaderboard"):
        path = getattr(given, option)
        setattr(given, option, path and _above(file, path))
    given.places = [str(_above(file, place)) if "/" in place else place for place in given.places]
    request = Request(**vars(given))
    request.check()
    return request


class _MarkerParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}. Correct the marker.")


def _above(file: Path, path: str) -> Path:
    """A path as seen from the file's folder, or from one above it."""
    for folder in file.resolve().parents:
        if (folder / path).exists():
            return folder / path
    raise InputError(
        f"{file} names {path}, which is neither beside it nor in a folder above. "
        "Correct the path in the marker."
    )

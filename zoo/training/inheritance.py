"""What a recipe builds on: `_base_`, which may name a file, another recipe, or one of the zoo's."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import InputError
from ..spelling import nearest

BASE = "_base_"
OURS = "zoo:"
"""Before the name of a recipe that comes with the zoo for others to build on."""

Find = Callable[[str], Path]


def with_paths(path: Path, folder: Path, find: Find, chain: Sequence[Path] = ()) -> Path:
    """The file, or a copy in `folder`, in which every recipe that it builds on is a path.

    MMEngine, which merges them, knows paths only; `find` gives the file of a recipe's name. Raises
    `InputError` for a name that is unknown and for recipes that build on themselves.
    """
    if path in chain:
        raise InputError(
            f"{path} builds on itself ({' -> '.join(one.name for one in (*chain, path))}). Take "
            f"one of these out of {BASE}."
        )
    source = path.read_text(encoding="utf-8")
    node = _assignment(source)
    if node is None:
        return path
    named = ast.literal_eval(node.value)
    bases = [named] if isinstance(named, str) else list(named)
    files = [with_paths(_file(base, path, find), folder, find, (*chain, path)) for base in bases]
    lines = source.splitlines(keepends=True)
    lines[node.lineno - 1 : node.end_lineno] = [f"{BASE} = {[str(one) for one in files]!r}\n"]
    copy = folder / str(len(list(folder.iterdir()))) / path.name
    copy.parent.mkdir()
    copy.write_text("".join(lines), encoding="utf-8")
    return copy


def own_recipes() -> dict[str, Path]:
    """The recipes to build on that come with the zoo, by name."""
    files = sorted((Path(__file__).parent / "recipes").glob("*.py"))
    return {OURS + file.stem.replace("_", "-"): file for file in files}


def _file(base: str, path: Path, find: Find) -> Path:
    if base.endswith(".py"):
        return (path.parent / base).resolve()
    if base.startswith(OURS):
        known = own_recipes()
        if base not in known:
            raise InputError(f"{path}: {BASE} names {base!r}. {nearest(base, known)}")
        return known[base]
    return find(base)


def _assignment(source: str) -> ast.Assign | None:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == BASE:
            return node
    return None

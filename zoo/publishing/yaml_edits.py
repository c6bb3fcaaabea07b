"""One value of a YAML file set anew; every other line, and its comment, stays as it is."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import yaml

from ..catalogue.strict_yaml import Document, KeyPath, parse
from ..errors import RegistryError


def set_value(text: str, path: tuple[str, ...], value: Any, source: str) -> str:
    r"""The text with `value` at a path of keys, which are added where they are missing.

    Raises `RegistryError` for a text that is no such YAML, or whose mapping on the way stands on
    one line, in braces. `source` names it in errors.

    >>> set_value("a: 1  # one\nb: {c: 2}\n", ("a",), 3, "x.yaml")
    'a: 3  # one\nb: {c: 2}\n'
    """
    document = parse(text.encode(), source)
    wanted = _with(document.value, path, value)
    edited = _edited(text, document, path, value)
    try:
        same = parse(edited.encode(), source).value == _frozen(wanted)
    except RegistryError:
        same = False
    if not same:
        raise RegistryError(
            f"{document.place(path)}: the entry is not written key by key, each on a line of its "
            "own, so it cannot be changed by a program. Change it by hand, or write it so."
        )
    return edited


def to_yaml(value: Mapping[str, Any]) -> str:
    """A mapping as YAML: a line for each key, and lists and mappings of plain values on one.

    >>> print(to_yaml({"features": {"kind": "grid", "regions": 36}, "seeds": [1, 2]}), end="")
    features: {kind: grid, regions: 36}
    seeds: [1, 2]
    """
    stream = io.StringIO()
    dumper = _Dumper(stream, default_flow_style=None, sort_keys=False, width=math.inf)
    node: Any = dumper.represent_data(value)
    node.flow_style = False
    dumper.open()
    dumper.serialize(node)
    dumper.close()
    return stream.getvalue()


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless  # lists are set in, as everything else
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        del data  # what is there twice is written twice: an alias is not allowed
        return True


def _edited(text: str, document: Document, path: tuple[str, ...], value: Any) -> str:
    lines = text.split("\n")
    known = _known(document, path)
    if known == path or not _at(document.value, known):
        start, end = _span(document, known, lines)
        block = _block(known[-1], _nested(path[len(known) :], value), _indent(lines[start]))
        lines[start:end] = _with_comment(block, lines[start], end - start)
    else:
        rest, (_, end) = path[len(known) :], _span(document, known, lines)
        siblings = [document.lines[*known, key] - 1 for key in _at(document.value, known)]
        block = _block(rest[0], _nested(rest[1:], value), _indent(lines[siblings[0]]))
        apart = len(siblings) > 1 and not lines[siblings[-1] - 1].strip()
        lines[end:end] = ["", *block] if apart else block
    return "\n".join(lines)


def _known(document: Document, path: tuple[str, ...]) -> tuple[str, ...]:
    """The longest beginning of the path that the document has."""
    length = len(path)
    while length and path[:length] not in document.lines:
        length -= 1
    return path[:length]


def _span(document: Document, path: KeyPath, lines: list[str]) -> tuple[int, int]:
    """The lines of a key and its value, from the first to behind the last.

    Comments and blank lines below belong to what comes next.
    """
    start = document.lines[path] - 1
    later = [
        line - 1
        for other, line in document.lines.items()
        if line - 1 > start and other[: len(path)] != path
    ]
    end = min(later, default=len(lines))
    while end > start + 1 and lines[end - 1].strip()[:1] in ("", "#"):
        end -= 1
    return start, end


def _block(key: str, value: Any, indent: int) -> list[str]:
    return [" " * indent + line for line in to_yaml({key: value}).splitlines()]


def _with_comment(block: list[str], old: str, height: int) -> list[str]:
    """A value of one line keeps the comment behind it; quotes may hold what looks like one."""
    before, mark, comment = old.partition(" #")
    if len(block) == height == 1 and mark and not set(before) & set("\"'"):
        blanks = before[len(before.rstrip()) :]
        return [f"{block[0]}{blanks}{mark}{comment}"]
    return block


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _at(value: Any, path: KeyPath) -> Any:
    for key in path:
        value = value[key]
    return value


def _nested(path: tuple[str, ...], value: Any) -> Any:
    for key in reversed(path):
        value = {key: value}
    return value


def _with(old: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    below = old if isinstance(old, Mapping) else {}
    return {**below, path[0]: _with(below.get(path[0]), path[1:], value)}


def _frozen(value: Any) -> Any:
    """As `parse` gives it: lists are tuples."""
    if isinstance(value, Mapping):
        return {key: _frozen(one) for key, one in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value

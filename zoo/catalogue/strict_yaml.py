"""YAML reduced to data: text, numbers, true, false, null, lists and mappings.

Aliases, anchors, tags, merge keys and duplicate keys are refused, and so is a file that is too
large or too deep. Dates, `yes`, `no` and `1:30` stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from ..errors import RegistryError

MAX_BYTES = 1 << 20
MAX_DEPTH = 12

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of a document down to a value."""

_STRING = "tag:yaml.org,2002:str"
_SCALARS = {
    "bool": (r"true|false", "tf"),
    "null": (r"null|~|", ["n", "~", ""]),
    "int": (r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    "float": (r"[-+]?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]{1,3})?", "-+0123456789"),
    "merge": (r"<<", "<"),
}


@dataclass(frozen=True)
class Document:
    """A parsed file: its data, and the line on which each value stands."""

    source: str
    value: Any
    lines: dict[KeyPath, int]

    def place(self, path: KeyPath) -> str:
        """Where a value stands: file, line and key, for an error message."""
        known = path
        while known and known not in self.lines:
            known = known[:-1]
        key = ".".join(str(part) for part in path) or "the whole file"
        return f"{self.source}, line {self.lines.get(known, 1)}, {key}"


# The pure Python loader on purpose: the C loader crashes the process on deep nesting.
class _Loader(yaml.SafeLoader):
    """Composes nodes, refusing every feature of YAML that is more than data."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own name and place
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise _refusal(line, "an anchor or alias (& or *)", "Write the value out")
        if getattr(event, "tag", None) is not None:
            raise _refusal(line, f"the tag {event.tag!r}", "Write a plain value")
        if self.depth >= MAX_DEPTH:
            raise _refusal(line, f"more than {MAX_DEPTH} levels of nesting", "Flatten it")
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


for _name, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})\Z"), list(_first)
    )


class _RefusedError(ValueError):
    """A message that lacks only the name of the file."""


def _refusal(line: int, found: str, remedy: str) -> _RefusedError:
    return _RefusedError(f"line {line}: there is {found}, which is not allowed here. {remedy}.")


def parse(data: bytes, source: str) -> Document:
    """Read the one YAML document in `data`; lists become tuples. `source` names it in errors.

    Raises `RegistryError`, naming the source, line and key.
    """
    if len(data) > MAX_BYTES:
        raise RegistryError(
            f"{source} has {len(data):,} bytes; at most {MAX_BYTES:,} are read. Split the file."
        )
    lines: dict[KeyPath, int] = {}
    try:
        loader = _Loader(data.decode("utf-8"))
        node = loader.get_single_node()
        value = None if node is None else _build(loader, node, (), lines)
    except _RefusedError as error:
        raise RegistryError(f"{source}, {error}") from None
    except UnicodeDecodeError as error:
        raise RegistryError(
            f"{source} is not UTF-8 text (byte {error.start}). Save it as UTF-8."
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise RegistryError(
            f"{source}, line {line}: not valid YAML: {said}. Correct the line."
        ) from None
    except Exception as error:  # PyYAML lets its own slips through: KeyError, OverflowError, ...
        raise RegistryError(
            f"{source} is not valid YAML ({type(error).__name__}: {error}). Correct the file."
        ) from error
    return Document(source, value, lines)


def _build(loader: _Loader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int]) -> Any:
    lines.setdefault(path, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        return _build_mapping(loader, node, path, lines)
    if isinstance(node, yaml.SequenceNode):
        items = enumerate(node.value)
        return tuple(_build(loader, item, (*path, number), lines) for number, item in items)
    return loader.construct_object(node)


def _build_mapping(
    loader: _Loader, node: yaml.MappingNode, path: KeyPath, lines: dict[KeyPath, int]
) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.tag != _STRING or not isinstance(key, yaml.ScalarNode):
            written = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            raise _refusal(line, f"the key {written!r}", "Write a key that is plain text")
        if key.value in mapping:
            raise _refusal(line, f"the key {key.value!r} a second time", "Remove one of the two")
        lines[*path, key.value] = line
        mapping[key.value] = _build(loader, value, (*path, key.value), lines)
    return mapping

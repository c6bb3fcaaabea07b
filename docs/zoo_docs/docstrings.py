r"""Docstrings of the zoo as reStructuredText: prose, lists of fields, and what is set out by hand.

The zoo's docstrings are plain text. A paragraph of `name: meaning` lines becomes a list, equations
and tables stay as they stand, the rest is prose in which a name in backticks is a link.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

FIELD = re.compile(r"(?P<names>[\w\"*]+(?:, [\w\"*]+)*): +(?P<meaning>\S.*)")
LAID_OUT = re.compile(r"^\s|\S {2,}\S")
NAME = re.compile(r"[A-Z]\w*|\w+(?:\.\w+)+")  # a plain word may be a parameter


def as_rst(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sphinx calls it with the lines of a docstring, which it changes in place."""
    del app, what, name, obj, options
    lines[:] = "\n\n".join(_paragraph(one) for one in _paragraphs(lines)).splitlines()


def _paragraphs(lines: list[str]) -> list[list[str]]:
    return [
        list(some) for filled, some in groupby(lines, lambda line: bool(line.strip())) if filled
    ]


def _paragraph(lines: list[str]) -> str:
    if lines[0].lstrip().startswith(">>>"):
        return "\n".join(lines)
    if all(FIELD.match(line) or line.startswith(" ") for line in lines) and FIELD.match(lines[0]):
        return _fields(lines)
    if any(LAID_OUT.search(line) for line in lines) or all(" = " in line for line in lines):
        return "\n".join([".. code-block:: text", "", *(f"    {line}" for line in lines)])
    return "\n".join(_prose(line) for line in " ".join(lines).splitlines())


def _fields(lines: list[str]) -> str:
    items: list[str] = []
    for line in lines:
        field = FIELD.match(line)
        if field:
            items.append(f"- **{_plain(field['names'])}**: {_prose(field['meaning'])}")
        else:
            items[-1] += f" {_prose(line.strip())}"
    return "\n".join(items)


def _prose(text: str) -> str:
    r"""Text with its marks taken away, and what stands in backticks as a link or as code.

    >>> print(_prose("see `Batch`, `a b`, |x|"))
    see :py:obj:`~.Batch`, ``a b``, \|x\|
    """
    parts = re.split(r"`([^`]+)`", text)
    parts[::2] = [_plain(part) for part in parts[::2]]
    parts[1::2] = [
        f":py:obj:`~.{part}`" if NAME.fullmatch(part) else f"``{part}``" for part in parts[1::2]
    ]
    return "".join(parts)


def _plain(text: str) -> str:
    return re.sub(r"([*|\\]|_(?!\w))", r"\\\1", text)

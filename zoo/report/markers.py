"""Text between markers in a Markdown file, made again by the command that the first one bears.

<!-- zoo results --dataset f8k --split test -->
... a table ...
<!-- end -->
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, InputError

BEGIN = re.compile(r"^<!-- (zoo results\b[^\n]*?) -->$", re.MULTILINE)
END = "<!-- end -->"


def renewed(text: str, path: Path, render: Callable[[str], str]) -> str:
    r"""The text with what stands between its markers made anew by `render(command)`.

    Raises `InputError` for a text without markers and `DataError` where an end is missing.

    >>> renewed("a\n<!-- zoo results x -->\nold\n<!-- end -->\n", Path("a.md"), str.upper)
    'a\n<!-- zoo results x -->\n\nZOO RESULTS X\n\n<!-- end -->\n'
    """
    begins = list(BEGIN.finditer(text))
    if not begins:
        raise InputError(
            f"{path} has no marker of `zoo results`. Put one where the table is wanted: "
            f"<!-- zoo results --split test --> and, on a line below, {END}"
        )
    parts, done = [], 0
    limits = [*(begin.start() for begin in begins[1:]), len(text)]
    for begin, limit in zip(begins, limits, strict=True):
        end = text.find(f"\n{END}", begin.end(), limit)
        if end < 0:
            raise DataError(
                f"{path}: nothing ends the text after {begin.group()}, so it cannot be told from "
                f"the rest. Put {END} on a line below it."
            )
        parts += [text[done : begin.end()], "\n\n", render(begin.group(1)), "\n"]
        done = end
    return "".join([*parts, text[done:]])

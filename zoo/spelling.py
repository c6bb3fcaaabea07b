"""What was probably meant, where a name is unknown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """The sentence that helps after an unknown word: near ones, or all that are known."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=3)
    if near:
        return f"Did you mean {' or '.join(repr(one) for one in near)}?"
    return f"Known: {', '.join(known) or 'none'}."

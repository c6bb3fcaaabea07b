"""Captions as the text encoders take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import InputError


def checked(captions: Sequence[Any]) -> Iterator[str]:
    """Each caption in turn. Raises `InputError`, naming the caption, for no text or none at all."""
    for position, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise InputError(
                f"Caption {position} is a {type(caption).__name__} where text is wanted. "
                "Pass a list of strings."
            )
        if not caption.strip():
            raise InputError(f"Caption {position} is empty. Give it a word, or leave it out.")
        yield caption

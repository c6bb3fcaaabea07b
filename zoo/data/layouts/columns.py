"""How files of rows call what we need of a row: the image, its captions, and perhaps the split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .listing import Row, image_id

IMAGE = (
    *("image", "image_name", "file_name", "filename", "image_path", "img_path", "filepath"),
    *("path", "file", "img", "image_id", "id"),
)
CAPTION = ("caption", "captions", "comment", "sentences", "sentence", "text", "title")
CAPTION_ID = ("caption_id", "sentid")
SPLIT = ("split",)
"""Names of columns, the surest first."""


def column_of(names: Iterable[str], wanted: Iterable[str]) -> str | None:
    """The first of the wanted columns that is there."""
    there = {name.strip().lower(): name for name in names}
    return next((there[name] for name in wanted if name in there), None)


def tells_pairs(names: Iterable[str]) -> bool:
    """Whether there are columns for an image and for its caption."""
    names = list(names)
    return column_of(names, IMAGE) is not None and column_of(names, CAPTION) is not None


def rows_of(record: Mapping[str, Any]) -> Iterator[Row]:
    """The captions of one record: its caption may be a text, or a list of texts.

    Raises `KeyError` where the image or the caption is missing, and `TypeError` where it is none.
    """
    image, caption, key = (column_of(record, names) for names in (IMAGE, CAPTION, CAPTION_ID))
    if image is None or caption is None:
        raise KeyError("image" if image is None else "caption")
    if not isinstance(record[image], str | int):
        raise TypeError(f"{record[image]!r} is no image")
    name = file_name(str(record[image]))
    texts = record[caption]
    for text in [texts] if isinstance(texts, str) else texts:
        yield Row(
            image_id(name), name, checked_text(text), None if key is None else str(record[key])
        )


def checked_text(text: object) -> str:
    """A caption's text. Raises `TypeError` for a value that is none."""
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    return text


def file_name(written: str) -> str:
    r"""A picture's file as we write it; "one.jpg#2" is the third caption of one.jpg.

    >>> file_name("one.jpg#2"), file_name(r"val2014\two.jpg")
    ('one.jpg', 'val2014/two.jpg')
    """
    return re.sub(r"#\d+$", "", written.strip().replace("\\", "/"))

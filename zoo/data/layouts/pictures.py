"""A folder of pictures, each with a text file of the same name beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from .layout import Layout
from .listing import Listing, Row, image_id, listing_of
from .names import name_of
from .reading import read_lines
from .splits import Files, folder_split

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")


class Pictures(Layout):
    """`NAME.jpg` and `NAME.txt`, with a caption a line. Pictures without a text are left out."""

    name = "pictures with texts"

    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        texts = {path.stem for path in files if path.suffix == ".txt"}
        described = tuple(
            path for path in files if path.stem in texts and path.suffix.lower() in SUFFIXES
        )
        if described:
            yield {folder_split(described[0].parent): described}

    def read(self, split: str, files: Files) -> Listing:
        del split
        return listing_of(name_of(files[0].parent), _rows(files), files[0].parent)


def _rows(pictures: Iterable[Path]) -> Iterator[Row]:
    for picture in pictures:
        for line in read_lines(picture.with_suffix(".txt")):
            yield Row(image_id(picture.name), picture.name, line)

"""JSON records with an image and its captions: LAVIS's lists, and files with a record a line."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from .columns import rows_of, tells_pairs
from .layout import Layout
from .listing import Listing, Row, listing_of
from .names import name_of
from .reading import opening, read_json, read_text
from .splits import Files, as_coco, cut_split, folder_split


class Records(Layout):
    """Files of records, each for a split that its name tells, and of a data set by the rest of it.

    A record has an image and a caption, or an image and a list of captions; all of them count.
    """

    suffixes: tuple[str, ...]

    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        found: dict[str, dict[str, Files]] = defaultdict(dict)
        for path in files:
            if path.suffix in self.suffixes and tells_pairs(self.first(opening(path))):
                rest, split = cut_split(path.stem)
                found[rest][split or folder_split(path.parent)] = (path,)
        return [as_coco(splits) if "coco" in rest else splits for rest, splits in found.items()]

    def read(self, split: str, files: Files) -> Listing:
        del split
        (path,) = files
        return listing_of(name_of(path.parent, path.stem), self._rows(path), path)

    def _rows(self, path: Path) -> Iterator[Row]:
        for number, record in enumerate(self.records(path), 1):
            try:
                yield from rows_of(record)
            except (KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"Record {number} of {path} has no image with its caption ({error!r}). "
                    "Give every record both."
                ) from error

    @abstractmethod
    def first(self, start: str) -> Iterable[str]:
        """The names that the first record has, by the beginning of a file; none for other files."""

    @abstractmethod
    def records(self, path: Path) -> Iterable[Mapping[str, Any]]:
        """All records of a file."""


class Lavis(Records):
    """`coco_karpathy_test.json`, `flickr30k_val.json`: a list, as LAVIS, ALBEF and BLIP read it."""

    name = "LAVIS JSON"
    suffixes = (".json",)

    def first(self, start: str) -> Iterable[str]:
        inside = start.lstrip().removeprefix("[")
        return _names(inside.lstrip()) if start.lstrip().startswith("[") else ()

    def records(self, path: Path) -> Iterable[Mapping[str, Any]]:
        records: list[Mapping[str, Any]] = read_json(path)
        return records


class JsonLines(Records):
    """A record a line, as the `.jsonline` files of ViLBERT and xmodaler have it."""

    name = "JSON lines"
    suffixes = (".jsonl", ".jsonline", ".jsonlines")

    def first(self, start: str) -> Iterable[str]:
        return _names(start.lstrip())

    def records(self, path: Path) -> Iterable[Mapping[str, Any]]:
        for number, line in enumerate(read_text(path).splitlines(), 1):
            try:
                if line.strip():
                    yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(
                    f"Line {number} of {path} is not JSON ({error}). Fetch the file again."
                ) from error


def _names(start: str) -> Iterable[str]:
    """The names of the object that a text begins with; none where it is longer than the text."""
    try:
        value, _ = json.JSONDecoder().raw_decode(start)
    except json.JSONDecodeError:
        return ()
    return value if isinstance(value, dict) else ()

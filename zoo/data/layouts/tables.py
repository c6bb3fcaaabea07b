"""Tables of pairs: a picture and a caption a line, between tabs, bars or commas."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ...errors import DataError
from .columns import CAPTION, SPLIT, column_of, rows_of, tells_pairs
from .layout import Layout
from .listing import Listing, Row, listing_of
from .names import name_of
from .reading import OPENING, opening, read_lines, read_text
from .splits import Files, canonical_split, cut_split, folder_split

SUFFIXES = (".tsv", ".csv", ".txt", ".token")
MANY = 100  # so many text files in a folder are the captions of one picture each, and no tables
PLAIN = ["image", "caption"]
"""The columns of a table that does not name them."""

_PICTURE = re.compile(r"\S.*\.(jpe?g|png|webp|bmp|gif)(#\d+)?", re.IGNORECASE)
_QUOTED = re.compile(r'"([^"]|"")*"')
_LISTED = re.compile(r"\S+\.(jpe?g|png|webp|bmp|gif)|\d+", re.IGNORECASE)


class Tables(Layout):
    """A caption a line with its picture, below the names of the columns or without them.

    The split is told by the file's name, by a column "split", by lists of pictures beside the
    table (`Flickr_8k.trainImages.txt`), or by the folder's name.
    """

    name = "table of pairs"

    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        candidates = [path for path in files if path.suffix.lower() in SUFFIXES]
        if len(candidates) > MANY:
            return
        lists = [path for path in candidates if _is_list(path)]
        found: dict[str, dict[str, Files]] = defaultdict(dict)
        for path in candidates:
            if columns := _columns(opening(path)):
                rest, splits = _splits(path, columns, lists)
                found[rest] |= splits
        # Flickr8k's captions come a second time, with every word in its basic form.
        yield from (splits for rest, splits in found.items() if "lemma" not in rest)

    def read(self, split: str, files: Files) -> Listing:
        path, *lists = files
        rows = list(_rows(path, split))
        if lists:
            rows = _listed(rows, read_lines(lists[0]))
        return listing_of(name_of(path.parent, path.stem), rows, path)


def _splits(
    path: Path, columns: Sequence[str], lists: Sequence[Path]
) -> tuple[str, dict[str, Files]]:
    """A table's splits, and its name without them: tables of one name are one data set."""
    rest, split = cut_split(path.stem)
    if split is not None:
        return rest, {split: (path,)}
    if column := column_of(columns, SPLIT):
        words = dict.fromkeys(record[column] for record in _records(path))
        return rest, {canonical_split(word): (path,) for word in words}
    listed = {cut_split(names.stem)[1]: (path, names) for names in lists}
    return rest, {split: both for split, both in listed.items() if split} or {
        folder_split(path.parent): (path,)
    }


def _columns(start: str) -> list[str]:
    """The columns of a table of pairs, by its beginning; none if it is something else."""
    line, ended, _ = start.partition("\n")
    if not ended and len(start) >= OPENING:
        return []
    cells = [cell.strip() for cell in next(_cells(line, strict=False), [])]
    if tells_pairs(cells):
        return cells
    if len(cells) != len(PLAIN) or cells[1][:1] in "[{":
        return []
    numbered = "\t" in line and " " not in cells[0] and " " in cells[1]
    return PLAIN if numbered or _PICTURE.fullmatch(cells[0]) else []


def _cells(text: str, *, strict: bool) -> Iterator[list[str]]:
    """The cells of every line that has some.

    Between commas quotes have the meaning of CSV. Between tabs and bars a caption may begin with a
    quote and mean it, so only a cell is taken out of its quotes that is whole within them.
    Raises `csv.Error` for quotes that CSV does not have so, if it is `strict`.
    """
    delimiter = _delimiter(text)
    if delimiter == ",":
        rows: Iterable[list[str]] = csv.reader(io.StringIO(text, newline=""), strict=strict)
    else:
        lines = (line.split(delimiter) for line in text.split("\n"))
        rows = ([_unquoted(cell.strip()) for cell in line] for line in lines)
    return (row for row in rows if any(cell.strip() for cell in row))


def _delimiter(text: str) -> str:
    line = text.partition("\n")[0]
    return next((mark for mark in "\t|" if mark in line), ",")


def _unquoted(cell: str) -> str:
    return cell[1:-1].replace('""', '"') if _QUOTED.fullmatch(cell) else cell


def _records(path: Path) -> Iterator[dict[str, str]]:
    """The lines of a table by the names of its columns. Raises `DataError` for other lines."""
    text = read_text(path)
    columns, delimiter = _columns(text), _delimiter(text)
    rows = _checked(_cells(text, strict=True), path)
    if columns is not PLAIN:
        next(rows, None)
    for number, row in enumerate(rows, 1):
        cells = _mended(row, columns, delimiter)
        if len(cells) != len(columns):
            raise DataError(
                f"Row {number} of {path} has {len(row)} cells and not {len(columns)}: {row}. "
                "Give it a cell for each column."
            )
        yield dict(zip(columns, (cell.strip() for cell in cells), strict=True))


def _checked(rows: Iterator[list[str]], path: Path) -> Iterator[list[str]]:
    """The rows. Raises `DataError` where a quote swallows what follows it."""
    number = 0
    try:
        for row in rows:
            number += 1
            yield row
    except csv.Error as error:
        raise DataError(
            f"{path} has quotes that CSV does not have so, behind {number:,} rows ({error}). Put "
            "a cell with quotes into quotes, and double those within it."
        ) from error


def _mended(row: list[str], columns: Sequence[str], delimiter: str) -> list[str]:
    """A row with one cell a column, where the field's files are known to have others.

    Flickr8k's table has commas in captions without quotes; one row of Flickr30k's results.csv lacks
    the bar between the number of the caption and its text.
    """
    last = len(columns) - 1
    if len(row) > len(columns) and columns[last] == column_of(columns, CAPTION):
        return [*row[:last], delimiter.join(row[last:])]
    if len(row) == 2 and len(columns) == 3 and (found := re.fullmatch(r"\s*(\d+)\s+(.*)", row[1])):
        return [row[0], *found.groups()]
    return row


def _rows(path: Path, split: str) -> Iterator[Row]:
    for record in _records(path):
        column = column_of(record, SPLIT)
        if column is None or cut_split(path.stem)[1] or canonical_split(record[column]) == split:
            yield from rows_of(record)


def _listed(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows of the pictures that a list names, with or without suffix, in its order."""
    places = {PurePosixPath(name).stem: place for place, name in enumerate(names)}
    stems = [PurePosixPath(row.file_name).stem for row in rows]
    chosen = [(places[stem], number) for number, stem in enumerate(stems) if stem in places]
    return [rows[number] for _, number in sorted(chosen)]


def _is_list(path: Path) -> bool:
    """Whether a text file lists pictures, one a line, of a split that its name tells."""
    lines = opening(path).split("\n")[:MANY]
    return cut_split(path.stem)[1] is not None and all(
        _LISTED.fullmatch(line.strip()) for line in lines if line.strip()
    )

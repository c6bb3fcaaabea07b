"""Tables with a line for each image, its boxes and features in base64.

Bottom-up attention's, LXMERT's and VinVL's. A line has about half a megabyte, so a table is gone
through once, line by line, when it is opened, and then read at any line; where a `.lineidx` lies
beside it, the beginnings of the lines alone are looked at.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .separate import Reader, SeparateFeatures, Single

FORMS: dict[int, tuple[str, ...]] = {
    3: ("id", "count", "features"),
    6: ("id", "width", "height", "count", "boxes", "features"),
    7: ("id", "width", "height", "count", "boxes", "features", "class_probabilities"),
    10: (
        "id",
        "height",
        "width",
        "object",
        "object_confidence",
        "attribute",
        "attribute_confidence",
        "count",
        "boxes",
        "features",
    ),
}
"""The fields by their number: VinVL's for retrieval; bottom-up attention's; the same with
probabilities; LXMERT's."""
HEAD = 1 << 14
"""Bytes of a line in which its id and the number of its boxes stand."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16}")  # so long no word is that a caption begins with
_COUNT = re.compile(rb'"num_boxes"\s*:\s*(\d+)')


def is_table(path: Path) -> bool:
    """Whether the first line of a file is one of such a table."""
    try:
        with path.open("rb") as file:
            line = file.readline(HEAD)
            return b"\t" in line and _fields(line + _rest(line, file)) is not None
    except OSError:
        return False


def _rest(line: bytes, file: BinaryIO) -> bytes:
    return b"" if line.endswith(b"\n") else file.readline()


def tables_in(folder: Path) -> list[Path]:
    """The tables in a folder; they are called .tsv, or .tsv.0 and so on."""
    named = sorted(path for path in folder.glob("*.tsv*") if not path.name.endswith(".lineidx"))
    return [path for path in named if path.is_file() and is_table(path)]


def open_tables(paths: Sequence[Path]) -> SeparateFeatures:
    """The images of one or more tables; of two lines with one id the first counts.

    Raises `DataError` for a table that is cut off or has other lines.
    """
    return SeparateFeatures.all_of(TableReader(paths))


@final
class TableReader(Reader):
    """Lines of tables, by number."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        lines: dict[str, tuple[int, int, int, int]] = {}
        for number, path in enumerate(self.paths):
            for image, start, size, count in _lines(path):
                lines.setdefault(image, (number, start, size, count))
        if not lines:
            raise DataError(f"{self.paths[0]} is empty. Fetch the table again.")
        self.ids = tuple(lines)
        self.lines = np.array(list(lines.values()), dtype=np.int64)
        self.lengths: NDArray[np.int64] = self.lines[:, 2]

    def where(self, number: int) -> str:
        return f"{self.paths[self.lines[number, 0]]} (image {self.ids[number]})"

    def count(self, number: int) -> int:
        return int(self.lines[number, 3])

    def read(self, number: int) -> Single:
        path, start, size = self.lines[number, :3].tolist()
        with self.paths[path].open("rb") as file:
            file.seek(start)
            fields = _fields(file.read(size))
        if fields is None:
            raise ValueError("it is no line of a table of regions")
        count = int(fields["count"])
        features = _decode(fields["features"], count)
        boxes = _decode(fields["boxes"], count) if "boxes" in fields else None
        known = "width" in fields and "height" in fields
        return Single(
            features, boxes, (float(fields["width"]), float(fields["height"])) if known else None
        )


def _decode(text: bytes | str, count: int) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(count, -1)


def _fields(line: bytes) -> dict[str, Any] | None:
    """The fields of a line by name, or None if it is of another kind."""
    parts = line.rstrip(b"\r\n").split(b"\t")
    if len(parts) == 2 and parts[1].startswith(b"{"):
        return _vinvl(parts)
    if len(parts) not in FORMS:
        return None
    fields = dict(zip(FORMS[len(parts)], parts, strict=True))
    numbers = [fields[name] for name in ("width", "height", "count") if name in fields]
    if not all(re.fullmatch(rb"\d+(\.\d+)?", number) for number in numbers):
        return None
    return fields if _BASE64.match(fields["features"]) else None


def _vinvl(parts: Sequence[bytes]) -> dict[str, Any] | None:
    """VinVL's lines: the id, and a JSON with `num_boxes` and `features`.

    The last six features are the box, in parts of a picture whose size is not there; so boxes in
    pixels are known only where the JSON has `boxes`.
    """
    try:
        table = json.loads(parts[1])
        fields = {"id": parts[0], "count": table["num_boxes"], "features": table["features"]}
    except (ValueError, KeyError):
        return None
    names = {"boxes": "boxes", "image_w": "width", "image_h": "height"}
    return fields | {names[name]: table[name] for name in names if name in table}


def _lines(path: Path) -> Iterator[tuple[str, int, int, int]]:
    """The id, the first byte, the number of bytes and the number of boxes of each line."""
    index = path.with_suffix(".lineidx")
    with path.open("rb") as file:
        lines = _indexed(file, index) if index.is_file() else _scanned(file)
        for number, (start, size, head, tail) in enumerate(lines, 1):
            count = _count(head, tail)
            if count is None:
                raise DataError(
                    f"{path} has a line that is no image's with boxes and features (line {number}, "
                    f"{size:,} bytes). Fetch the table again, and all of it."
                )
            yield head.partition(b"\t")[0].decode("utf-8", "replace"), start, size, count


Line = tuple[int, int, bytes, bytes]
"""Its first byte, its number of bytes, and some of its beginning and of its end."""


def _scanned(file: BinaryIO) -> Iterator[Line]:
    start = 0
    for line in file:
        yield start, len(line), line[:HEAD], line[-HEAD:]
        start += len(line)


def _indexed(file: BinaryIO, index: Path) -> Iterator[Line]:
    """The lines that a .lineidx tells the first bytes of, one a line."""
    starts = [int(line) for line in index.read_text(encoding="ascii").split()]
    for start, end in zip(starts, [*starts[1:], file.seek(0, os.SEEK_END)], strict=True):
        file.seek(start)
        head = file.read(min(HEAD, end - start))
        file.seek(max(start, end - HEAD))
        yield start, end - start, head, b"" if _COUNT.search(head) else file.read(HEAD)


def _count(head: bytes, tail: bytes) -> int | None:
    """The number of boxes of a line: in its second, fourth or eighth field, or in its JSON."""
    parts = head.split(b"\t")
    if len(parts) == 2 and parts[1].startswith(b"{"):
        found = _COUNT.search(head) or _COUNT.search(tail)
        return int(found[1]) if found else None
    short = len(parts) == 3 and _BASE64.match(parts[2])
    at = 1 if short else 7 if len(parts) > 7 else 3
    return int(parts[at]) if len(parts) > at and parts[at].isdigit() else None

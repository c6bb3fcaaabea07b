"""How features lie on disk: their type, rows that repeat, and what they take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..data.arrays import ArrayFeatures
from ..data.features import FeatureSource
from ..data.shards import Place
from ..data.side_files import find_side_files
from ..data.store import FeatureStore
from .finding import Finding

SMALL = ("float16", "float32")


def check_storage(source: FeatureSource, place: str) -> Iterator[Finding]:
    """Shape and type, and what a feature store would save."""
    array = _array(source)
    kind = "" if array is None else f" {array.dtype}"
    boxes = "with boxes" if source.has_boxes else "without boxes"
    shape = f"{len(source):,} images of {source.regions} x {source.dim}{kind}, {boxes}"
    if array is not None and array.dtype.name not in SMALL:
        floats = array.dtype.kind == "f"
        yield Finding(
            "warning" if floats else "problem",
            "type",
            place,
            f"{shape}, where float16 or float32 is wanted.",
            "Convert them: zoo convert-features."
            if floats
            else "Extract them again: whole numbers are no region features.",
        )
    else:
        yield Finding("fine", "features", place, f"{shape}.")
    if array is not None and array.shape[0] > len(source):
        each = array.shape[0] / len(source)
        yield Finding(
            "fine",
            "repeated rows",
            place,
            f"Each image's row lies there {each:.3g} times ({size(_bytes(array))}). "
            "The zoo reads one of them.",
            f"zoo convert-features keeps one as float16: {size(_halved(source))}.",
        )


def check_side_files(folder: Path, split: str) -> Iterator[Finding]:
    """What lies beside features under a name of the field, and what becomes of it."""
    found = find_side_files(folder / f"{split}_ims.npy")
    if found:
        words = {kind: f"{path.name} ({kind})" for kind, path in found.items()}
        own = " Overlaps are computed from boxes; their file is not read."
        yield Finding(
            "fine",
            "side files",
            split,
            f"{', '.join(words.values())}.{own if 'overlaps' in words else ''}",
        )


def check_disk(folder: Path) -> Iterator[Finding]:
    """What the files of a folder take, and what is free beside them."""
    taken = sum(_sizes(folder))
    status = os.statvfs(folder) if hasattr(os, "statvfs") else None
    free = "" if status is None else f"; {size(status.f_bavail * status.f_frsize)} are free"
    yield Finding("fine", "disk", str(folder), f"{size(taken)} lie there{free}.")


def size(count: float) -> str:
    """A number of bytes for people.

    >>> size(33_400_000_000), size(5_000), size(12)
    ('33.4 GB', '5.0 kB', '12 bytes')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count} bytes"


def _array(source: FeatureSource) -> Place | None:
    """The array that holds the features, where it is one that a header describes."""
    if isinstance(source, ArrayFeatures):
        return source.columns["features"].shard.place("values")
    if isinstance(source, FeatureStore):
        return source.shards[0].place("features")
    return None


def _bytes(array: Place) -> int:
    return array.shape[0] * array.row_bytes


def _halved(source: FeatureSource) -> int:
    return len(source) * source.regions * source.dim * 2


def _sizes(folder: Path) -> Iterator[int]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(Path(entry.path))
            elif entry.is_file():
                yield entry.stat().st_size

"""Region features: whether their values can be right, read from a sample of rows or from all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..bars import Advance
from ..batch import Regions
from ..data.features import FeatureSource
from .finding import Finding, some

BATCH = 32
SAMPLED = 128
EDGE = 1.0
"""How many pixels a box may reach beyond its picture."""

CHANCE = 0.01
"""A larger share of equal rows is no picture that a collection has twice."""

_FAULTS: Mapping[str, tuple[str, str, str]] = {
    "infinite": (
        "values",
        "with values that are not finite",
        "Extract them again; if they were float32 and became float16, keep float32 (--dtype fp32).",
    ),
    "zero": (
        "values",
        "whose features are all 0",
        "Extract them again: their pictures could not be read, or writing was cut off.",
    ),
    "outside": (
        "boxes",
        "with boxes outside of the picture",
        "Fetch boxes and sizes of one source; width and height may be exchanged.",
    ),
    "empty": (
        "boxes",
        "with boxes that have no area",
        "Boxes are x1 y1 x2 y2 in pixels. Convert those of x y width height.",
    ),
    "shares": (
        "boxes",
        "whose boxes are shares of the picture and not pixels",
        "Multiply them by width and height. Do not divide a mapped array in place: it shrinks at "
        "every read.",
    ),
}


@dataclass
class Tally:
    """The images that have each fault, by row, and the rows whose features are equal."""

    faults: dict[str, list[int]] = field(default_factory=lambda: {name: [] for name in _FAULTS})
    equal: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    seen: dict[bytes, int] = field(default_factory=dict[bytes, int])

    def add(self, rows: NDArray[np.int64], regions: Regions) -> None:
        """Look at a batch."""
        for name, bad in image_faults(regions).items():
            self.faults[name] += rows[bad].tolist()
        for row, values in zip(rows.tolist(), regions.features.numpy(), strict=True):
            first = self.seen.setdefault(hashlib.blake2b(values.tobytes()).digest(), row)
            if first != row:
                self.equal.append((first, row))


def check_values(
    source: FeatureSource, place: str, *, full: bool, advance: Advance
) -> Iterator[Finding]:
    """Finite, not empty, no image like another, and boxes within their pictures."""
    rows = chosen_rows(len(source), full)
    tally = Tally()
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        tally.add(batch, source.rows(batch))
        advance(f"features of {place}", len(batch), len(rows))
    share = "all" if len(rows) == len(source) else f"{len(rows):,} of"
    read = f"of {share} {len(source):,} images that were read" if rows.size else "of no image"
    yield from _faults(source, place, tally, read)
    yield from _equal(source, place, tally, read, len(rows))
    if not tally.equal and not any(tally.faults.values()):
        more = "" if len(rows) == len(source) else "; --full reads all"
        boxes = " and boxes" if source.has_boxes else ""
        yield Finding("fine", "values", place, f"The features{boxes} {read} are sound{more}.")


def image_faults(regions: Regions) -> dict[str, NDArray[np.bool_]]:
    """Which images have which fault: by the fault's name, (images,)."""
    mask, features = regions.mask.numpy(), regions.features.numpy()
    real = mask[..., None]
    faults = {
        "infinite": (~np.isfinite(features) & real).any((1, 2)),
        "zero": ~((features != 0) & real).any((1, 2)),
    }
    if regions.boxes is None:
        return faults
    boxes = regions.boxes.numpy()
    finite = np.isfinite(boxes).all(-1)
    faults["infinite"] |= (~finite & mask).any(1)
    shares = (~real | ((boxes >= 0) & (boxes <= 1))).all((1, 2))
    beyond = boxes < -EDGE
    if regions.sizes is not None:
        beyond[..., 2:] |= boxes[..., 2:] > regions.sizes.numpy()[:, None] + EDGE
    without_area = ~((boxes[..., 2:] > boxes[..., :2]).all(-1) | ~mask) & finite
    return faults | {
        "outside": (beyond & real).any((1, 2)) & ~shares,
        "empty": without_area.any(1),
        "shares": shares,
    }


def chosen_rows(count: int, full: bool) -> NDArray[np.int64]:
    """All rows, or some of them: evenly taken, each with the one that follows it."""
    if full or count <= SAMPLED:
        return np.arange(count)
    starts = np.linspace(0, count - 2, SAMPLED // 2).astype(np.int64)
    return np.unique([starts, starts + 1])


def _faults(source: FeatureSource, place: str, tally: Tally, read: str) -> Iterator[Finding]:
    for name, rows in tally.faults.items():
        if rows:
            check, what, remedy = _FAULTS[name]
            images = some((source.ids[row] for row in rows), len(rows))
            yield Finding("problem", check, place, f"Images {what}: {images} ({read}).", remedy)


def _equal(
    source: FeatureSource, place: str, tally: Tally, read: str, count: int
) -> Iterator[Finding]:
    if tally.equal:
        pairs = (f"{source.ids[one]} and {source.ids[other]}" for one, other in tally.equal)
        yield Finding(
            "problem" if len(tally.equal) > CHANCE * count else "warning",
            "equal rows",
            place,
            f"Images with the features of another: {some(pairs, len(tally.equal))} ({read}).",
            "Extract their features again, unless the same picture has two ids: no model can "
            "tell them apart.",
        )

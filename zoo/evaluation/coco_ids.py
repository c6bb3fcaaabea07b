"""Images and captions of COCO's 5K test split, found among the rows and columns of scores."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Joined:
    """Which row and which column of a score matrix an image and a caption of COCO has.

    how: "by text", or "by order" where only the order of an image's captions could tell
    """

    images: Mapping[int, int]
    captions: Mapping[int, int]
    how: str


def join(
    known: Mapping[int, Sequence[int]],
    image_ids: Sequence[str],
    pairs: Rows,
    captions: Sequence[str] | None = None,
    annotations: Mapping[int, str] | None = None,
) -> Joined:
    """Find COCO's images and captions among the rows and columns of a score matrix.

    `known` are the ids of the captions of each image that are looked for, in their order. With the
    texts of the `captions` and of COCO's own `annotations`, captions are told by what they say.
    Else as many captions of an image as are known are taken for them, in their order. Captions
    beyond those are no candidates. Raises `DataError` where ids are missing.
    """
    images = {coco_id(name): row for row, name in enumerate(image_ids)}
    _check_images(set(known), set(images), len(image_ids))
    columns = _columns(pairs, len(image_ids))
    texts = None if captions is None or annotations is None else (captions, annotations)
    found: dict[int, int] = {}
    for image, ids in known.items():
        own = columns[images[image]]
        if len(own) < len(ids):
            raise DataError(
                f"The image {image} has {len(own)} captions, and CxC and ECCV Caption know "
                f"{len(ids)} of it. Give the split with all captions: testall, 25,000 or 25,010."
            )
        if texts is not None:
            own = _by_text(image, own, ids, *texts)
        found |= dict(zip(ids, own, strict=False))
    return Joined(images, found, "by order" if texts is None else "by text")


def coco_id(name: str) -> int:
    """The number of an image of COCO, from its id or from the name of its file.

    Raises `DataError` for a name without one.

    >>> coco_id("391895"), coco_id("val2014/COCO_val2014_000000391895.jpg")
    (391895, 391895)
    """
    number = re.search(r"(\d+)(\.\w+)?$", name)
    if number is None:
        raise DataError(
            f"{name} is no id of an image of COCO. CxC and ECCV Caption are of COCO's 5K test "
            "split (testall): give scores of it."
        )
    return int(number[1])


def read_annotations(path: Path) -> dict[int, str]:
    """The captions of COCO's `captions_val2014.json` by their ids. Raises `DataError`."""
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["annotations"]
        return {int(row["id"]): str(row["caption"]) for row in rows}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{path} is no file of COCO's captions ({type(error).__name__}: {error}). Give "
            "captions_val2014.json of the annotations of 2014."
        ) from error


def _check_images(wanted: set[int], found: set[int], rows: int) -> None:
    missing, others = sorted(wanted - found), sorted(found - wanted)
    if missing or others or len(found) != rows:
        raise DataError(
            f"Of the {len(wanted):,} images of COCO's 5K test split, {len(missing):,} are missing"
            f"{_such(missing)}; {len(others):,} are of no such split{_such(others)}, and "
            f"{rows - len(found):,} are there twice. Give scores of testall, all of it."
        )


def _such(ids: Iterable[int]) -> str:
    first = next(iter(ids), None)
    return "" if first is None else f" (such as {first})"


def _columns(pairs: Rows, images: int) -> list[list[int]]:
    """The captions of each image, in their order."""
    columns: list[list[int]] = [[] for _ in range(images)]
    for row, column in sorted(pairs.tolist()):
        columns[row].append(column)
    return columns


def _by_text(
    image: int,
    own: Sequence[int],
    ids: Sequence[int],
    captions: Sequence[str],
    annotations: Mapping[int, str],
) -> list[int]:
    """The column of each caption id of an image, told by the letters and digits of the text.

    Data sets differ in spaces, case and punctuation. A single id whose text is not found
    belongs to the single caption that is left.
    """
    left = {column: _letters(captions[column]) for column in own}
    found: dict[int, int] = {}
    for caption in ids:
        text = _letters(annotations.get(caption, ""))
        column = next((column for column, other in left.items() if text and text == other), None)
        if column is not None:
            found[caption] = column
            del left[column]
    unknown = [caption for caption in ids if caption not in found]
    if len(unknown) == len(left) == 1:
        found[unknown[0]] = next(iter(left))
    elif unknown:
        raise DataError(
            f"The caption {unknown[0]} of the image {image} "
            f"({annotations.get(unknown[0], 'which the annotations lack')!r}) is none of that "
            f"image's captions ({len(unknown)} such). Give the captions of COCO's test split, and "
            "captions_val2014.json beside them."
        )
    return [found[caption] for caption in ids]


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isascii() and letter.isalnum())

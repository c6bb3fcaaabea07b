"""What every layout comes down to: images, captions, and which belong together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...errors import DataError

PairRows = np.ndarray[Any, np.dtype[np.int64]]

_COCO_FILE = re.compile(r"COCO_[a-z]+\d{4}_(\d{12})\.jpg")


@dataclass(frozen=True, eq=False)
class Listing:
    """One split as its files list it.

    name:       of the data set, as registry.yaml says it if it is one of the field's
    image_ids:  (images,)
    captions:   (captions,)
    pairs:      (pairs, 2) int64, the rows of an image and of a caption that describes it; sorted by
                caption, then by image; every caption has one at least
    file_names: (images,), where each picture lies below the images folder, or None
    """

    name: str
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    pairs: PairRows
    file_names: tuple[str, ...] | None

    @property
    def caption_images(self) -> PairRows:
        """(captions,) int64, the row of the (first) image that each caption describes."""
        return first_images(self.pairs)


class Row(NamedTuple):
    """One caption of one image, as a file lists it.

    caption_id: what tells captions apart; None is a caption of its own
    """

    image_id: str
    file_name: str
    caption: str
    caption_id: str | None = None


def listing_of(name: str, rows: Iterable[Row], source: Path) -> Listing:
    """The listing of rows; images and captions are in the order in which they first come.

    Rows with the same caption id are one caption, of several images. Raises `DataError` where
    there is no row, a caption has no text, or two captions have the same id.
    """
    images: dict[str, str] = {}
    captions: dict[str | int, str] = {}
    places: dict[str, int] = {}
    pairs = []
    for number, row in enumerate(rows):
        caption, key = one_line(row.caption), number if row.caption_id is None else row.caption_id
        if caption == "" or captions.setdefault(key, caption) != caption:
            raise DataError(
                f"{source} has {caption!r} as a caption of {row.image_id}"
                f"{f', and {captions[key]!r} under the same id' if caption else ''}. "
                "Give every caption a text, and an id of its own if it has one."
            )
        images.setdefault(row.image_id, row.file_name)
        pairs.append((row.image_id, key))
    if not pairs:
        raise DataError(f"{source} lists no caption of this split. Fetch the file again.")
    places = {image: place for place, image in enumerate(images)}
    order = {key: place for place, key in enumerate(captions)}
    found = np.unique([(order[key], places[image]) for image, key in pairs], axis=0)
    return Listing(
        name,
        tuple(images),
        tuple(captions.values()),
        found[:, ::-1].astype(np.int64),
        tuple(images.values()),
    )


def image_id(file_name: str) -> str:
    """The id of an image by its file: COCO's number if the name is COCO's, else the name.

    >>> image_id("val2014/COCO_val2014_000000391895.jpg"), image_id("2013/one.jpg")
    ('391895', '2013/one.jpg')
    """
    found = _COCO_FILE.fullmatch(file_name.rpartition("/")[2])
    return str(int(found[1])) if found else file_name


def one_line(caption: str) -> str:
    """A caption without line breaks, or space at its ends."""
    return re.sub(r"\s*[\r\n]+\s*", " ", caption.strip())


def pairs_of(caption_images: ArrayLike) -> PairRows:
    """The pairs where each caption describes one image, whose rows are given: (captions, 2).

    >>> pairs_of([0, 0, 1]).tolist()
    [[0, 0], [0, 1], [1, 2]]
    """
    images = np.asarray(caption_images, dtype=np.int64)
    return np.stack([images, np.arange(len(images))], 1)


def first_images(pairs: PairRows) -> PairRows:
    """The row of the first image that each caption describes: (captions,)."""
    images: PairRows = pairs[np.unique(pairs[:, 1], return_index=True)[1], 0]
    return images

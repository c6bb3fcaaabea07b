"""What every layout comes down to: images, captions, and which belong together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...errors import DataError

PairRows = np.ndarray[Any, np.dtype[np.int64]]

REGISTRY_NAMES = {"flickr8k": "f8k", "flickr30k": "f30k", "mscoco": "coco"}


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


def pairs_of(caption_images: ArrayLike) -> PairRows:
    """The pairs where each caption describes one image, whose rows are given: (captions, 2).

    >>> pairs_of([0, 0, 1]).tolist()
    [[0, 0], [0, 1], [1, 2]]
    """
    images = np.asarray(caption_images, dtype=np.int64)
    return np.stack([images, np.arange(len(images))], 1)


def first_images(pairs: PairRows) -> PairRows:
    """The row of the first image that each caption describes: (captions,)."""
    return pairs[np.unique(pairs[:, 1], return_index=True)[1], 0]


def data_set_name(written: str) -> str:
    """The registry's word for a data set; a name that it does not know stays.

    >>> data_set_name("flickr30k"), data_set_name("coco_precomp"), data_set_name("mine")
    ('f30k', 'coco', 'mine')
    """
    bare = written.removesuffix("_precomp")
    return REGISTRY_NAMES.get(bare.lower(), bare)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, none of them blank. Raises `DataError` otherwise."""
    lines = [line.strip() for line in read_text(path).removesuffix("\n").split("\n")]
    if "" in lines:
        raise DataError(
            f"{path} has nothing in line {lines.index('') + 1}. Give every line a value."
        )
    return lines


def read_text(path: Path) -> str:
    """The text of a file, which is UTF-8 whatever the machine's language. Raises `DataError`."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing. Put it beside the other files.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from error

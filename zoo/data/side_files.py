"""What lies beside features under the names that the field's programs gave it.

Kinds: boxes, sizes, overlaps (intersection over union of boxes; found, but never read, since ours
are computed from the boxes), parses (GSMN's dependency parses of captions) and tags.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .inert_pickle import read_entries

NAMES = {
    "boxes": ("ims_bbx.npy", "boxes.npy"),
    "sizes": ("ims_size.npy", "img_sizes.npy"),
    "overlaps": ("IOU_half.npy",),
    "parses": ("caps.json",),
    "tags": ("tags.txt",),
}
"""By kind, what stands behind SPLIT_: the names of GSMN and TVRN, then those of CAMERA."""

Dependency = tuple[Any, ...]
"""(governor, dependent) or (label, governor, dependent), words counted from 1, 0 above the root."""


def find_side_files(features: Path) -> dict[str, Path]:
    """The files beside SPLIT_ims.npy, by kind; of two names the first that is there."""
    split = features.stem.removesuffix("_ims")
    found = {}
    for kind, names in NAMES.items():
        paths = [features.with_name(f"{split}_{name}") for name in names]
        there = [path for path in paths if path.is_file()]
        if there:
            found[kind] = there[0]
    return found


def read_sizes(path: Path) -> NDArray[np.float32]:
    """Width and height in pixels, from (rows, 2) numbers, or from dicts as GSMN pickled them.

    Of a pickle nothing is run: what it names is replaced by plain records, and whatever else it
    names is refused. Raises `DataError` for a file that holds anything else.
    """
    try:
        with path.open("rb") as file:
            if _is_object(file):
                pairs = [(entry["image_w"], entry["image_h"]) for entry in read_entries(file)]
                sizes = np.array(pairs, np.float32)
            else:
                file.seek(0)
                sizes = np.load(file, allow_pickle=False).astype(np.float32)
        if sizes.ndim != 2 or sizes.shape[1] != 2:
            raise ValueError(f"its shape is {sizes.shape}")
        if not (np.isfinite(sizes) & (sizes > 0)).all():
            raise ValueError(f"its least value is {sizes.min()}")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{path} does not hold a width and a height for each row ({error}). "
            "Fetch the file again, or move it away if nothing needs boxes."
        ) from error
    return sizes


def read_parses(path: Path, captions: int) -> list[tuple[Dependency, ...]]:
    """A dependency parse for each caption, as GSMN's program wrote them.

    Raises `DataError` when there is not one for each of `captions`, or it has another form.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        parses = [tuple(_dependency(edge) for edge in parse) for parse in table]
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path} does not hold dependency parses ({error}). Fetch the file again."
        ) from error
    if len(parses) != captions:
        raise DataError(
            f"{path} has {len(parses):,} parses for {captions:,} captions. "
            "Fetch the parses and the captions of one source."
        )
    return parses


def _dependency(edge: Sequence[Any]) -> Dependency:
    if len(edge) not in (2, 3) or not all(isinstance(place, int) for place in edge[-2:]):
        raise ValueError(f"{edge!r} is not (governor, dependent)")
    return tuple(edge)


def _is_object(file: BinaryIO) -> bool:
    """Whether a .npy file holds a pickle; the file is left where that begins."""
    read_header = {(1, 0): np.lib.format.read_array_header_1_0}.get(
        np.lib.format.read_magic(file), np.lib.format.read_array_header_2_0
    )
    _, _, dtype = read_header(file)
    return dtype.hasobject

"""COCO's annotations: captions with numbers of images, and beside them the field's caption ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import DataError
from .columns import checked_text
from .layout import Layout
from .listing import Listing, Row, listing_of
from .names import name_of
from .reading import opening, read_json
from .splits import Files, as_coco, cut_split

CAPTIONS = "captions_*.json"
IDS = {
    "train": ("coco_train_ids.npy", "coco_restval_ids.npy"),
    "dev": ("coco_dev_ids.npy",),
    "test": ("coco_test_ids.npy",),
}
"""The files of caption ids that make up each split in VSE++'s distribution."""


class Coco(Layout):
    """`captions_train2014.json` and the like.

    Each file is a split, unless `coco_{train,dev,test,restval}_ids.npy` lie beside them: these
    choose the captions of each split out of all files, and restval is part of train.
    """

    name = "COCO annotations"

    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        tables = [path for path in files if path.match(CAPTIONS) and '"images"' in opening(path)]
        known = {path.name: path for path in files}
        chosen = {
            split: (*tables, *(known[name] for name in names if name in known))
            for split, names in IDS.items()
            if names[0] in known
        }
        if tables:
            yield as_coco(chosen or _by_name(tables))

    def read(self, split: str, files: Files) -> Listing:
        del split
        tables = [path for path in files if path.suffix == ".json"]
        rows = [row for table in tables for row in _rows(table)]
        ids = [_read_ids(path) for path in files if path.suffix == ".npy"]
        if ids:
            rows = _choose(rows, np.concatenate(ids), files[-1])
        hint = rows[0].file_name if rows else ""
        return listing_of(name_of(tables[0].parent, hint), rows, files[-1])


def _by_name(tables: Sequence[Path]) -> dict[str, Files]:
    """A split a file, by the part of its name that tells; with the year if that is needed."""
    words = [path.stem.removeprefix("captions_") for path in tables]
    splits = [cut_split(word)[1] or word for word in words]
    unique = len(set(splits)) == len(splits)
    return {
        split if unique else word: (path,)
        for split, word, path in zip(splits, words, tables, strict=True)
    }


def _rows(path: Path) -> Iterator[Row]:
    table = read_json(path)
    folder = path.stem.removeprefix("captions_")
    try:
        names = {image["id"]: _place(folder, image) for image in table["images"]}
        for one in table["annotations"]:
            image = one["image_id"]
            yield Row(str(image), names[image], checked_text(one["caption"]), str(one["id"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} holds no captions as COCO's annotations have them ({error!r}). "
            "Fetch the file again."
        ) from error


def _place(folder: str, image: Mapping[str, Any]) -> str:
    """Where a picture lies: its file name, in a folder that is called like the annotations."""
    name = str(image.get("file_name") or image.get("filename") or image["id"])
    return name if "/" in name else f"{folder}/{name}"


def _read_ids(path: Path) -> NDArray[np.int64]:
    try:
        ids: NDArray[np.int64] = np.load(path, allow_pickle=False)
        if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
            raise ValueError(f"{ids.dtype} of shape {ids.shape}")
    except ValueError as error:
        raise DataError(
            f"{path} holds no list of caption ids ({error}). Fetch the file again."
        ) from error
    return ids


def _choose(rows: Sequence[Row], ids: NDArray[np.int64], source: Path) -> list[Row]:
    """The rows of some captions, in the order of their ids."""
    known = {row.caption_id: row for row in rows}
    missing = [caption for caption in map(str, ids) if caption not in known]
    if missing:
        raise DataError(
            f"{len(missing):,} of {len(ids):,} captions of {source} are in no captions_*.json "
            f"beside it, the first has the id {missing[0]}. Put the annotations of train and of "
            "val there."
        )
    return [known[str(caption)] for caption in ids]

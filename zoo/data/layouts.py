"""Layouts in which captions lie on disk: which picture has which captions, split by split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, InputError

KARPATHY_SPLITS = {"train": ("train", "restval"), "dev": ("val",), "test": ("test",)}
REGISTRY_NAMES = {"flickr8k": "f8k", "flickr30k": "f30k"}


@dataclass(frozen=True, eq=False)
class Listing:
    """One split as its files list it.

    name:           of the data set, as registry.yaml says it if it is one of the field's
    image_ids:      (images,)
    captions:       (captions,)
    caption_images: (captions,) int64, the row in `image_ids` of the image that each describes
    file_names:     (images,), where each picture lies below the images folder, or None
    """

    name: str
    image_ids: tuple[str, ...]
    captions: tuple[str, ...]
    caption_images: np.ndarray[Any, np.dtype[np.int64]]
    file_names: tuple[str, ...] | None


def read_listing(folder: Path, split: str) -> Listing:
    """Find and read the captions of a split; caption and id files go before a Karpathy JSON.

    Raises `InputError` when the folder or the split is absent, `DataError` when files are damaged.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}. Give the folder of a data set.")
    if (folder / f"{split}_caps.txt").exists():
        return read_scan(folder, split)
    table = next(iter(sorted(folder.glob("dataset_*.json"))), None)
    if table is not None and split in KARPATHY_SPLITS:
        return read_karpathy(table, split)
    found = [path.name.removesuffix("_caps.txt") for path in sorted(folder.glob("*_caps.txt"))]
    if table is not None:
        found = sorted({*found, *KARPATHY_SPLITS})
    if found:
        raise InputError(f"{folder} has no split {split!r}. Choose one of {', '.join(found)}.")
    raise InputError(
        f"{folder} holds no data set that is known. It must have {split}_caps.txt and "
        f"{split}_ids.txt, or dataset_NAME.json in Karpathy's layout."
    )


def read_scan(folder: Path, split: str) -> Listing:
    """SCAN's layout: a caption a line in one file, an image's id a line in another.

    With an id for each caption, captions of one image have the same id; with fewer ids, each image
    has the same number of consecutive captions.
    """
    captions = read_lines(folder / f"{split}_caps.txt")
    lines = read_lines(folder / f"{split}_ids.txt")
    each, left = divmod(len(captions), len(lines))
    if left or each < 1:
        raise DataError(
            f"{folder} has {len(captions)} captions and {len(lines)} ids in {split}. "
            "Give one id for each caption, or for each image with its equally many captions."
        )
    rows = {image: row for row, image in enumerate(dict.fromkeys(lines))}
    if each > 1 and len(rows) != len(lines):
        raise DataError(
            f"{split}_ids.txt in {folder} has {len(lines)} ids, of which {len(rows)} differ, for "
            f"{len(captions)} captions. Give one id for each caption, or a different one an image."
        )
    caption_images = np.repeat([rows[image] for image in lines], each).astype(np.int64)
    return Listing(
        _name(folder.resolve().name),
        tuple(rows),
        tuple(captions),
        caption_images,
        _file_names(folder, tuple(rows)),
    )


def read_karpathy(path: Path, split: str) -> Listing:
    """Karpathy's JSON: all captions of every image; `restval` belongs to train, `val` is dev."""
    try:
        table: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        wanted = KARPATHY_SPLITS[split]
        images = [image for image in table["images"] if image["split"] in wanted]
        names = tuple("/".join(_places(image)) for image in images)
        sentences = [[one["raw"].strip() for one in image["sentences"]] for image in images]
        name = str(table.get("dataset", path.stem.removeprefix("dataset_")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path} is not a data set in Karpathy's layout ({error!r}). "
            "Fetch the file again, or give caption and id files beside it."
        ) from error
    counts = [len(some) for some in sentences]
    captions = tuple(caption for some in sentences for caption in some)
    return Listing(_name(name), names, captions, np.repeat(np.arange(len(names)), counts), names)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, none of them blank. Raises `DataError` otherwise."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing. Put it beside the other files.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}). Convert it to UTF-8."
        ) from error
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if "" in lines:
        raise DataError(
            f"{path} has nothing in line {lines.index('') + 1}. Give every line a value."
        )
    return lines


def _name(written: str) -> str:
    """The registry's word for a data set; a name that it does not know stays.

    >>> _name("flickr30k"), _name("coco_precomp"), _name("mine")
    ('f30k', 'coco', 'mine')
    """
    bare = written.removesuffix("_precomp")
    return REGISTRY_NAMES.get(bare.lower(), bare)


def _places(image: Mapping[str, str]) -> Sequence[str]:
    return [image[key] for key in ("filepath", "filename") if image.get(key)]


def _file_names(folder: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Where each picture lies: by `id_mapping.json` if there is one, else the id is the name."""
    for path in (folder / "id_mapping.json", folder.parent / "id_mapping.json"):
        if path.exists():
            names = _read_mapping(path)
            return tuple(names.get(image, image) for image in ids)
    return ids


def _read_mapping(path: Path) -> dict[str, str]:
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
        found = type(names).__name__
    except ValueError as error:
        names, found = None, str(error)
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise DataError(
            f"{path} does not lead from ids to file names ({found}). Fetch the file again, or "
            "remove it if the ids are the names of the pictures."
        )
    return names

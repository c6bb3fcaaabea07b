"""What data sets are called."""

from __future__ import annotations

from pathlib import Path

from .splits import cut_split

REGISTRY_NAMES = {"flickr8k": "f8k", "flickr30k": "f30k", "mscoco": "coco"}

INNER = ("precomp", "annotations")
"""Folders that hold the captions of the folder that they are in."""

_GENERAL = {*INNER, "captions", "data", "images", "text", ""}


def home_of(folder: Path) -> Path:
    """The folder of the data set whose captions lie in `folder`."""
    return folder.parent if folder.resolve().name in INNER else folder


def data_set_name(written: str) -> str:
    """The registry's word for a data set; a name that it does not know stays.

    >>> data_set_name("flickr30k"), data_set_name("coco_precomp"), data_set_name("mine")
    ('f30k', 'coco', 'mine')
    """
    bare = written.removesuffix("_precomp")
    return REGISTRY_NAMES.get(bare.lower(), bare)


def name_of(folder: Path, hint: str = "") -> str:
    """What a data set is called, by its files if `hint` tells, or else by its folder."""
    for known in ("coco", *REGISTRY_NAMES):
        if known in hint.lower():
            return data_set_name(known)
    for place in (folder.resolve(), *folder.resolve().parents):
        if place.name not in _GENERAL and cut_split(place.name)[0]:
            return data_set_name(place.name)
    return "data"

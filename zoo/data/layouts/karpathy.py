"""Karpathy's layout: one JSON file with all images, their captions and their splits."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from .layout import Files, Layout
from .listing import Listing, data_set_name, pairs_of

SPLITS = {"train": ("train", "restval"), "dev": ("val",), "test": ("test",)}


class Karpathy(Layout):
    """`dataset_NAME.json`: every caption of every image; `restval` is train, and `val` is dev."""

    name = "Karpathy JSON"

    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        tables = [path for path in files if path.match("dataset_*.json")]
        return [dict.fromkeys(SPLITS, (table,)) for table in tables]

    def read(self, split: str, files: Files) -> Listing:
        (path,) = files
        wanted = SPLITS[split]
        try:
            table: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
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
        pairs = pairs_of(np.repeat(np.arange(len(names)), counts))
        return Listing(data_set_name(name), names, captions, pairs, names)


def _places(image: Mapping[str, str]) -> Sequence[str]:
    return [image[key] for key in ("filepath", "filename") if image.get(key)]

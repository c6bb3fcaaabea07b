"""Karpathy's layout: one JSON file with all images, their captions and their splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError, InputError
from .layout import Layout
from .listing import Listing, image_id, one_line, pairs_of
from .names import data_set_name
from .reading import opening, read_json
from .splits import Files, as_coco

WRITTEN = {"train": ("train", "restval"), "dev": ("val",), "test": ("test",), "testall": ("test",)}
"""What the file calls each split."""


class Karpathy(Layout):
    """`dataset_NAME.json`: every caption of every image; `restval` is train, and `val` is dev."""

    name = "Karpathy JSON"

    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        for path in files:
            if path.suffix == ".json" and _is_table(path, start := opening(path)):
                splits = dict.fromkeys(("train", "dev", "test"), (path,))
                yield as_coco(splits) if '"cocoid"' in start else splits

    def read(self, split: str, files: Files) -> Listing:
        (path,) = files
        table = read_json(path)
        try:
            images = [image for image in table["images"] if image["split"] in WRITTEN[split]]
            names = ["/".join(_places(image)) for image in images]
            numbers = [image.get("cocoid") for image in images]
            sentences = [[one_line(one["raw"]) for one in image["sentences"]] for image in images]
            name = str(table.get("dataset", path.stem.removeprefix("dataset_")))
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is not a data set in Karpathy's layout ({error!r}). "
                "Fetch the file again, or give caption and id files beside it."
            ) from error
        if not images:
            raise InputError(f"{path} lists no image of {split}. Choose another split.")
        known = zip(names, numbers, strict=True)
        ids = tuple(image_id(name) if number is None else str(number) for name, number in known)
        for image, own in zip(ids, sentences, strict=True):
            if "" in own:
                raise DataError(
                    f"{path} has '' as a caption of {image}. Give every caption a text."
                )
        if len(set(ids)) != len(ids):
            raise DataError(
                f"{path} lists the image {Counter(ids).most_common(1)[0][0]} more than once. "
                "Put all captions of an image into one record."
            )
        return Listing(
            data_set_name(name),
            ids,
            tuple(caption for own in sentences for caption in own),
            pairs_of(np.repeat(np.arange(len(names)), [len(own) for own in sentences])),
            tuple(names),
        )


def _is_table(path: Path, start: str) -> bool:
    written = start.lstrip().startswith("{") and '"sentences"' in start and '"split"' in start
    return written or path.match("dataset_*.json")


def _places(image: Mapping[str, str]) -> Sequence[str]:
    return [image[key] for key in ("filepath", "filename") if image.get(key)]

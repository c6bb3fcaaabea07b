"""SCAN's layout: a caption a line in one file, an image's id a line in another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import DataError
from .layout import Layout
from .listing import Listing, pairs_of
from .names import name_of
from .reading import read_lines
from .splits import Files

CAPTIONS, IDS = "_caps.txt", "_ids.txt"
MAPPINGS = ("id_mapping.json", "id_mappings.json")


class Scan(Layout):
    """`SPLIT_caps.txt` and `SPLIT_ids.txt`, as SCAN's "precomp" folders have them."""

    name = "SCAN precomp"

    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        captions = [path for path in files if path.name.endswith(CAPTIONS)]
        splits = [path.name.removesuffix(CAPTIONS) for path in captions]
        found = {
            split: (path, path.with_name(split + IDS))
            for split, path in zip(splits, captions, strict=True)
        }
        return [found] if found else []

    def read(self, split: str, files: Files) -> Listing:
        """Captions and their images.

        With an id for each caption, captions of one image have the same id; with fewer ids, each
        image has the same number of consecutive captions.
        """
        captions, lines = (read_lines(path) for path in files)
        folder = files[0].parent
        each, left = divmod(len(captions), max(len(lines), 1))
        if left or each < 1 or not lines:
            raise DataError(
                f"{folder} has {len(captions)} captions and {len(lines)} ids in {split}. "
                "Give one id for each caption, or for each image with its equally many captions."
            )
        rows = {image: row for row, image in enumerate(dict.fromkeys(lines))}
        if each > 1 and len(rows) != len(lines):
            raise DataError(
                f"{split}_ids.txt in {folder} has {len(lines)} ids, of which {len(rows)} differ, "
                f"for {len(captions)} captions. Give one id for each caption, or a different one "
                "an image."
            )
        return Listing(
            name_of(folder),
            tuple(rows),
            tuple(captions),
            pairs_of(np.repeat([rows[image] for image in lines], each)),
            _file_names(folder, tuple(rows)),
        )


def _file_names(folder: Path, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Where each picture lies: by `id_mapping.json` if there is one, else the id is the name."""
    for path in (place / name for place in (folder, folder.parent) for name in MAPPINGS):
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

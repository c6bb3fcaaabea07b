"""Where the region features of a split lie, and in which form: found by the files, not by names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from posixpath import splitext
from typing import TYPE_CHECKING

import numpy as np

from ..errors import DataError
from .arrays import image_rows, open_array
from .features import FeatureSource
from .region_files import SUFFIXES, holds_regions, open_files
from .region_tables import is_table, open_tables, tables_in
from .store import INDEX, FeatureStore

if TYPE_CHECKING:
    from .layouts import Found, Listing

COMPARED = 16

NUMBERED = "region_feats"
"""CORA's folder: below it a folder a split, with files that are numbered and not named."""


def find_features(root: Path, split: str, listing: Listing) -> FeatureSource | None:
    """The features of a split that lie beside its captions in `root`, or None.

    SPLIT_ims.npy goes before everything else. Then there may be CORA's region_feats/SPLIT, tables
    of regions (.tsv), or a folder with a file for each image. A feature store is not looked for:
    it is named by who wants it. Raises `DataError` when features fit the listing in part alone,
    or lie there in more than one form.
    """
    array = _array(root, split)
    if array is not None:
        return open_array(array, listing)
    found = dict(_beside(root, split, listing))
    if len(found) > 1:
        raise DataError(
            f"{root} has features in more than one form: {', '.join(map(str, found))}. "
            "Say which are meant: features=PATH in Python, --features PATH on the command line."
        )
    return next((opened for opened in (open() for open in found.values())), None)


def features_beside(found: Found, split: str, listing: Listing) -> FeatureSource | None:
    """Those of a data set, beside its captions or in the folder that these belong to, or None.

    Raises `DataError` as `find_features` does.
    """
    places = dict.fromkeys((found.root, found.home))
    sources = (find_features(place, split, listing) for place in places)
    return next((source for source in sources if source is not None), None)


def open_features(path: str | Path, listing: Listing, split: str) -> FeatureSource:
    """The features at `path`, in any form that is known, of a listing's images in their order.

    A feature store, a .npy file, a table of regions, a folder with a file for each image, or a
    folder in which `find_features` finds some. Raises `DataError` when there are none, or not of
    every image.
    """
    path = Path(path)
    if not path.exists():
        raise _no_features(path)
    if path.suffix == ".npy":
        return open_array(path, listing)
    found = find_features(path, split, listing) if path.is_dir() else None
    if found is not None:
        return found
    for folder in (path / NUMBERED / split, path / split, path):
        if (folder / "part0").is_dir():
            return _open_numbered(folder, listing)
    return select_images(open_named(path), listing)


def open_named(path: Path) -> FeatureSource:
    """All features at `path` that know their images' ids: a store, tables, a file for each image.

    Raises `DataError` when there are none.
    """
    if (path / INDEX).is_file():
        return FeatureStore.open(path)
    if path.is_file() and is_table(path):
        return open_tables([path])
    tables = tables_in(path) if path.is_dir() else []
    if tables:
        return open_tables(tables)
    if path.is_dir() and any(next(path.rglob(f"*{suffix}"), None) for suffix in SUFFIXES):
        return open_files(path)
    raise _no_features(path)


def _no_features(path: Path) -> DataError:
    if not path.exists():
        return DataError(f"There is nothing at {path}. Give the path of features.")
    if path.suffix == ".npy":
        return DataError(
            f"{path} is an array alone, which does not say whose its rows are. Call it "
            "SPLIT_ims.npy, beside SPLIT_caps.txt and SPLIT_ids.txt."
        )
    return DataError(
        f"{path} holds no features in a form of docs/features.md: there is no feature store, no "
        "table of regions, no file for each image. Make a store with: zoo extract IMAGES -o FOLDER"
    )


def select_images(source: FeatureSource, listing: Listing) -> FeatureSource:
    """The features of a listing's images, under whichever of their names the source has them all.

    Raises `DataError` when an image has no features there under any name.
    """
    known = set(source.ids)
    files = listing.file_names or ()
    for name in NAMES if files else ():
        if name(files[0]) in known:
            names = [name(file) for file in files]
            if known.issuperset(names) and len(set(names)) == len(names):
                return source.select(names)
    return source.select(listing.image_ids)


def _name(file: str) -> str:
    return file.rpartition("/")[2]


def _bare(file: str) -> str:
    return splitext(file)[0]


NAMES: tuple[Callable[[str], str], ...] = (
    str,
    _name,
    _bare,
    lambda file: _bare(_name(file)),
)
"""What features may call an image, by its file: with its folders, alone, and without the ending."""


def _any_name(listing: Listing, row: int) -> set[str]:
    """All that features may call one image."""
    files = listing.file_names
    return {listing.image_ids[row], *(name(files[row]) for name in NAMES if files)}


def _array(folder: Path, split: str) -> Path | None:
    names = (split, "val") if split == "dev" else (split,)
    paths = (folder / f"{name}_ims.npy" for name in names)
    return next((path for path in paths if path.is_file()), None)


def _beside(
    root: Path, split: str, listing: Listing
) -> Iterator[tuple[Path, Callable[[], FeatureSource | None]]]:
    """The other forms that lie in `root`, and how each is opened."""
    numbered = root / NUMBERED / split
    if numbered.is_dir():
        yield numbered, partial(_open_numbered, numbered, listing)
    tables = tables_in(root)
    if tables:
        yield root / tables[0].name, partial(_open_tables, tables, listing)
    rows = np.unique(np.linspace(0, len(listing.image_ids) - 1, COMPARED, dtype=np.int64))
    names = [name for row in rows.tolist() for name in _any_name(listing, row)]
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        files = (folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES)
        if any(file.is_file() and holds_regions(file) for file in files):
            yield folder, partial(_open_folder, folder, listing)


def _open_folder(folder: Path, listing: Listing) -> FeatureSource:
    return select_images(open_files(folder), listing)


def _open_tables(tables: list[Path], listing: Listing) -> FeatureSource | None:
    """Those of the listing, and None where the tables have no image of it at all."""
    source = open_tables(tables)
    known = set(source.ids)
    none = all(known.isdisjoint(_any_name(listing, row)) for row in range(len(listing.image_ids)))
    return None if none else select_images(source, listing)


def _open_numbered(folder: Path, listing: Listing) -> FeatureSource:
    """CORA's files: number n is that of row n, an image's or a caption's as the counts have it."""
    source = open_files(folder)
    numbers = sorted((int(name), row) for row, name in enumerate(source.ids) if name.isdigit())
    if [number for number, _ in numbers] != list(range(len(source))):
        raise DataError(
            f"{folder} has {len(source):,} files, and they are not numbered from 0 without a gap. "
            "Fetch the missing ones, or take the others away."
        )
    rows = image_rows(folder, len(source), listing, "features")
    return source.numbered(listing.image_ids, np.array([row for _, row in numbers])[rows])

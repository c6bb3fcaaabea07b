"""Features in any form to a feature store, each image once, whatever splits it is in."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from .arrays import COMPARED
from .features import FeatureSource
from .layouts import canonical_split, recognise
from .sources import features_beside, open_named
from .store import Plan

if TYPE_CHECKING:
    from ..batch import Regions

Advance = Callable[[int], None]
"""Told how many images were done since it was told last."""

SPARE = 1 << 26
"""Bytes of the disk that are left free beside the store: for the index, and for the system."""


@dataclass(frozen=True)
class Conversion:
    """What one run of `convert` did.

    converted:   images that this run stored
    kept:        images that an earlier run had stored
    bytes:       of the store
    fingerprint: of the store
    """

    folder: Path
    converted: int
    kept: int
    regions: int
    dim: int
    has_boxes: bool
    dtype: str
    bytes: int
    fingerprint: str


def open_sources(path: Path, splits: Sequence[str] = ()) -> dict[str, FeatureSource]:
    """The features at `path` by split: of a data set's splits, of all without any named.

    A store, a table of regions, or a folder with a file for each image, has no splits; its name
    is then "". Raises `InputError` or `DataError` where there are none.
    """
    if path.name.endswith("_ims.npy"):
        path, splits = path.parent, splits or [path.name.removesuffix("_ims.npy")]
    try:
        chosen = [canonical_split(split) for split in splits] or list(recognise(path).splits)
    except InputError:
        return {"": open_named(path)}
    found: dict[str, FeatureSource] = {}
    for split in dict.fromkeys(chosen):
        data = recognise(path, split)
        try:
            source = features_beside(data, split, data.read(split))
        except InputError:  # a layout may name a split of which its file has no image
            if splits:
                raise
        else:
            found |= {} if source is None else {split: source}
    missing = [split for split in chosen if split not in found]
    if not found or (splits and missing):
        raise DataError(
            f"{path} has no features of {', '.join(missing)}. Put SPLIT_ims.npy or features in "
            "another form of docs/features.md beside the captions, or name the file or folder."
        )
    return found


def convert(
    sources: Mapping[str, FeatureSource],
    out: Path,
    *,
    dtype: Literal["float16", "float32"] = "float16",
    shard_rows: int = 512,
    advance: Advance | None = None,
) -> Conversion:
    """Store the features of every image once in a new store in the folder `out`, or go on there.

    An image that is in several splits is taken from the first of them. A run that is killed loses
    `shard_rows` images at most, and going on gives the same bytes as a run without a kill.

    Raises `DataError` when splits do not agree, the disk is too small, a feature is not finite in
    the type that is stored, or `out` holds other features or other files.
    """
    from .writer import StoreWriter

    origin = _Origin(sources)
    plan = Plan(
        ids=tuple(origin.places),
        weights=origin.weights,
        dtype=dtype,
        shard_rows=shard_rows,
        source=origin.fingerprint,
    )
    check_space(out, len(plan.ids) * origin.row_bytes(np.dtype(dtype)), already=_size(out))
    writer = StoreWriter(out, plan)
    advance = advance or (lambda _done: None)
    unfinished = list(writer.unfinished())
    converted = sum(len(rows) for _, rows in unfinished)
    advance(len(plan.ids) - converted)
    for number, rows in unfinished:
        writer.write(number, origin.rows(plan.ids[rows.start : rows.stop]))
        advance(len(rows))
    store = writer.finish()
    return Conversion(
        out,
        converted,
        len(plan.ids) - converted,
        store.regions,
        store.dim,
        store.has_boxes,
        dtype,
        _size(out),
        store.fingerprint,
    )


class _Origin:
    """The images of several sources, each once.

    places: for each image the split that it is taken from, and its row there
    """

    def __init__(self, sources: Mapping[str, FeatureSource]) -> None:
        self.sources = dict(sources)
        self.places: dict[str, tuple[str, int]] = {}
        for split, source in self.sources.items():
            _check_alike(split, source, *next(iter(self.sources.items())))
            again = [image for image in source.ids if image in self.places]
            self._check_same(split, again)
            for row, image in enumerate(source.ids):
                self.places.setdefault(image, (split, row))
        self.width = max(source.regions for source in self.sources.values())
        self.weights = next(iter(self.sources.values())).weights
        parts = [source.fingerprint for source in self.sources.values()]
        self.fingerprint = hashlib.sha256(" ".join(parts).encode()).hexdigest()

    def row_bytes(self, dtype: np.dtype[np.floating]) -> int:
        """How many bytes an image takes in the store."""
        first = next(iter(self.sources.values()))
        boxes = 4 * 4 if first.has_boxes else 0
        return self.width * (first.dim * dtype.itemsize + boxes + 1) + 2 * 8

    def rows(self, ids: Sequence[str]) -> Regions:
        """The features of some images, all padded to the longest that there is."""
        from ..batch import Regions

        return Regions.join([self._padded(split, rows) for split, rows in self._runs(ids)])

    def _runs(self, ids: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
        """Images that follow each other in one split, and their rows there."""
        split, rows = self.places[ids[0]][0], list[int]()
        for image in ids:
            own, row = self.places[image]
            if own != split:
                yield split, rows
                split, rows = own, []
            rows.append(row)
        yield split, rows

    def _padded(self, split: str, rows: Sequence[int]) -> Regions:
        from torch.nn.functional import pad

        from ..batch import Regions

        read = self.sources[split].rows(rows)
        missing = self.width - read.mask.shape[1]
        boxes = None if read.boxes is None else pad(read.boxes, (0, 0, 0, missing))
        features = pad(read.features, (0, 0, 0, missing))
        return Regions(features, pad(read.mask, (0, missing)), boxes, read.sizes)

    def _check_same(self, split: str, again: Sequence[str]) -> None:
        """Some of the images that another split has, too: they must have the same features."""
        numbers = np.unique(np.linspace(0, len(again) - 1, min(COMPARED, len(again)), dtype=int))
        for image in [again[number] for number in numbers.tolist()]:
            other, row = self.places[image]
            own = self.sources[split].find([image])
            if not _equal(self.sources[split], own, self.sources[other], np.array([row])):
                raise DataError(
                    f"Image {image!r} has other features in {split} than in {other}. Check that "
                    "both are of one source, or convert them on their own: --split NAME"
                )


def _equal(
    one: FeatureSource, own: NDArray[np.int64], other: FeatureSource, row: NDArray[np.int64]
) -> bool:
    import torch

    return torch.equal(one.rows(own).features, other.rows(row).features)


def _check_alike(split: str, source: FeatureSource, first_split: str, first: FeatureSource) -> None:
    if (source.dim, source.has_boxes, source.weights) != (
        first.dim,
        first.has_boxes,
        first.weights,
    ):
        one, other = (
            f"{name} has features of dim {made.dim} {'with' if made.has_boxes else 'without'} boxes"
            for name, made in ((split, source), (first_split, first))
        )
        raise DataError(f"{one}, and {other}. Convert them on their own: --split NAME")


def check_space(out: Path, needed: int, *, already: int = 0) -> None:
    """Refuse to begin what the disk cannot hold; `already` bytes of `needed` are there.

    Raises `DataError` with both figures.
    """
    place = next(one for one in (out.absolute(), *out.absolute().parents) if one.exists())
    free, missing = shutil.disk_usage(place).free, max(needed - already, 0)
    if missing and missing + SPARE > free:
        raise DataError(
            f"{out} will need {missing / 1e9:,.1f} GB more, and {free / 1e9:,.1f} GB are free. "
            "Free some space, choose another disk, or store half precision: --dtype fp16"
        )


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))

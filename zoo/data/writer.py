"""Making a feature store so that it can be interrupted at any moment and continued.

The index is written first without shards, and again when all of them are there. A shard appears
whole or not at all, covers a fixed part of the plan, and carries what was skipped there. So what
a killed run made stays, and what remains is known from the files alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..batch import Regions
from ..errors import DataError
from ..files import sha256, sync_folder, write_atomically
from .store import INDEX, FeatureStore, Index, Plan, ShardEntry

SKIPPED = "skipped.tsv"
_PLAN_WORDS = {
    "ids": "other images",
    "sizes": "other contents of the images' files",
    "extractor": "other settings of the extractor",
    "weights": "other weights",
    "dtype": "another dtype",
    "shard_rows": "another size of shards",
    "part": "another part of the images",
    "source": "other features that were converted",
}


@final
class StoreWriter:
    """Writes a store shard by shard into a folder, which is made if need be.

    Raises `DataError` when the folder holds a store with another plan, or anything else.
    """

    known: dict[str, ShardEntry]
    """The shards of a store that was complete before, but for those that this run writes."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder, self.plan = Path(folder), plan
        _check_ids(plan)
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".*.tmp"):
            leftover.unlink()
        self.known = {}
        if (self.folder / INDEX).exists():
            index = Index.read(self.folder)
            self._compare(index.plan)
            self.known = {shard.file: shard for shard in index.shards or ()}
        elif any(self.folder.iterdir()):
            raise DataError(
                f"{self.folder} holds files that are no feature store. Choose a new folder."
            )
        else:
            self._write_index(Index(plan=plan))

    def unfinished(self) -> Iterator[tuple[int, range]]:
        """The shards that are still to be written: their number, and which images they cover."""
        for number, start in enumerate(range(0, len(self.plan.ids), self.plan.shard_rows)):
            if not self._path(number).exists():
                yield number, range(start, min(start + self.plan.shard_rows, len(self.plan.ids)))

    def write(
        self, number: int, regions: Regions | None, skipped: Mapping[str, str] | None = None
    ) -> None:
        """Write one shard: the regions of its images in order, but for those that are skipped.

        Raises `DataError` when a feature is not finite in the type that is stored.
        """
        tensors = {}
        if regions is not None:
            tensors = {name: tensor.contiguous() for name, tensor in regions.tensors().items()}
            features = tensors["features"].to(getattr(torch, self.plan.dtype))
            if not features.isfinite().all():
                raise self._not_finite(number, tensors["features"], features, skipped or {})
            tensors["features"] = features
        metadata = {"skipped": json.dumps(dict(skipped or {}))}
        self.known.pop(self._path(number).name, None)
        write_atomically(self._path(number), save(tensors, metadata))

    def adopt(self, number: int, shard: Path) -> None:
        """Take over a shard that another store finished: linked on the same disk, else copied."""
        self.known.pop(self._path(number).name, None)
        try:
            self._path(number).hardlink_to(shard)
            sync_folder(self.folder)
        except OSError:
            write_atomically(self._path(number), shard.read_bytes())

    def finish(self) -> FeatureStore:
        """Write the index, now that all shards are there, and open the store.

        What was skipped is also listed in skipped.tsv, an id and a reason a line.
        Raises `DataError` when every image was skipped, and for a shard that was cut off.
        """
        skipped: dict[str, str] = {}
        entries = []
        for path in sorted(self.folder.glob("*.safetensors")):
            left_out, shape = _look(path)
            skipped |= left_out
            entries.append((path, shape))
        shapes = {tuple(shape[1:]) for _, shape in entries if shape[0]}
        if not shapes:
            raise DataError(
                f"None of {len(skipped):,} pictures could be read; of the first it was said: "
                f"{next(iter(skipped.values()))} Delete {self.folder} and begin again with others."
            )
        if len(shapes) > 1:
            raise DataError(
                f"Shards in {self.folder} have features of different shapes: {sorted(shapes)}. "
                "Use an extractor that gives every image the same number of regions."
            )
        shards = tuple(self._entry(path, rows) for path, (rows, *_) in entries if rows)
        if skipped:
            lines = (f"{image}\t{' '.join(reason.split())}\n" for image, reason in skipped.items())
            write_atomically(self.folder / SKIPPED, "".join(lines).encode())
        self._write_index(Index(plan=self.plan, shards=shards, skipped=skipped))
        return FeatureStore.open(self.folder)

    def _entry(self, path: Path, rows: int) -> ShardEntry:
        """A shard for the index; of one that an earlier run listed, what it was then."""
        size = path.stat().st_size
        known = self.known.get(path.name)
        if known is None:
            return ShardEntry(file=path.name, rows=rows, size=size, sha256=sha256(path))
        if known.size != size:
            raise _cut_off(path, f"it has {size:,} bytes and had {known.size:,}")
        return known

    def _not_finite(
        self, number: int, given: Tensor, stored: Tensor, skipped: Mapping[str, str]
    ) -> DataError:
        """What to say of the first image that has such a feature."""
        start = number * self.plan.shard_rows
        covered = self.plan.ids[start : start + self.plan.shard_rows]
        row = int((~stored.isfinite().flatten(1).all(1)).nonzero()[0])
        image = [one for one in covered if one not in skipped][row]
        if given[row].isfinite().all():
            return DataError(
                f"Image {image!r} has features up to {given[row].abs().max():,.0f}, which are not "
                "finite numbers in float16 (65,504 at most). Store float32: --dtype fp32"
            )
        return DataError(
            f"Image {image!r} has features that are not finite numbers in {self.plan.dtype} nor "
            "in any type. Check the extractor's weights, or fetch the features again."
        )

    def _compare(self, there: Plan) -> None:
        other = [
            words
            for name, words in _PLAN_WORDS.items()
            if getattr(there, name) != getattr(self.plan, name)
        ]
        if other:
            raise DataError(
                f"{self.folder} holds features that were made with {' and '.join(other)}. "
                "Choose another folder, or delete that one to begin again."
            )

    def _write_index(self, index: Index) -> None:
        write_atomically(self.folder / INDEX, (index.model_dump_json(indent=1) + "\n").encode())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"


def _look(path: Path) -> tuple[dict[str, str], list[int]]:
    """What was skipped in a shard, and the shape of its features."""
    try:
        with safe_open(path, "np") as file:
            shape = file.get_slice("features").get_shape() if file.keys() else [0]
            return json.loads(file.metadata()["skipped"]), shape
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise _cut_off(path, str(error)) from error


def _cut_off(path: Path, why: str) -> DataError:
    return DataError(
        f"{path} is not as it was written ({why}). Delete that file, and give the command once "
        "more: it makes this shard again."
    )


def _check_ids(plan: Plan) -> None:
    if len(set(plan.ids)) != len(plan.ids) or not plan.ids:
        raise DataError(
            f"{len(plan.ids):,} images have {len(set(plan.ids)):,} different ids. "
            "Give one or more images, each with an id of its own."
        )

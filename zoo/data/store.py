"""Region features on disk, read where they lie and never loaded whole.

A store is a folder: an index, and shards in safetensors form (float16 by default) that are mapped
into memory. `writer.py` makes one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from ..batch import Regions
from ..errors import DataError
from ..files import sha256
from .features import FeatureSource
from .shards import Shard

INDEX = "index.json"


class Plan(BaseModel):
    """What a store is made from. One with another plan is another store.

    ids:        of the images, in order
    sizes:      of the images' files in bytes
    extractor:  the settings that the features were made with
    weights:    a fingerprint of the extractor's weights
    dtype:      of the features
    shard_rows: how many images of the plan a shard covers
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: tuple[str, ...]
    sizes: tuple[int, ...] | None = None
    extractor: dict[str, Any] = {}
    weights: str = ""
    dtype: Literal["float16", "float32"] = "float16"
    shard_rows: int = Field(512, ge=1)


class ShardEntry(BaseModel):
    """One shard as the index lists it: `size` in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = Field(pattern=r"^\w+\.safetensors$")
    rows: int
    size: int
    sha256: str


class Index(BaseModel):
    """What index.json holds. `shards` is None until all are there.

    skipped: the reason for each image of the plan that has no features
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    plan: Plan
    shards: tuple[ShardEntry, ...] | None = None
    skipped: dict[str, str] = {}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The index of a store's folder. Raises `DataError` when it is missing or damaged."""
        try:
            return cls.model_validate_json((folder / INDEX).read_bytes())
        except OSError as error:
            raise DataError(
                f"{folder} is no feature store: {INDEX} cannot be read ({error.strerror}). "
                "Make a store with: zoo extract IMAGES -o FOLDER"
            ) from error
        except ValidationError as error:
            raise DataError(
                f"{folder / INDEX} is damaged ({error.errors()[0]['msg']}). "
                "Delete the folder and extract the features again."
            ) from error

    @property
    def ids(self) -> tuple[str, ...]:
        """The images that have features, in the order of their rows."""
        return tuple(image for image in self.plan.ids if image not in self.skipped)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of the images, their features and what made these."""
        shards = [shard.sha256 for shard in self.shards or ()]
        parts = [self.ids, shards, self.plan.extractor, self.plan.weights]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@final
class FeatureStore(FeatureSource):
    """Region features in shards that are mapped into memory.

    >>> store = FeatureStore.open("features")                          # doctest: +SKIP
    >>> store.rows([0, 5]).features.shape                              # doctest: +SKIP
    torch.Size([2, 36, 1280])
    """

    def __init__(
        self,
        ids: Sequence[str],
        shards: Sequence[Shard],
        places: NDArray[np.int64],
        fingerprint: str,
        weights: str = "",
    ) -> None:
        """`places` has for each image the number of its shard and its row there: (images, 2).

        `weights` is the fingerprint of the extractor's weights, empty where it is not known.
        """
        self.ids = tuple(ids)
        self.shards = tuple(shards)
        self.places = places
        self.fingerprint, self.weights = fingerprint, weights

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a store's folder. Raises `DataError` when it is incomplete or damaged."""
        folder = Path(path)
        index = Index.read(folder)
        if index.shards is None:
            raise DataError(
                f"{folder} is not complete: {len(list(folder.glob('*.safetensors')))} shards are "
                "there. Give the command that makes it once more; it goes on where it stopped."
            )
        for shard in index.shards:
            _check_size(folder / shard.file, shard.size)
        shards = [Shard(folder / shard.file) for shard in index.shards]
        places = _places([shard.rows for shard in index.shards])
        if len(places) != len(index.ids):
            raise DataError(
                f"{folder} has {len(places):,} rows for {len(index.ids):,} images. "
                "Delete the folder and extract the features again."
            )
        return cls(index.ids, shards, places, index.fingerprint, index.plan.weights)

    @classmethod
    def from_array(cls, path: Path, ids: Sequence[str], rows: NDArray[np.int64]) -> Self:
        """Features in a .npy file: image number n of `ids` has row `rows[n]`.

        The fingerprint is of the shape and of 64 rows, since these files have many gigabytes.
        """
        shard = Shard(path)
        features = shard.arrays["features"]
        sample = np.linspace(0, len(features) - 1, 64).astype(np.int64)
        parts = f"{features.shape} {features.dtype}".encode() + features[sample].tobytes()
        places = np.stack([np.zeros_like(rows), rows], 1)
        return cls(ids, [shard], places, hashlib.sha256(parts).hexdigest())

    @property
    def regions(self) -> int:
        return int(self.shards[0].arrays["features"].shape[1])

    @property
    def dim(self) -> int:
        return int(self.shards[0].arrays["features"].shape[2])

    @property
    def has_boxes(self) -> bool:
        return "boxes" in self.shards[0].arrays

    def rows(self, indices: ArrayLike) -> Regions:
        places = self.places[np.asarray(indices, dtype=np.int64)]
        features = self._gather("features", places)
        if "mask" in self.shards[0].arrays:
            mask = self._gather("mask", places)
        else:
            mask = torch.ones(features.shape[:2], dtype=torch.bool)
        boxes, sizes = (
            self._gather(name, places) if name in self.shards[0].arrays else None
            for name in ("boxes", "sizes")
        )
        return Regions(features.float(), mask, boxes, sizes)

    def select(self, ids: Sequence[str]) -> FeatureStore:
        known = {image: row for row, image in enumerate(self.ids)}
        missing = [image for image in ids if image not in known]
        if missing:
            raise DataError(
                f"{len(missing):,} of {len(ids):,} images have no features, the first is "
                f"{missing[0]!r}. Extract the features of all pictures of the split."
            )
        places = self.places[[known[image] for image in ids]]
        return FeatureStore(ids, self.shards, places, self.fingerprint, self.weights)

    def _gather(self, name: str, places: NDArray[np.int64]) -> Tensor:
        first = self.shards[0].arrays[name]
        gathered = np.empty((len(places), *first.shape[1:]), first.dtype)
        for number in np.unique(places[:, 0]):
            chosen = places[:, 0] == number
            gathered[chosen] = self.shards[number].arrays[name][places[chosen, 1]]
        return torch.from_numpy(gathered)


def verify(folder: Path) -> None:
    """Read every byte of a store. Raises `DataError` for a shard that is not as it was written."""
    for shard in Index.read(folder).shards or ():
        if sha256(folder / shard.file) != shard.sha256:
            raise _altered(folder / shard.file)


def _check_size(path: Path, size: int) -> None:
    if not path.is_file() or path.stat().st_size != size:
        raise _altered(path)


def _altered(path: Path) -> DataError:
    return DataError(
        f"{path} is missing or not as it was written. "
        "Delete the folder and extract the features again."
    )


def _places(rows: Sequence[int]) -> NDArray[np.int64]:
    """The shard and the row there of every image, for shards of so many rows: (images, 2)."""
    shards = np.repeat(np.arange(len(rows)), rows)
    starts = np.repeat(np.cumsum([0, *rows])[:-1], rows)
    return np.stack([shards, np.arange(len(shards)) - starts], 1)

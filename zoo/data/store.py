"""Region features on disk, read where they lie and never loaded whole.

A store is a folder: an index, and shards in safetensors form (float16 by default), of which rows
are read in place. `writer.py` makes one. Opening one imports no torch and reads the index alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import DataError
from ..files import sha256
from .features import FeatureSource, to_regions
from .shards import Shard, gather

if TYPE_CHECKING:
    from ..batch import Regions

INDEX = "index.json"


class Part(BaseModel):
    """One of several stores that share a list of images: `merging.py` cuts and joins them.

    number, of: the third of sixteen parts is 3 of 16
    images:     how many the whole list has
    digest:     a SHA-256 of the ids of the whole list
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    of: int
    images: int
    digest: str


class Plan(BaseModel):
    """What a store is made from. One with another plan is another store.

    ids:        of the images, in order
    sizes:      of the images' files in bytes
    extractor:  the settings that the features were made with
    weights:    a fingerprint of the extractor's weights
    dtype:      of the features
    shard_rows: how many images of the plan a shard covers
    part:       which part of a longer list the images are, None if they are all of it
    source:     a fingerprint of the features that were converted, empty if none were
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ids: tuple[str, ...]
    sizes: tuple[int, ...] | None = None
    extractor: dict[str, Any] = {}
    weights: str = ""
    dtype: Literal["float16", "float32"] = "float16"
    shard_rows: int = Field(512, ge=1)
    part: Part | None = None
    source: str = ""


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
        if not self.skipped:
            return self.plan.ids
        return tuple(image for image in self.plan.ids if image not in self.skipped)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of the images, their features and what made these."""
        shards = [shard.sha256 for shard in self.shards or ()]
        parts = [self.ids, shards, self.plan.extractor, self.plan.weights]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@final
class FeatureStore(FeatureSource):
    """Region features in shards.

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

    @property
    def regions(self) -> int:
        return self.shards[0].place("features").shape[1]

    @property
    def dim(self) -> int:
        return self.shards[0].place("features").shape[2]

    @property
    def has_boxes(self) -> bool:
        return "boxes" in self.shards[0].places

    def rows(self, indices: ArrayLike) -> Regions:
        places = self.places[np.asarray(indices, dtype=np.int64)]
        return to_regions(gather(self.shards, places, sorted(self.shards[0].places)))

    def select(self, ids: Sequence[str]) -> FeatureStore:
        places = self.places[self.find(ids)]
        return FeatureStore(ids, self.shards, places, self.fingerprint, self.weights)


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
        f"{path} is missing or not as it was written. Delete that file, and give the command that "
        "made the store once more: it makes this shard again."
    )


def _places(rows: Sequence[int]) -> NDArray[np.int64]:
    """The shard and the row there of every image, for shards of so many rows: (images, 2)."""
    shards = np.repeat(np.arange(len(rows)), rows)
    starts = np.repeat(np.cumsum([0, *rows])[:-1], rows)
    return np.stack([shards, np.arange(len(shards)) - starts], 1)

"""Scores of a whole split on disk: written as they are made, read without model or data.

A folder with `scores.npy` (images, captions), which is mapped into memory and never read whole,
`pairs.npy`, and `index.json`, which says what was scored with what.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import DataError, InputError
from .files import sha256, write_atomically

INDEX, SCORES, PAIRS = "index.json", "scores.npy", "pairs.npy"
IDENTITY = ("listing", "data_fingerprint", "model_fingerprint", "dtype", "code")
"""What must be the same for rows of scores to belong to one matrix."""


class ScoresIndex(BaseModel):
    """What index.json holds.

    data_fingerprint:  of ids, captions, their map and the pictures or features
    listing:           a fingerprint of ids, captions and their map alone (`listing_fingerprint`):
                       scores of models that read other features are comparable where it is equal
    captions:          how many
    model_fingerprint: of the weights and of the configuration
    model_sha256:      of the file with the weights, empty where there is none
    dtype:             that the model computed in
    code:              the version of the code that scored
    facts:             what else a record of the measurement tells: seed, device, ...
    rows_done:         how many images are scored with all captions
    contents:          a fingerprint of the files with the scores and the pairs, once all is scored
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    dataset: str
    split: str
    data_fingerprint: str
    listing: str
    image_ids: tuple[str, ...]
    captions: int
    model: str
    model_fingerprint: str
    model_sha256: str = ""
    dtype: str = "float32"
    code: str = ""
    facts: dict[str, Any] = {}
    rows_done: int = 0
    contents: str = ""

    @property
    def shape(self) -> tuple[int, int]:
        """(images, captions)."""
        return len(self.image_ids), self.captions


@final
class SavedScores:
    """Scores of every image with every caption of a split.

    index: what was scored with what
    pairs: (pairs, 2) int64, image row and caption row of what belongs together

    >>> saved = SavedScores.open("scores/chan-f8k")                    # doctest: +SKIP
    >>> saved.scores.shape                                             # doctest: +SKIP
    (1000, 5000)
    """

    def __init__(self, folder: Path, index: ScoresIndex, pairs: NDArray[np.int64]) -> None:
        self.folder, self.index, self.pairs = folder, index, pairs

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder of scores, all of which are read once to compare their checksum.

        Raises `DataError` when it is incomplete or damaged.
        """
        saved = cls._read(Path(folder))
        if not saved.complete:
            raise DataError(
                f"{folder} is not complete: {saved.index.rows_done:,} of "
                f"{len(saved.index.image_ids):,} images are scored. Give the command that makes it "
                "once more; it goes on where it stopped."
            )
        saved._compare()
        return saved

    @classmethod
    def create(cls, folder: str | Path, index: ScoresIndex, pairs: NDArray[np.int64]) -> Self:
        """Begin a folder, or go on with one of the same scores: `index.rows_done` says where.

        Raises `DataError` for a folder with scores of another model or other data, and
        `InputError` for one with other things in it.
        """
        place = Path(folder)
        if (place / INDEX).is_file():
            return cls._continue(place, index)
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise InputError(
                f"{place} is there and holds no scores. It stays as it is; give a new or an empty "
                "folder."
            )
        place.mkdir(parents=True, exist_ok=True)
        write_atomically(place / PAIRS, _npy_header(pairs.shape, pairs.dtype) + pairs.tobytes())
        write_atomically(place / SCORES, _npy_header(index.shape, np.dtype("<f4")))
        saved = cls(place, index.model_copy(update={"rows_done": 0}), pairs)
        saved._write_index()
        return saved

    @property
    def rows_done(self) -> int:
        """How many images are scored."""
        return self.index.rows_done

    @property
    def complete(self) -> bool:
        """Whether all images are scored."""
        return self.index.rows_done == len(self.index.image_ids)

    @property
    def scores(self) -> NDArray[np.float32]:
        """(images, captions), mapped from the disk: read some rows at a time.

        Raises `DataError` when the file is not of the form and the length that the index says.
        """
        path = self.folder / SCORES
        rows, captions = self.index.rows_done, self.index.captions
        header = _npy_header(self.index.shape, np.dtype("<f4"))
        if not path.is_file() or path.stat().st_size < len(header) + 4 * rows * captions:
            raise _damaged(path, f"it is shorter than {rows:,} rows")
        with path.open("rb") as file:
            if file.read(len(header)) != header:
                raise _damaged(path, f"it is no float32 matrix of shape {self.index.shape}")
        return np.memmap(path, "<f4", "r", len(header), (rows, captions))

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add the scores of the next images, (images, captions), and make them durable."""
        done = self.index.rows_done
        self.put(done, rows)
        self.count(done + len(rows))

    def put(self, first: int, rows: NDArray[np.float32]) -> None:
        """Make the scores of the images from number `first` on durable, (images, captions).

        Several processes may, each its own; what is there counts once `count` was told so. Rows are
        written as a file and not through a map, so that a full disk is an error and not the end of
        the process. Raises `DataError` for it; what was there before stays.
        """
        done, total = self.index.rows_done, len(self.index.image_ids)
        if rows.shape[1:] != (self.index.captions,) or first < done or first + len(rows) > total:
            raise InputError(
                f"Rows of shape {rows.shape} do not fit after {first} of a matrix of shape "
                f"{self.index.shape}. Append (images, captions) in the order of the images."
            )
        start = len(_npy_header(self.index.shape, np.dtype("<f4")))
        try:
            with (self.folder / SCORES).open("r+b") as file:
                file.seek(start + 4 * first * self.index.captions)
                file.write(np.ascontiguousarray(rows, "<f4").tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DataError(
                f"{self.folder / SCORES} could not be written ({error.strerror}; {rows.nbytes:,} "
                "bytes are needed). Free some space and give the command once more; it goes on "
                "where it stopped."
            ) from error

    def count(self, rows_done: int) -> None:
        """Note that so many images are scored, from the first on, and their rows are there."""
        whole = rows_done == len(self.index.image_ids)
        update = {"rows_done": rows_done, "contents": self._digest() if whole else ""}
        self.index = self.index.model_copy(update=update)
        self._write_index()

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Keep what else a record of the measurement tells, beside what is known already."""
        self.index = self.index.model_copy(update={"facts": {**self.index.facts, **facts}})
        self._write_index()

    def _compare(self) -> None:
        """Raise `DataError` where the files are not those that were written."""
        _ = self.scores  # it says more where the form is another
        if self._digest() != self.index.contents:
            raise _damaged(self.folder, "its scores or pairs were changed")

    def _digest(self) -> str:
        files = [sha256(self.folder / name) for name in (SCORES, PAIRS)]
        return hashlib.sha256("".join(files).encode()).hexdigest()

    def _write_index(self) -> None:
        write_atomically(self.folder / INDEX, (self.index.model_dump_json() + "\n").encode())

    @classmethod
    def _read(cls, folder: Path) -> Self:
        try:
            index = ScoresIndex.model_validate_json((folder / INDEX).read_bytes())
            pairs = np.load(folder / PAIRS, allow_pickle=False)
        except ValidationError as error:
            raise _damaged(folder / INDEX, error.errors()[0]["msg"]) from error
        except OSError as error:
            raise DataError(
                f"{folder} holds no scores: {Path(error.filename).name} cannot be read "
                f"({error.strerror}). Make them with: zoo evaluate MODEL --data PATH "
                "--save-scores FOLDER"
            ) from error
        except (ValueError, EOFError) as error:
            raise _damaged(folder / PAIRS, str(error)) from error
        if pairs.dtype != np.int64 or pairs.shape[1:] != (2,):
            raise _damaged(folder / PAIRS, f"it is {pairs.dtype} of shape {pairs.shape}")
        return cls(folder, index, pairs)

    @classmethod
    def _continue(cls, folder: Path, index: ScoresIndex) -> Self:
        saved = cls._read(folder)
        other = [name for name in IDENTITY if getattr(saved.index, name) != getattr(index, name)]
        if other:
            raise DataError(
                f"{folder} holds scores of {saved.index.model} on {saved.index.dataset} "
                f"{saved.index.split}, and these would be others: {' and '.join(other)} "
                f"{'is' if len(other) == 1 else 'are'} not the same. Give another folder, or "
                "delete that one."
            )
        if saved.complete:
            saved._compare()
        return saved


@final
class HeldScores:
    """Scores that are made in the same way and kept in memory: (images, captions), float32."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.scores = np.empty(shape, np.float32)  # rows that are never put take no memory
        self.here = np.zeros(shape[0], np.bool_)  # (images,), whose rows were put
        self.rows_done = 0

    def put(self, first: int, rows: NDArray[np.float32]) -> None:
        """Keep the scores of the images from number `first` on."""
        self.scores[first : first + len(rows)] = rows
        self.here[first : first + len(rows)] = True

    def count(self, rows_done: int) -> None:
        """Note that so many images are scored, from the first on, here or elsewhere."""
        self.rows_done = rows_done


def listing_fingerprint(
    image_ids: Sequence[str], captions: Sequence[str], pairs: NDArray[np.int64]
) -> str:
    """A SHA-256 of what is retrieved: ids, captions and what belongs together, not the features."""
    parts = [list(image_ids), list(captions), pairs.tolist()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The beginning of a .npy file, so that rows can be added to it one after another."""
    stream = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue()


def _damaged(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} is not as it was written ({found}). Delete the folder and evaluate again."
    )

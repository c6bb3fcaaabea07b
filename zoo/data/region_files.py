"""A file for each image: .npy with features, or .npz with features and perhaps boxes and sizes.

AoANet's and SGAE's `cocobu_att/ID.npz` (`feat`) with `cocobu_box/ID.npy`, xmodaler's `ID.npz`
(`features`, `boxes`, `image_w`, `image_h`), CORA's `part0/0.npy`, and plain folders of `ID.npy`.
Features (height, width, dim) of a grid are read as its cells, row by row.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .separate import Reader, SeparateFeatures, Single

FEATURES = ("features", "feat", "x")
BOXES = ("boxes", "bbox")
SUFFIXES = (".npz", ".npy")


def open_files(folder: Path) -> SeparateFeatures:
    """The images of a folder and its sub-folders; ids are the files' names without the ending.

    Files of one name in two sub-folders have the folder in their ids.
    Raises `DataError` when there are none.
    """
    return SeparateFeatures.all_of(FileReader(folder))


def holds_regions(path: Path) -> bool:
    """Whether a file has features of regions, and not boxes or one vector."""
    try:
        shape = _shape(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return False
    return len(shape) in (2, 3) and shape[-1] > 4


@final
class FileReader(Reader):
    """Files of one image each, by number."""

    def __init__(self, folder: Path) -> None:
        found = sorted(_walk(folder))
        if not found:
            raise DataError(
                f"{folder} has no .npy or .npz file. Give the folder with a file for each image."
            )
        self.folder = folder
        self.names = tuple(name for name, _ in found)
        self.lengths: NDArray[np.int64] = np.array([size for _, size in found], dtype=np.int64)
        stems = tuple(Path(name).stem for name in self.names)
        unique = len(set(stems)) == len(stems)
        self.ids = stems if unique else tuple(name.rpartition(".")[0] for name in self.names)
        boxes = folder.with_name(folder.name.removesuffix("_att") + "_box")
        self.boxes = boxes if folder.name.endswith("_att") and boxes.is_dir() else None

    def where(self, number: int) -> str:
        return str(self.folder / self.names[number])

    def count(self, number: int) -> int:
        *cells, _ = _shape(self.folder / self.names[number])
        return int(np.prod(cells))

    def read(self, number: int) -> Single:
        arrays = _load(self.folder / self.names[number])
        features = arrays[_name(arrays, FEATURES)]
        features = features.reshape(-1, features.shape[-1]) if features.ndim == 3 else features
        boxes = next((arrays[name] for name in BOXES if name in arrays), None)
        if self.boxes is not None:
            boxes = np.load(self.boxes / f"{self.ids[number]}.npy", allow_pickle=False)
        size = None
        if "image_w" in arrays and "image_h" in arrays:
            size = float(np.ravel(arrays["image_w"])[0]), float(np.ravel(arrays["image_h"])[0])
        return Single(features, boxes, size)


def _walk(folder: Path, below: str = "") -> Iterator[tuple[str, int]]:
    """Path below the folder and bytes of each file, without a look into any."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(folder / entry.name, f"{below}{entry.name}/")
            elif entry.name.endswith(SUFFIXES):
                yield below + entry.name, entry.stat().st_size


def _load(path: Path) -> Mapping[str, NDArray[Any]]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"features": loaded}
            wanted = {*FEATURES, *BOXES, "image_w", "image_h"}
            names = wanted.intersection(loaded.files) or loaded.files
            return {name: loaded[name] for name in names}
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(str(error)) from error


def _name(names: Mapping[str, Any] | list[str], known: tuple[str, ...]) -> str:
    """Which array holds the features: one of a known name, or else the only one."""
    chosen = [name for name in known if name in names] or list(names)
    if len(chosen) > 1 and chosen[0] not in known:
        raise ValueError(f"it holds {', '.join(names)}, none of which is called {known[0]}")
    return chosen[0]


def _shape(path: Path) -> tuple[int, ...]:
    """The shape of a file's features, from its header alone."""
    if path.suffix == ".npy":
        with path.open("rb") as file:
            return _header(file)
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        with archive.open(f"{_name(names, FEATURES)}.npy") as member:
            return _header(member)


def _header(file: Any) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    return (read if version == (1, 0) else np.lib.format.read_array_header_2_0)(file)[0]

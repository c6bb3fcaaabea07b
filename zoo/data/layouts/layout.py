"""The face of a layout: which data sets it finds among files, and how it reads them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .listing import Listing
from .names import home_of
from .splits import Files

SHOWN = 3


class Layout(ABC):
    """One way in which captions lie on disk.

    name: in the words of the field
    """

    name: str

    @abstractmethod
    def find(self, files: Sequence[Path]) -> Iterable[Mapping[str, Files]]:
        """For each data set among the files of one folder: its splits, each with its files.

        Files are looked into no further than their beginnings.
        """

    @abstractmethod
    def read(self, split: str, files: Files) -> Listing:
        """Read one split of those found.

        Raises `DataError` when its files are damaged, and `InputError` when they turn out to have
        no image of that split.
        """


@dataclass(frozen=True, eq=False)
class Found:
    """A data set that was recognised.

    root:   the folder with its caption files
    home:   the same, or the folder around it where `root` is only for captions ("annotations")
    layout: how they lie there
    splits: its splits, each with the files that list it
    """

    root: Path
    layout: Layout
    splits: Mapping[str, Files]

    @property
    def home(self) -> Path:
        return home_of(self.root)

    @property
    def files(self) -> Files:
        """Every file that lists one of its splits."""
        return tuple(dict.fromkeys(path for files in self.splits.values() for path in files))

    def read(self, split: str) -> Listing:
        """One of its splits. Raises `DataError` when its files are damaged."""
        return self.layout.read(split, self.splits[split])

    def words(self, split: str | None = None) -> str:
        """The layout and the files in words."""
        files = self.files if split is None else self.splits[split]
        names = ", ".join(path.name for path in files[:SHOWN])
        more = f" and {len(files) - SHOWN:,} more" if len(files) > SHOWN else ""
        return f"{self.layout.name}: {names}{more}"

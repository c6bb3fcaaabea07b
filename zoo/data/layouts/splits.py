"""The names of splits, and where a file's or a folder's name has one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

Files = tuple[Path, ...]

ALL = "all"
"""The one split of a data set whose files name none."""

_SYNONYMS = {"val": "dev", "valid": "dev", "validation": "dev"}
_NAME = re.compile(
    r"(?:^|(?<=[^a-z]))(train|validation|valid|val|dev|testall|test)"
    r"(?:\d{4}|\d+k)?(?:images)?(?=[^a-z0-9]|$)",
    re.IGNORECASE,
)


def canonical_split(word: str) -> str:
    """The zoo's word for a split.

    >>> canonical_split("val"), canonical_split("testall")
    ('dev', 'testall')
    """
    return _SYNONYMS.get(word, word)


def cut_split(stem: str) -> tuple[str, str | None]:
    """A name without its split, and the split; None where the name has none.

    >>> cut_split("coco_karpathy_val"), cut_split("captions_train2014"), cut_split("results")
    (('coco_karpathy', 'dev'), ('captions', 'train'), ('results', None))
    """
    found = _NAME.search(stem)
    if found is None:
        return stem, None
    rest = stem[: found.start()] + stem[found.end() :]
    return rest.strip("._- "), canonical_split(found[1].lower())


def as_coco(splits: Mapping[str, Files]) -> dict[str, Files]:
    """The splits of COCO, whose whole test split SCAN's layout calls "testall"."""
    return {**splits, "testall": splits["test"]} if "test" in splits else dict(splits)


def folder_split(folder: Path) -> str:
    """The split that a folder's own name is, as in "train/captions.tsv"; else `ALL`."""
    rest, split = cut_split(folder.resolve().name)
    return split if split is not None and rest == "" else ALL

"""One list of images, extracted in parts on several machines, and joined into one store.

A part is a store of its own. Parts are cut where shards begin, so the joined store has the very
shards that one machine would have made of the whole list.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import DataError, InputError
from ..files import sha256
from .store import FeatureStore, Index, Part, Plan
from .writer import StoreWriter

_SHARED = {
    "extractor": "settings of the extractor",
    "weights": "weights",
    "dtype": "dtype",
    "shard_rows": "size of shards",
}


def cut(ids: Sequence[str], number: int, of: int, shard_rows: int) -> tuple[range, Part]:
    """Which rows of a list the part `number` of `of` has, and how its store names that part.

    Parts are runs of whole shards, as equal as shards allow: they depend on the list alone.
    Raises `InputError` for a part that is not there, and for more parts than shards.

    >>> cut(["a", "b", "c", "d", "e"], 2, 2, shard_rows=2)[0]
    range(2, 5)
    """
    shards = -(-len(ids) // shard_rows)
    if not 1 <= number <= of:
        raise InputError(f"There is no part {number} of {of}. Number parts from 1, as in 1/{of}.")
    if of > shards:
        raise InputError(
            f"{len(ids):,} images in {shards:,} shards of {shard_rows:,} cannot be cut into {of:,} "
            f"parts. Make {shards:,} parts at most, or shards of fewer images."
        )
    first, end = shards * (number - 1) // of * shard_rows, shards * number // of * shard_rows
    part = Part(number=number, of=of, images=len(ids), digest=_digest(ids))
    return range(first, min(end, len(ids))), part


def merge(
    parts: Sequence[Path], out: Path, advance: Callable[[int, int], None] | None = None
) -> FeatureStore:
    """Join the stores of all parts, in any order, into the store of the whole list.

    Every shard is checked against its SHA-256, and then linked, or copied to another disk; the
    parts can be deleted afterwards. A merge that was killed goes on where it stopped. `advance` is
    told how many shards were done since it was told last, and how many there are in all.
    Raises `DataError` where a part is missing, given twice, unfinished, damaged or of other plans.

    >>> merge([Path("part1"), Path("part2")], Path("features"))        # doctest: +SKIP
    """
    if not parts:
        raise InputError("There are no parts to join. Name the stores of all parts.")
    placed = sorted((_placed(folder) for folder in parts), key=lambda one: one[0].number)
    _check_alike(placed)
    _check_complete(placed)
    shards = [
        (folder / f"{number:05d}.safetensors", index)
        for _, folder, index in placed
        for number in range(-(-len(index.plan.ids) // index.plan.shard_rows))
    ]
    writer = StoreWriter(out, _whole([index.plan for _, _, index in placed]))
    advance = advance or (lambda _done, _total: None)
    todo = [number for number, _ in writer.unfinished()]
    advance(len(shards) - len(todo), len(shards))
    for number in todo:
        _check_shard(*shards[number])
        writer.adopt(number, shards[number][0])
        advance(1, len(shards))
    return writer.finish()


_Placed = tuple[Part, Path, Index]


def _placed(folder: Path) -> _Placed:
    """A part by its folder; it is finished."""
    index = Index.read(folder)
    if index.plan.part is None:
        raise DataError(
            f"{folder} is no part: its store is of a whole list. Leave it out, or extract with "
            "--part."
        )
    if index.shards is None:
        raise DataError(
            f"{folder} is not complete. Give the command that makes it once more; it goes on where "
            "it stopped."
        )
    return index.plan.part, folder, index


def _whole(plans: Sequence[Plan]) -> Plan:
    ids = tuple(image for plan in plans for image in plan.ids)
    sizes = tuple(size for plan in plans for size in plan.sizes or ())
    return plans[0].model_copy(update={"ids": ids, "sizes": sizes or None, "part": None})


def _check_alike(placed: Sequence[_Placed]) -> None:
    first, place, expected = placed[0]
    for part, folder, index in placed[1:]:
        other = [
            words
            for name, words in _SHARED.items()
            if getattr(index.plan, name) != getattr(expected.plan, name)
        ]
        if (part.images, part.digest) != (first.images, first.digest):
            other.append("list of images")
        if part.of != first.of:
            other.append("number of parts")
        if other:
            raise DataError(
                f"{folder} and {place} are no parts of one store: they differ in "
                f"{' and '.join(other)}. Extract one of them again as the other was."
            )


def _check_complete(placed: Sequence[_Placed]) -> None:
    """All parts are there once, and what they have together is the list."""
    of = placed[0][0].of
    folders: dict[int, Path] = {}
    for part, folder, _ in placed:
        if part.number in folders:
            raise DataError(
                f"{folders[part.number]} and {folder} are both part {part.number} of {of}. "
                "Leave out one of the two."
            )
        folders[part.number] = folder
    missing = [f"{number}/{of}" for number in range(1, of + 1) if number not in folders]
    if missing:
        raise DataError(
            f"{len(missing)} of {of} parts are missing: {', '.join(missing)}. "
            "Extract them (zoo extract ... --part NUMBER/OF) and give all parts."
        )
    if _digest([image for *_, index in placed for image in index.plan.ids]) != placed[0][0].digest:
        raise DataError(
            f"The images of all {of} parts are not the list that was cut. Extract the parts again "
            "from one list."
        )


def _check_shard(path: Path, index: Index) -> None:
    """Raise `DataError` for a shard that is not as it was written; one of skipped images passes."""
    expected = {shard.file: shard.sha256 for shard in index.shards or ()}
    if not path.is_file() or expected.get(path.name) not in (None, sha256(path)):
        raise DataError(
            f"{path} is missing or not as it was written. "
            f"Delete {path.parent} and extract that part again."
        )


def _digest(ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()

"""Features of many photographs, extracted once into a feature store."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch

from ..batch import Photos, Regions
from ..data.merging import cut
from ..data.store import Index, Plan
from ..data.writer import StoreWriter
from ..errors import InputError
from ..interfaces import Extractor

Advance = Callable[[int, int], None]
"""Told how many photographs were done since it was told last, and how many there are in all."""


@dataclass(frozen=True)
class Extraction:
    """What one run of `extract` did.

    extracted:   photographs whose features this run made
    kept:        photographs whose features an earlier run had made
    skipped:     the reason for each photograph that could not be read, by id
    fingerprint: of the store
    """

    folder: Path
    extracted: int
    kept: int
    skipped: Mapping[str, str]
    fingerprint: str

    def __str__(self) -> str:
        counts = f"{self.extracted:,} extracted, {self.kept:,} there before"
        lines = [f"{self.folder}: {counts}, {len(self.skipped):,} skipped."]
        return "\n".join([*lines, *(f"  {reason}" for reason in self.skipped.values())])


def extract(
    images: Sequence[Path],
    out: Path,
    extractor: Extractor,
    *,
    config: Mapping[str, Any] | None = None,
    batch_size: int = 16,
    workers: int = 2,
    shard_rows: int = 512,
    dtype: Literal["float16", "float32"] = "float16",
    part: tuple[int, int] | None = None,
    advance: Advance | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> Extraction:
    """Extract the features of photographs into a new store in the folder `out`, or go on there.

    An image's id is its path below the folder that all the photographs share. A run that is killed
    loses `shard_rows` photographs at most, and going on gives the same bytes as a run without a
    kill, on the same machine. The store keeps `config`, the settings that the extractor was built
    from, and a fingerprint of its weights. `workers` threads read files, two batches ahead.

    With `part`, as (3, 16), only the third of sixteen parts is extracted. Every machine is given
    the whole list, in the same order, and `zoo.data.merging.merge` joins the stores.

    Raises `InputError` for a photograph that cannot be read, unless `on_error` is "skip", and
    `DataError` when `out` holds other features or other files.

    >>> extract(sorted(Path("photos").iterdir()), Path("features"), model.extractor)
    ... # doctest: +SKIP
    """
    ids = photo_ids(images)
    own, named_part = cut(ids, *part, shard_rows) if part else (range(len(ids)), None)
    images = images[own.start : own.stop]
    plan = Plan(
        ids=ids[own.start : own.stop],
        sizes=_sizes(images),
        extractor=dict(config or _settings(extractor)),
        weights=weights_fingerprint(extractor),
        dtype=dtype,
        shard_rows=shard_rows,
        part=named_part,
    )
    writer = StoreWriter(out, plan)
    unfinished = list(writer.unfinished())
    todo = [images[row] for _, rows in unfinished for row in rows]

    def told(done: int) -> None:
        if advance is not None:
            advance(done, len(images))

    told(len(images) - len(todo))
    bad = 0
    with (
        ThreadPoolExecutor(workers) as pool,
        closing(_read(extractor, todo, pool, ahead=2 * batch_size)) as photos,
        _in_evaluation(extractor),
    ):
        for number, rows in unfinished:
            named = zip([plan.ids[row] for row in rows], photos, strict=False)  # photos go on
            regions, skipped = _encode(named, extractor, batch_size, on_error, told)
            writer.write(number, regions, skipped)
            bad += len(skipped)
    store = writer.finish()
    skipped = Index.read(out).skipped
    made = len(todo) - bad
    kept = len(images) - len(skipped) - made
    return Extraction(out, made, kept, skipped, store.fingerprint)


def photo_ids(images: Sequence[Path]) -> tuple[str, ...]:
    """The path of each image below the folder that all of them share, with / between names.

    >>> photo_ids([Path("coco/train/1.jpg"), Path("coco/val/2.jpg")])
    ('train/1.jpg', 'val/2.jpg')
    """
    paths = [Path(os.path.abspath(path)) for path in images]  # noqa: PTH100  (keeps links as named)
    if not paths:
        return ()
    shared = os.path.commonpath([path.parent for path in paths])
    return tuple(path.relative_to(shared).as_posix() for path in paths)


def weights_fingerprint(extractor: Extractor) -> str:
    """A SHA-256 of every parameter and buffer that is saved with the extractor."""
    digest = hashlib.sha256()
    for name, tensor in sorted(extractor.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read(
    extractor: Extractor, paths: Iterable[Path], pool: ThreadPoolExecutor, ahead: int
) -> Generator[Photos | InputError, None, None]:
    """The photographs in order, `ahead` of them read before they are asked for.

    Closing the generator gives up what is not read yet.
    """

    def read(path: Path) -> Photos | InputError:
        try:
            return extractor.prepare([path])
        except InputError as error:
            return error

    remaining = iter(paths)
    reading: deque[Future[Photos | InputError]] = deque()
    try:
        while True:
            reading.extend(
                pool.submit(read, path) for path in islice(remaining, ahead + 1 - len(reading))
            )
            if not reading:
                return
            yield reading.popleft().result()
    finally:
        for future in reading:
            future.cancel()


@torch.inference_mode()
def _encode(
    named: Iterator[tuple[str, Photos | InputError]],
    extractor: Extractor,
    batch_size: int,
    on_error: str,
    told: Callable[[int], None],
) -> tuple[Regions | None, dict[str, str]]:
    """The regions of the photographs that were read, and the reasons why others were not."""
    blocks: list[Regions] = []
    skipped: dict[str, str] = {}
    device = next((tensor.device for tensor in extractor.parameters()), torch.device("cpu"))
    while batch := list(islice(named, batch_size)):
        errors = {name: photo for name, photo in batch if isinstance(photo, InputError)}
        if errors and on_error == "raise":
            raise next(iter(errors.values()))
        skipped |= {name: str(error) for name, error in errors.items()}
        photos = [photo for _, photo in batch if isinstance(photo, Photos)]
        if photos:
            blocks.append(extractor(Photos.join(photos).to(device)).to("cpu"))
        told(len(batch))
    return (Regions.join(blocks) if blocks else None), skipped


def _sizes(images: Sequence[Path]) -> tuple[int, ...]:
    """In bytes, 0 for a file that is missing. Raises `InputError` where all are."""
    found = [path.stat().st_size if path.is_file() else None for path in images]
    if images and all(size is None for size in found):
        raise InputError(
            f"None of {len(images):,} photographs is there; the first is {images[0]}. "
            "Check the paths, and from which folder they are seen."
        )
    return tuple(size or 0 for size in found)


def _settings(extractor: Extractor) -> dict[str, str]:
    return {"type": type(extractor).__qualname__, "settings": extractor.extra_repr()}


@contextmanager
def _in_evaluation(extractor: Extractor) -> Iterator[None]:
    training = extractor.training
    extractor.eval()
    try:
        yield
    finally:
        extractor.train(training)

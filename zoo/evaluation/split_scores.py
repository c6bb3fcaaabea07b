"""Scores of a whole split: what is read, encoded and compared, some images at a time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bars import Advance
from ..batch import Batch
from ..device import multiplies_bfloat16
from ..processes import Processes
from ..scores import HeldScores, ScoresIndex, listing_fingerprint
from ..scoring.blocks import check_finite, score_rows
from ..scoring.exact import ExactScorer
from ..version import code_version
from .encoding import ALONE, encode_by_length, encode_image_blocks, for_all, part_of, readable

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..model import MatchingModel

Precision = Literal["exact", "float32"]
"""How pairs are scored.

exact:   in bfloat16, and in float32 wherever that decides the rank of a match (`zoo.scoring.exact`)
float32: all in float32
"""


@dataclass(frozen=True)
class Part:
    """Scores of some images with all captions.

    first:   the number of the first of these images
    rows:    (images, captions), of no image where the other processes have the last ones
    done:    how many images are scored, from number 0 on, once every process has come so far
    seconds: that scoring took, without encoding
    """

    first: int
    rows: NDArray[np.float32]
    done: int
    seconds: float


def score_dataset(
    model: MatchingModel, dataset: Dataset, *, advance: Advance | None = None
) -> Tensor:
    """Scores of every image with every caption of a split: (images, captions)."""
    held = HeldScores((len(dataset.image_ids), len(dataset.captions)))
    for part in score_in_blocks(model, dataset, advance=advance):
        held.put(part.first, part.rows)
    return torch.from_numpy(held.scores)


def score_in_blocks(
    model: MatchingModel,
    dataset: Dataset,
    *,
    done: int = 0,
    precision: Precision = "float32",
    advance: Advance | None = None,
    processes: Processes = ALONE,
) -> Iterator[Part]:
    """Scores of some images at a time, from number `done` on, with all captions.

    All captions are encoded and kept; of the images, one block at a time is, but in "exact" scoring
    all are. Of several `processes`, each encodes and scores every so-and-so-manieth block of images
    and as many parts come to each; each encodes its share of the captions too, and is given the
    others'. The blocks are those of one process, so that the scores are, to the last bit. `advance`
    is told as if all went on like this process. The images are read as `readable` says, with its
    errors.
    """
    dataset = readable(model, dataset)
    advance = for_all(advance, processes)
    order, texts = encode_by_length(model, dataset.captions, advance=advance, processes=processes)
    total = len(dataset.image_ids)
    report = part_of(advance, "score", total * len(order))
    if report is not None and done:
        report(done * len(order) // processes.count)
    exact = usable_precision(model, precision) == "exact"
    images = encode_image_blocks(
        model, dataset, 0 if exact else done, advance=advance, processes=processes
    )
    if exact:
        by_image = dataset.pairs[np.argsort(dataset.pairs[:, 0], kind="stable")]
        pairs = np.stack([by_image[:, 0], np.argsort(order)[by_image[:, 1]]], axis=1)
        blocks = _exact_rows(model, list(images), texts, pairs, done, report, processes)
    else:
        blocks = _plain_rows(model, images, texts, report)
    together = processes.count * model.images_at_once
    for start in range(done, total, together):
        first, rows, seconds = next(blocks, (total, torch.empty(0, len(order)), 0.0))
        restored = np.empty(rows.shape, np.float32)
        restored[:, order] = rows.numpy()
        yield Part(first, restored, min(start + together, total), seconds)


def usable_precision(model: MatchingModel, precision: Precision) -> Precision:
    """What a choice comes to: "exact" needs a method that scans, and a machine."""
    able = model.aligner.scans and multiplies_bfloat16(model.device)
    return precision if able else "float32"


def _plain_rows(
    model: MatchingModel,
    images: Iterable[tuple[int, Batch]],
    texts: Sequence[Batch],
    report: Callable[[int], None] | None,
) -> Iterator[tuple[int, Tensor, float]]:
    captions = sum(map(len, texts))
    for first, block in images:
        started = _now(model)
        rows = torch.empty(len(block), captions)
        score_rows(
            model.aligner, block, texts, rows, first=first, device=model.device, advance=report
        )
        yield first, rows, _now(model) - started


def _exact_rows(
    model: MatchingModel,
    images: Sequence[tuple[int, Batch]],
    texts: Sequence[Batch],
    pairs: NDArray[np.int64],
    done: int,
    report: Callable[[int], None] | None,
    processes: Processes,
) -> Iterator[tuple[int, Tensor, float]]:
    """As `_plain_rows`; `images` are all that this process has, `pairs` rows of both sides."""
    started = _now(model)
    scorer = ExactScorer(
        model.aligner,
        [block for _, block in images],
        texts,
        torch.from_numpy(pairs),
        model.device,
        starts=[first for first, _ in images],
        total=lambda values: torch.stack(processes.everyones(values)).sum(dim=0),
    )
    for first, block in images:
        if first >= done:
            rows = scorer.rows(block, first, advance=report)
            check_finite(rows, first, 0)
            yield first, rows, _now(model) - started
            started = _now(model)


def scores_index(model: MatchingModel, dataset: Dataset, model_sha256: str = "") -> ScoresIndex:
    """What the scores of a split are of, as it is kept beside them."""
    pairs = np.asarray(dataset.pairs)
    return ScoresIndex(
        dataset=dataset.name,
        split=dataset.split,
        data_fingerprint=dataset.fingerprint,
        listing=listing_fingerprint(dataset.image_ids, dataset.captions, pairs),
        image_ids=dataset.image_ids,
        captions=len(dataset.captions),
        model=model.config.name if model.config else "",
        model_fingerprint=model_fingerprint(model),
        model_sha256=model_sha256,
        dtype=model_dtype(model),
        code=code_version(),
    )


def model_fingerprint(model: MatchingModel) -> str:
    """A SHA-256 of the configuration and of all parameters and buffers."""
    digest = hashlib.sha256((model.config.to_json() if model.config else "").encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def model_dtype(model: MatchingModel) -> str:
    """What the model computes in: "float32"."""
    kinds = (tensor.dtype for tensor in model.parameters() if tensor.is_floating_point())
    return str(next(kinds, torch.float32)).removeprefix("torch.")


def _now(model: MatchingModel) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)  # what is still being encoded is no scoring
    return time.monotonic()

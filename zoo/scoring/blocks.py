"""Scoring all pairs of two collections, block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from ..errors import InputError
from ..interfaces import Aligner

Advance = Callable[[int], None]


def score_all(
    aligner: Aligner[Any, Any],
    images: Sequence[Batch],
    texts: Sequence[Batch],
    *,
    device: torch.device | str = "cpu",
    advance: Advance | None = None,
) -> Tensor:
    """Score every image with every text: (images, texts), float32, on the CPU.

    Each element of `images` and `texts` is one block, as `Batch.split` makes it. The device holds
    one block of either side and what the aligner makes of the two; nothing else grows but the
    result. `advance` is told the number of pairs after each block. Raises `InputError` when a
    score is NaN or infinite.
    """
    scores = torch.empty(sum(map(len, images)), sum(map(len, texts)))
    row = 0
    for block in images:
        rows = scores[row : row + len(block)]
        score_rows(aligner, block, texts, rows, first=row, device=device, advance=advance)
        row += len(block)
    return scores


@torch.no_grad()
def score_rows(
    aligner: Aligner[Any, Any],
    images: Batch,
    texts: Sequence[Batch],
    scores: Tensor,
    *,
    first: int = 0,
    device: torch.device | str = "cpu",
    advance: Advance | None = None,
) -> None:
    """Score one block of images with every text, into `scores` (images, texts) on the CPU.

    `first` is the number of its first image, for the error. Otherwise as `score_all`.
    """
    on_device = images.to(device)
    column = 0
    for text_block in texts:
        block = aligner(on_device, text_block.to(device)).scores.float()
        check_finite(block, first, column)
        scores[:, column : column + len(text_block)] = block
        column += len(text_block)
        if advance is not None:
            advance(block.numel())


def check_finite(block: Tensor, row: int, column: int) -> None:
    """Raise `InputError` for a score that is none; `row` and `column` are of the block's first."""
    if not block.isfinite().all():
        i, t = (~block.isfinite()).nonzero()[0].tolist()
        raise InputError(
            f"The score of image {row + i} with text {column + t} is {block[i, t].item()}. "
            "Look for NaN or very large values in that image's features or in the weights."
        )

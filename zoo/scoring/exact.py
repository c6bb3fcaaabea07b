"""Scores at nearly the speed of bfloat16 and with the ranks of float32.

The rank of a match is the number of candidates that score higher. All pairs are scored from rounded
embeddings, which bounds each score from both sides. Where a match, which is scored in float32, lies
between the two bounds of a candidate of its image or of its caption, that candidate is scored in
float32 too. So each match is compared with every candidate as float32 compares them, whatever is
measured of it later: the first caption of an image or the first five, one fold or five.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from ..batch import Batch
from ..interfaces import Aligner, Scan

Advance = Callable[[int], None]

MOST_IN_DOUBT = 0.5
"""If more of a block's pairs are in doubt, the whole block is sooner scored than they are."""


class ExactScorer:
    """Scores images with texts, of which some belong together.

    images: all of them, in blocks; rows are numbered through
    texts:  likewise; kept, and once more in bfloat16
    starts: the row of each block's first image, where only some of the images are here
    total:  then, the sum of a tensor over the processes that have the others
    pairs:  (pairs, 2), the rows of an image and of a text that belong together; those of an image
            in the order of its captions
    """

    @torch.no_grad()
    def __init__(
        self,
        aligner: Aligner[Any, Any],
        images: Sequence[Batch],
        texts: Sequence[Batch],
        pairs: Tensor,
        device: torch.device | str = "cpu",
        *,
        starts: Sequence[int] | None = None,
        total: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        self.aligner, self.texts, self.device = aligner, texts, device
        self.starts = torch.tensor([0, *map(len, texts)]).cumsum(0)
        self.rounded = [aligner.rounded(block) for block in texts]
        matches, count = torch.zeros(len(pairs)), int(pairs[:, 0].max()) + 1
        for first, block in zip(starts or _starts(images), images, strict=True):
            own = (pairs[:, 0] >= first) & (pairs[:, 0] < first + len(block))
            matches[own] = self._score_matches(block, pairs[own] - torch.tensor([first, 0]))
            count = max(count, first + len(block))
        matches = total(matches)
        # What counts is the best of an image's first captions, however many; for a caption, any.
        # Where captions are shared, one of them may be taken as another image's: then any counts.
        of_images = _by_row(pairs[:, 0], matches, count)
        shared = bool((pairs[:, 1].bincount() > 1).any())
        best = of_images.nan_to_num(-torch.inf).cummax(dim=1).values
        self.of_images = of_images if shared else best
        self.of_texts = _by_row(pairs[:, 1], matches, int(self.starts[-1]))

    @torch.no_grad()
    def rows(self, images: Batch, first: int, advance: Advance | None = None) -> Tensor:
        """Scores of one block of the images with every text: (images, texts), on the CPU.

        As the aligner's own wherever that decides the rank of a match; elsewhere as near as its
        scan is. `first` is the row of the block's first image.
        """
        on_device = images.to(self.device)
        rounded = self.aligner.rounded(on_device)
        of_images = self.of_images[first : first + len(images)].to(self.device)
        scores = torch.empty(len(images), int(self.starts[-1]))
        for start, block, rounded_block in zip(
            self.starts.tolist(), self.texts, self.rounded, strict=False
        ):
            texts = slice(start, start + len(block))
            scan = self.aligner.scan(rounded, rounded_block.to(self.device))
            doubt = _in_doubt(scan, of_images, self.of_texts[texts].to(self.device))
            if doubt.float().mean() > MOST_IN_DOUBT:
                scores[:, texts] = self.aligner(on_device, block.to(self.device)).scores
            else:
                scores[:, texts] = self._settled(scan.scores, doubt, on_device, block)
            if advance is not None:
                advance(doubt.numel())
        return scores

    def _settled(self, scores: Tensor, doubt: Tensor, images: Batch, texts: Batch) -> Tensor:
        """The scores of a block, those in doubt in float32."""
        rows = doubt.nonzero()
        if len(rows):
            found = self.aligner.score_pairs(images, texts.to(self.device), rows).scores
            scores[doubt] = found.to(scores.dtype)
        return scores

    def _score_matches(self, images: Batch, pairs: Tensor) -> Tensor:
        """Scores of pairs of one block of the images with any texts: (pairs,), on the CPU."""
        scores = torch.empty(len(pairs))
        images = images.to(self.device)
        numbers = torch.bucketize(pairs[:, 1].contiguous(), self.starts, right=True) - 1
        for number in sorted(set(numbers.tolist())):
            own = numbers == number
            rows = pairs[own] - torch.stack([torch.tensor(0), self.starts[number]])
            texts = self.texts[number].to(self.device)
            found = self.aligner.score_pairs(images, texts, rows.to(self.device)).scores
            scores[own] = found.float().cpu()
        return scores


def _starts(blocks: Sequence[Batch]) -> list[int]:
    """The number of each block's first item."""
    return [0, *accumulate(map(len, blocks))][:-1]


def _by_row(rows: Tensor, values: Tensor, count: int) -> Tensor:
    """Values by the row that each belongs to: (count, most of a row), NaN where there are fewer."""
    order, counts = rows.argsort(stable=True), rows.bincount(minlength=count)
    places = torch.arange(len(rows)) - (counts.cumsum(0) - counts)[rows[order]]
    table = torch.full((count, int(counts.max())), torch.nan)
    table[rows[order], places] = values[order]
    return table


def _in_doubt(scan: Scan, of_images: Tensor, of_texts: Tensor) -> Tensor:
    """Where a score may lie on either side of one of the matches: (images, texts)."""
    doubt = torch.zeros_like(scan.scores, dtype=torch.bool)
    for match in (*of_images.T[..., None], *of_texts.T[:, None]):
        doubt |= (scan.scores - match).abs() <= scan.errors
    return doubt

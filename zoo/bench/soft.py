"""Soft alignment: all pairs, and a training step, beside the published loops of SCAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..batch import Fragments
from ..interfaces import Aligner, Pairs, Similarity
from ..kernels.soft_alignment import Attention, soft_alignment
from ..losses import TripletLoss
from ..ops import masked_mean
from ..scoring.two_pass import score_block, selection
from .collection import Collection, collection, narrow
from .published import stacked_attention
from .rounds import Row, Took, rows, timed
from .setting import Setting
from .training import Score, relative_error, step

SHARPNESS = {"words": 9.0, "regions": 4.0}
"""Of who attends, as published: t2i, where words attend to regions, and i2t."""


def measure(setting: Setting) -> tuple[list[Row], dict[str, Any]]:
    """Rows for either side that attends: scores of all pairs, then training steps of a batch.

    Steps have a loss over all negatives, in which every pair has a gradient, or over the hardest.
    """
    made = collection(setting)
    batch = collection(replace(setting, images=setting.batch, captions=setting.batch))
    by = "wall" if setting.threads > 1 else "seconds"
    found: list[Row] = []
    for attend in SHARPNESS:
        found += _scoring(made, attend, setting.rounds, by)
        for negatives in ("all", "hardest"):
            found += _training(batch, attend, negatives, setting.rounds, by)
    return found, {"words": made.words, "caption lengths": made.lengths}


def kernel(
    images: Fragments, texts: Fragments, attend: str, dtype: torch.dtype | None = None
) -> Tensor:
    """The mean of cosines by the zoo's kernel: (images, texts)."""
    form = Attention(sharpness=SHARPNESS[attend], leak=0.1, normalize=True)
    if attend == "words":
        return masked_mean(soft_alignment(texts, images, form, dtype=dtype), texts.mask)
    return masked_mean(soft_alignment(images, texts, form, dtype=dtype), images.mask).T


def published(images: Fragments, texts: Fragments, attend: str) -> Tensor:
    """The same by the published loops."""
    return stacked_attention(images.embeddings, texts, attend, SHARPNESS[attend])


@torch.no_grad()
def _scoring(made: Collection, attend: str, count: int, by: str) -> list[Row]:
    images, texts = made.images, made.texts
    variants: dict[str, Callable[[], Tensor]] = {
        "published": lambda: published(images, texts, attend),
        "float32": lambda: kernel(images, texts, attend),
        "bfloat16": lambda: kernel(images, texts, attend, torch.bfloat16),
    }
    rounds: list[dict[str, Took]] = []
    told: dict[str, dict[str, Any]] = {}
    for _ in range(count):
        taken = {name: timed(run) for name, run in variants.items()}
        rounds.append({name: took for name, (took, _) in taken.items()})
        true = taken["published"][1]
        for name, (_, scores) in taken.items():
            told[name] = {"largest difference": f"{(scores - true).abs().max():.0e}"}
        torch.testing.assert_close(taken["float32"][1], true, rtol=1e-5, atol=1e-5)
    return _named(rows(rounds, "published", told, by=by), f"{attend} attend, scores")


class _SoftAligner(Aligner[Fragments, Fragments]):
    """The kernel's scores, as a method has them."""

    pairwise = True

    def __init__(self, attend: str) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, images: Fragments, texts: Fragments) -> Similarity:
        return Similarity(kernel(images, texts, self.attend))


def _training(made: Collection, attend: str, negatives: str, count: int, by: str) -> list[Row]:
    sides = made.images, narrow(made.texts[made.pairs[:, 1]])
    number = torch.arange(len(made.images))
    pairs = Pairs(number, number, torch.eye(len(number), dtype=torch.bool))
    loss = TripletLoss(margin=0.2, negatives=negatives)
    aligner = _SoftAligner(attend)
    ways: dict[str, Score] = {
        "published": lambda images, texts: Similarity(published(images, texts, attend)),
        "float32": aligner,
    }
    needed = selection(loss, pairs)
    if needed is not None:
        ways["two passes"] = partial(score_block, aligner, needed=needed)
    rounds: list[dict[str, Took]] = []
    told: dict[str, dict[str, Any]] = {}
    for _ in range(count):
        taken = {name: step(score, sides, loss, pairs) for name, score in ways.items()}
        rounds.append({name: took for name, (took, _) in taken.items()})
        true = _across(taken["published"][1], sides)
        for name, (_, gradients) in taken.items():
            error = relative_error(_across(gradients, sides), true)
            told[name] = {"gradients' difference": f"{error:.0e}"}
    told_as = f"{attend} attend, training, {negatives} negatives"
    return _named(rows(rounds, "published", told, by=by), told_as)


def _across(gradients: list[Tensor], sides: tuple[Fragments, Fragments]) -> list[Tensor]:
    """Gradients without what lies along a fragment, which bringing it to unit length takes away.

    The published loop divides by the queries' lengths, the kernel is told that they are 1.
    """
    found = []
    for one, side in zip(gradients, sides, strict=True):
        units = side.embeddings
        found.append(one - (one * units).sum(dim=-1, keepdim=True) * units)
    return found


def _named(found: list[Row], what: str) -> list[Row]:
    return [replace(row, variant=f"{row.variant}: {what}") for row in found]

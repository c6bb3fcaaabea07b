"""Soft alignment: all pairs, and a training step, beside the published loops of SCAN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..batch import Fragments
from ..interfaces import Pairs, Similarity
from ..kernels.soft_alignment import Attention, soft_alignment
from ..losses import TripletLoss
from ..ops import masked_mean
from .collection import Collection, collection, narrow
from .published import stacked_attention
from .rounds import Row, Took, rows, timed
from .setting import Setting
from .training import step

SHARPNESS = {"words": 9.0, "regions": 4.0}
"""Of who attends, as published: t2i, where words attend to regions, and i2t."""


def measure(setting: Setting) -> tuple[list[Row], dict[str, Any]]:
    """Rows for either side that attends: scores of all pairs, then training steps of a batch."""
    made = collection(setting)
    batch = collection(replace(setting, images=setting.batch, captions=setting.batch))
    by = "wall" if setting.threads > 1 else "seconds"
    found: list[Row] = []
    for attend in SHARPNESS:
        found += _scoring(made, attend, setting.rounds, by)
        found += _training(batch, attend, setting.rounds, by)
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


def _training(made: Collection, attend: str, count: int, by: str) -> list[Row]:
    """With a loss over all negatives, in which every pair has a gradient."""
    sides = made.images, narrow(made.texts[made.pairs[:, 1]])
    number = torch.arange(len(made.images))
    pairs = Pairs(number, number, torch.eye(len(number), dtype=torch.bool))
    loss = TripletLoss(margin=0.2, negatives="all")
    rounds: list[dict[str, Took]] = []
    for _ in range(count):
        one = {}
        for name, score in (("published", published), ("float32", kernel)):
            one[name], _ = step(partial(_similarity, score, attend), sides, loss, pairs)
        rounds.append(one)
    return _named(rows(rounds, "published", by=by), f"{attend} attend, training")


def _similarity(
    score: Callable[[Fragments, Fragments, str], Tensor],
    attend: str,
    images: Fragments,
    texts: Fragments,
) -> Similarity:
    return Similarity(score(images, texts, attend))


def _named(found: list[Row], what: str) -> list[Row]:
    return [replace(row, variant=f"{row.variant}: {what}") for row in found]

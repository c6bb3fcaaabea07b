"""Hard alignment in a training step: scores, loss and gradients; encoders are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..batch import Fragments
from ..interfaces import Pairs, Similarity
from ..losses import TripletLoss
from .collection import collection, narrow
from .published import hard_alignment
from .rounds import Row, Took, rows, timed
from .scoring import hard_aligner
from .setting import Setting

Score = Callable[[Fragments, Fragments], Tensor]
Sides = tuple[Fragments, Fragments]


def measure(setting: Setting) -> tuple[list[Row], dict[str, Any]]:
    """Two rows for each choice of negatives: as published, and ours."""
    made = collection(replace(setting, images=setting.batch, captions=setting.batch))
    sides = made.images, narrow(made.texts[made.pairs[:, 1]])
    aligner = hard_aligner(setting.pooling)
    scores: dict[str, Score] = {
        "published": lambda images, texts: hard_alignment(
            images.embeddings, texts, setting.pooling
        ),
        "zoo": lambda images, texts: aligner(images, texts).scores,
    }
    found: list[Row] = []
    for negatives in ("hardest", "all"):
        loss = TripletLoss(margin=0.05, negatives=negatives)
        truth = step(scores["published"], _in_double(sides), loss)[1]
        rounds: list[dict[str, Took]] = []
        told: dict[str, dict[str, Any]] = {}
        for _ in range(setting.rounds):
            one = {}
            for name, score in scores.items():
                one[name], gradients = step(score, sides, loss)
                told[name] = {"gradients' error": f"{_error(gradients, truth):.0e}"}
            rounds.append(one)
        by = "wall" if setting.threads > 1 else "seconds"
        found += [
            replace(row, variant=f"{row.variant}, {negatives} negatives")
            for row in rows(rounds, "published", told, by=by)
        ]
    facts = {"words": int(sides[1].mask.sum()), "longest caption": sides[1].mask.shape[1]}
    return found, {**facts, "caption lengths": made.lengths}


def step(score: Score, sides: Sides, loss: TripletLoss) -> tuple[Took, list[Tensor]]:
    """What scores, loss and backward took, and the gradients of both sides."""
    leaves = [Fragments(side.embeddings.clone().requires_grad_(), side.mask) for side in sides]
    row = torch.arange(len(leaves[0]))
    pairs = Pairs(row, row, torch.eye(len(row), dtype=torch.bool))

    def run() -> None:
        loss(Similarity(score(*leaves)), pairs).backward()  # type: ignore[no-untyped-call]

    took, _ = timed(run)
    return took, [side.embeddings.grad for side in leaves if side.embeddings.grad is not None]


def _in_double(sides: Sides) -> Sides:
    images, texts = (Fragments(side.embeddings.double(), side.mask) for side in sides)
    return images, texts


def _error(gradients: list[Tensor], truth: list[Tensor]) -> float:
    """The distance from the published algorithm's in float64, as a share of their length."""
    found = zip(gradients, truth, strict=True)
    return max(float((one - true).norm() / true.norm()) for one, true in found)

"""Hard alignment in a training step: scores, loss and gradients; encoders are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..batch import Fragments
from ..interfaces import Aligner, Pairs, Similarity
from ..losses import TripletLoss
from ..scoring.two_pass import score_block, selection
from .collection import collection, narrow
from .published import hard_alignment
from .rounds import Row, Took, rows, timed
from .scoring import hard_aligner
from .setting import Setting

Score = Callable[[Fragments, Fragments], Similarity]
Sides = tuple[Fragments, Fragments]


def measure(setting: Setting) -> tuple[list[Row], dict[str, Any]]:
    """Rows for each choice of negatives: as published, and each way of ours."""
    made = collection(replace(setting, images=setting.batch, captions=setting.batch))
    sides = made.images, narrow(made.texts[made.pairs[:, 1]])
    aligner = hard_aligner(setting.pooling)
    number = torch.arange(setting.batch)
    pairs = Pairs(number, number, torch.eye(setting.batch, dtype=torch.bool))
    found: list[Row] = []
    for negatives in ("hardest", "all"):
        loss = TripletLoss(margin=0.05, negatives=negatives)
        scores = _ways(aligner, loss, pairs, setting.pooling)
        truth = step(scores["published"], _in_double(sides), loss, pairs)[1]
        rounds: list[dict[str, Took]] = []
        told: dict[str, dict[str, Any]] = {}
        for _ in range(setting.rounds):
            one = {}
            for name, score in scores.items():
                one[name], gradients = step(score, sides, loss, pairs)
                told[name] = {"gradients' error": f"{relative_error(gradients, truth):.0e}"}
            rounds.append(one)
        by = "wall" if setting.threads > 1 else "seconds"
        found += [
            replace(row, variant=f"{row.variant}, {negatives} negatives")
            for row in rows(rounds, "published", told, by=by)
        ]
    facts = {"words": int(sides[1].mask.sum()), "longest caption": sides[1].mask.shape[1]}
    return found, {**facts, "caption lengths": made.lengths}


def _ways(
    aligner: Aligner[Any, Any], loss: TripletLoss, pairs: Pairs, pooling: str
) -> dict[str, Score]:
    """How a block can be scored for a loss; training does the third, or else the second."""
    needed = selection(loss, pairs)
    plain = _Unscanned(aligner)
    ways: dict[str, Score] = {
        "published": lambda images, texts: Similarity(
            hard_alignment(images.embeddings, texts, pooling)
        ),
        "all at once": aligner,
    }
    if needed is not None:
        ways |= {
            "two passes": lambda images, texts: score_block(aligner, images, texts, needed),
            "two passes, float32": lambda images, texts: score_block(plain, images, texts, needed),
        }
    return ways


class _Unscanned(Aligner[Fragments, Fragments]):
    """An aligner that is taken to have no scan, so that its first pass is in float32."""

    def __init__(self, aligner: Aligner[Any, Any]) -> None:
        super().__init__()
        self.aligner, self.pairwise = aligner, aligner.pairwise

    def forward(self, images: Fragments, texts: Fragments) -> Similarity:
        return self.aligner(images, texts)

    def score_pairs(self, images: Fragments, texts: Fragments, rows: Tensor) -> Similarity:
        return self.aligner.score_pairs(images, texts, rows)


def step(score: Score, sides: Sides, loss: TripletLoss, pairs: Pairs) -> tuple[Took, list[Tensor]]:
    """What scores, loss and backward took, and the gradients of both sides."""
    leaves = [Fragments(side.embeddings.clone().requires_grad_(), side.mask) for side in sides]

    def run() -> None:
        loss(score(*leaves), pairs).backward()  # type: ignore[no-untyped-call]

    took, _ = timed(run)
    return took, [side.embeddings.grad for side in leaves if side.embeddings.grad is not None]


def _in_double(sides: Sides) -> Sides:
    images, texts = (Fragments(side.embeddings.double(), side.mask) for side in sides)
    return images, texts


def relative_error(gradients: list[Tensor], truth: list[Tensor]) -> float:
    """The distance from the published algorithm's, as a share of their length."""
    found = zip(gradients, truth, strict=True)
    return max(float((one - true).norm() / true.norm()) for one, true in found)

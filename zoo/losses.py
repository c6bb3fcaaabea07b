"""Losses that several methods share.

A match is a pair that belongs together (`Pairs.matches`); everything else in the block is a
negative. Another caption of the same image is a match, so it is never a negative. Each match is
compared with the negatives of its image's row and of its text's column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .errors import InputError
from .interfaces import Loss, Pairs, Scan, Similarity
from .options import check_choice, check_positive

REDUCTIONS = ("sum", "mean")


@dataclass(frozen=True)
class Contest:
    """The matches of a block and what each competes with in one direction.

    matches:   (matches,), scores of the pairs that belong together
    rivals:    (matches, candidates), scores of the same image (or text) with every candidate
    negatives: (matches, candidates), True where the candidate is a negative
    """

    matches: Tensor
    rivals: Tensor
    negatives: Tensor


def contests(scores: Tensor, matches: Tensor) -> tuple[Contest, Contest]:
    """What the matches of a block compete with: texts for each image, images for each text."""
    image, text = matches.nonzero(as_tuple=True)
    return (
        Contest(scores[image, text], scores[image], ~matches[image]),
        Contest(scores[image, text], scores.T[text], ~matches.T[text]),
    )


def contenders(scan: Scan, matches: Tensor, margin: float | None = None) -> Tensor:
    """The matches, and what may be the hardest negative of one: (images, texts), bool.

    With a margin, of these negatives those that may score higher than a match less the margin.
    """
    # A hinge is rounded, so that scores as near as this may have the same hinge, or one above 0.
    near = 2**-20 * (scan.scores.abs().amax() + (margin or 0))
    low, high = scan.scores - scan.errors - near, scan.scores + scan.errors
    of_images = _contending(low, high, matches, margin)
    of_texts = _contending(low.T, high.T, matches.T, margin)
    return matches | of_images | of_texts.T


def _contending(low: Tensor, high: Tensor, matches: Tensor, margin: float | None) -> Tensor:
    """The negatives of each row that may be its hardest, and within the margin of a match."""
    surest = low.masked_fill(matches, -torch.inf).amax(dim=1, keepdim=True)
    contending = ~matches & matches.any(dim=1, keepdim=True) & (high >= surest)
    if margin is None:
        return contending
    least = low.masked_fill(~matches, torch.inf).amin(dim=1, keepdim=True)
    return contending & (high >= least - margin)


class TripletLoss(Loss):
    """Hinge between each match and its negatives in the block, both ways.

    h(i, j) = [margin + S_ij - S_it]_+ for a match (i, t) and a negative text j of image i, and the
    same for the negative images of text t. "hardest" takes the largest of each match and direction
    (VSE++, Faghri et al. 2018), "all" adds them up (Kiros et al. 2014). The reduction is over
    matches.

    Equal to CHAN's released loss where each image has one caption in the block. Where one has
    several, released code counts the others as negatives; we do not, since they do belong.
    """

    def __init__(
        self, margin: float = 0.2, negatives: str = "hardest", reduction: str = "sum"
    ) -> None:
        super().__init__()
        check_choice("negatives", negatives, ("hardest", "all"))
        check_choice("reduction", reduction, REDUCTIONS)
        self.margin = margin
        self.negatives = negatives
        """Set by the warm-up hook of training, so it is plain state and not an argument."""
        self.reduction = reduction

    @property
    def selects(self) -> bool:  # type: ignore[override]
        """While it takes the hardest negatives alone."""
        return self.negatives == "hardest"

    def needed(self, scan: Scan, pairs: Pairs) -> Tensor:
        """Matches, and hardest negatives within the margin."""
        return contenders(scan, pairs.matches, self.margin)

    def forward(self, similarity: Similarity, pairs: Pairs) -> Tensor:
        """The hinges of all matches: a scalar."""
        both = contests(similarity.scores, pairs.matches)
        losses = torch.stack([self._hinge(contest) for contest in both]).sum(dim=0)
        return losses.sum() if self.reduction == "sum" else losses.mean()

    def _hinge(self, contest: Contest) -> Tensor:
        hinge = (self.margin + contest.rivals - contest.matches[:, None]).relu()
        hinge = hinge.masked_fill(~contest.negatives, 0)
        return hinge.amax(dim=1) if self.negatives == "hardest" else hinge.sum(dim=1)


class ContrastiveLoss(Loss):
    """Cross-entropy of each match against its negatives in the block, both ways.

    -log( exp(S_it / T) / (exp(S_it / T) + sum_j exp(S_ij / T)) ), j over the negatives of image i,
    and the same over the negatives of text t; the mean of both directions and of all matches
    (InfoNCE, van den Oord et al. 2018). A `learnable` temperature T is a parameter, kept within
    `LIMITS` so that it can neither freeze nor explode the scores.
    """

    LIMITS = (0.01, 100.0)

    def __init__(self, temperature: float = 0.07, learnable: bool = False) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        logarithm = torch.tensor(math.log(temperature))
        self.log_temperature = nn.Parameter(logarithm, requires_grad=learnable)

    def forward(self, similarity: Similarity, pairs: Pairs) -> Tensor:
        """The mean cross-entropy of the matches: a scalar."""
        scores = similarity.scores / self.temperature()
        both = contests(scores, pairs.matches)
        return torch.stack([self._cross_entropy(contest).mean() for contest in both]).mean()

    def temperature(self) -> Tensor:
        """The temperature in use. The parameter itself is moved back inside the limits: a clamp
        on the way would have no gradient and never let it return.
        """
        with torch.no_grad():
            self.log_temperature.clamp_(*(math.log(limit) for limit in self.LIMITS))
        return self.log_temperature.exp()

    @staticmethod
    def _cross_entropy(contest: Contest) -> Tensor:
        rivals = contest.rivals.masked_fill(~contest.negatives, -torch.inf).logsumexp(dim=1)
        return nn.functional.softplus(rivals - contest.matches)


class MixedLoss(Loss):
    """A weighted sum of losses.

    `losses` holds the configuration of each with its `weight`, which is 1 where absent:

    >>> MixedLoss([{"type": "triplet", "weight": 0.1}, {"type": "contrastive"}]).weights
    (0.1, 1.0)
    """

    def __init__(self, losses: Sequence[Mapping[str, Any]]) -> None:
        from .components import build

        super().__init__()
        if not losses:
            raise InputError("losses is empty. List at least one loss with its type.")
        parts = [dict(part) for part in losses]
        self.weights = tuple(float(part.pop("weight", 1)) for part in parts)
        self.losses = nn.ModuleList(build("loss", part) for part in parts)

    @property
    def negatives(self) -> str | None:
        """As `TripletLoss.negatives`, for all parts that have it; None where none has."""
        return next((part.negatives for part in self._choosing()), None)

    @negatives.setter
    def negatives(self, negatives: str) -> None:
        for part in self._choosing():
            part.negatives = negatives

    @property
    def selects(self) -> bool:  # type: ignore[override]
        """Where every part does."""
        return all(part.selects for part in self._parts())

    def needed(self, scan: Scan, pairs: Pairs) -> Tensor:
        """What any part needs."""
        return torch.stack([part.needed(scan, pairs) for part in self._parts()]).any(dim=0)

    def forward(self, similarity: Similarity, pairs: Pairs) -> Tensor:
        """The weighted sum: a scalar."""
        parts = [
            weight * loss(similarity, pairs)
            for weight, loss in zip(self.weights, self.losses, strict=True)
        ]
        return torch.stack(parts).sum()

    def _parts(self) -> list[Loss]:
        return [part for part in self.losses if isinstance(part, Loss)]

    def _choosing(self) -> list[TripletLoss]:
        return [part for part in self.losses if isinstance(part, TripletLoss)]

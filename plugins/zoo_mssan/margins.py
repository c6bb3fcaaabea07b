"""A triplet loss whose margins adapt, for the MSSAN-style reconstruction.

ABSTRACT: a generic triplet ranking loss whose margins are updated adaptively, to separate
semantically similar samples. How they are updated it does not say: the rules here are INFERRED, and
selectable.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from zoo.batch import Batch
from zoo.errors import InputError
from zoo.interfaces import Loss, Pairs, Scan, Similarity
from zoo.losses import REDUCTIONS, Contest, contenders, contests
from zoo.options import check_choice, check_fraction

NEGATIVES = ("hardest", "all", "mix")


@dataclass(frozen=True)
class Rule:
    """Where a margin comes from.

    base:      what moves the margin that all pairs share: "gap", "epoch", or None: nothing
    closeness: the vectors that say how close a negative is to the match: "whole", "fixed" or None
    """

    base: str | None = None
    closeness: str | None = None


RULES = {
    "semantic_ema": Rule("gap", "whole"),
    "teacher": Rule(None, "fixed"),
    "epoch": Rule("epoch"),
    "static": Rule(),
}


class AdaptiveMarginLoss(Loss):
    """Hinge between each match and its negatives, with a margin for each.

    h(i, t, j) = [a_itj + S_ij - S_it]_+ with a_itj = base (1 + sign * slope * c_itj), for a match
    (i, t) and a negative text j of image i; the same for the negative images of text t, with a base
    of their own. c_itj in [0, 1] is how close the negative is to the match, see `closeness`.
    Margins have no gradient.

    rule:
      "semantic_ema"  c from the wholes that are being learned. After each step the base moves:
                      base <- clip(momentum * base + (1 - momentum) * gain * gap, least, largest),
                      gap = the mean over matches of S(match) - S(hardest negative), over all
                      processes where several train together. Slope 0 and momentum 1 are "static"
      "teacher"       c from what does not learn: images as they came (`fixed` of the image
                      encoder). After He et al., "Improving Video Retrieval by Adaptive Margin"
                      (SIGIR 2021), where similar negatives have smaller margins: sign = -1
      "epoch"         no c; base = min(largest, margin + step * epoch), epochs from 0
      "static"        no c; base = margin, as in `TripletLoss`
    margin:    each base to begin with
    least, largest: limits of a base
    sign:      1: similar negatives are pushed further, which is what the abstract asks for; -1:
               less far, as in Biten et al. (WACV 2022) and He et al. (SIGIR 2021)
    negatives: "hardest" (the best-scoring one), "all" (their sum), or "mix": the hardest and
               `average_weight` times the mean over all
    reduction: over matches

    The two bases, of the negative texts and of the negative images, are the buffer `margins`. They
    move in training only, and not while `frozen` is set, which is for a recipe's warm-up:
    `warm_up = dict(epochs=1, frozen=True)`.
    """

    margins: Tensor

    def __init__(
        self,
        rule: str = "semantic_ema",
        margin: float = 0.2,
        least: float = 0.2,
        largest: float = 0.4,
        momentum: float = 0.99,
        gain: float = 1.0,
        slope: float = 0.5,
        sign: int = 1,
        step: float = 0.01,
        negatives: str = "hardest",
        average_weight: float = 1.0,
        reduction: str = "sum",
    ) -> None:
        super().__init__()
        check_choice("rule", rule, RULES)
        check_choice("negatives", negatives, NEGATIVES)
        check_choice("reduction", reduction, REDUCTIONS)
        check_choice("sign", sign, (1, -1))
        check_fraction("momentum", momentum)
        check_fraction("slope", slope)  # above 1 a margin could fall below 0
        if RULES[rule].base and not least <= margin <= largest:
            raise InputError(
                f"margin is {margin}, and a margin moves from {least} to {largest}. "
                "Begin within these limits, or change least and largest."
            )
        self.rule, self.margin, self.least, self.largest = RULES[rule], margin, least, largest
        self.momentum, self.gain, self.slope, self.sign = momentum, gain, slope, sign
        self.step, self.average_weight = step, average_weight
        self.negatives, self.reduction = negatives, reduction
        self.frozen = False
        """Set by the warm-up hook of training, as `negatives` may be."""
        self.register_buffer("margins", torch.tensor([margin, margin]))

    @property
    def selects(self) -> bool:  # type: ignore[override]
        """While it takes the hardest negatives alone."""
        return self.negatives == "hardest"

    def needed(self, scan: Scan, pairs: Pairs) -> Tensor:
        """Matches and hardest negatives, which the gap is between, whatever the margins are."""
        return contenders(scan, pairs.matches)

    def forward(self, similarity: Similarity, pairs: Pairs) -> Tensor:
        """The hinges of all matches: a scalar."""
        moving = self.training and not self.frozen
        if moving and self.rule.base == "epoch":
            self.margins.fill_(min(self.largest, self.margin + self.step * self.epoch))
        both = contests(similarity.scores, pairs.matches)
        margins = self._margins(similarity, pairs.matches)
        losses = [self._hinge(*one) for one in zip(both, margins, strict=True)]
        if moving and self.rule.base == "gap":
            self._follow(both)
        total = torch.stack(losses).sum(dim=0)
        return total.sum() if self.reduction == "sum" else total.mean()

    def _margins(self, similarity: Similarity, matches: Tensor) -> list[Tensor]:
        """The margins in both directions: one, or one for each match and candidate."""
        bases = list(self.margins.clone())
        name = self.rule.closeness
        if name is None:
            return bases
        images = self._vectors(similarity.images, "image", name)
        texts = self._vectors(similarity.texts, "text", name) if name == "whole" else None
        both = closeness(images, texts, matches)
        return [
            base * (1 + self.sign * self.slope * close)
            for base, close in zip(bases, both, strict=True)
        ]

    def _vectors(self, items: Batch | None, side: str, name: str) -> Tensor:
        vectors: Tensor | None = getattr(items, name, None)
        if vectors is None:
            rule = next(rule for rule, its in RULES.items() if its is self.rule)
            raise InputError(
                f"The rule {rule!r} compares each {side} as one vector, {name!r} of its encoding, "
                f"and there is {'none' if items is None else f'none in {type(items).__name__}'}. "
                f"Set {name} in the {side} encoder of a model that has it, which keeps it in "
                'training alone, or the rule to "static".'
            )
        return vectors.detach()

    def _hinge(self, contest: Contest, margins: Tensor) -> Tensor:
        hinge = (margins + contest.rivals - contest.matches[:, None]).relu()
        hinge = hinge.masked_fill(~contest.negatives, 0)
        if self.negatives == "all":
            return hinge.sum(dim=1)
        hardest = hinge.gather(1, _among_negatives(contest).argmax(dim=1, keepdim=True))[:, 0]
        if self.negatives == "hardest":
            return hardest
        count = contest.negatives.sum(dim=1).clamp(min=1)
        return hardest + self.average_weight * hinge.sum(dim=1) / count

    @torch.no_grad()
    def _follow(self, both: tuple[Contest, Contest]) -> None:
        sums = torch.stack([_gaps(contest) for contest in both])
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(sums)
        gap, count = sums[:, 0] / sums[:, 1].clamp(min=1), sums[:, 1]
        moved = self.momentum * self.margins + (1 - self.momentum) * self.gain * gap
        moved = moved.clamp(self.least, self.largest)
        self.margins.copy_(moved.where(count > 0, self.margins))


def closeness(images: Tensor, texts: Tensor | None, matches: Tensor) -> tuple[Tensor, Tensor]:
    """How close candidates are to matches, 0 to 1: (matches, texts) and (matches, images).

    Of match (i, t) and text j:  (g_t.g_j + g_i.g_k) / 2, k the image of j
    Of match (i, t) and image k: (g_i.g_k + g_t.g_j) / 2, averaged over the texts j of k
    Below 0 counts as 0. Without vectors of texts it is the images' part alone.
    """
    image, text = matches.nonzero(as_tuple=True)
    belongs = matches.to(images.dtype)
    to_images = (images @ images.T)[image]
    to_texts = to_images @ (belongs / belongs.sum(dim=0).clamp(min=1))
    if texts is not None:
        among = (texts @ texts.T)[text]
        captions = belongs / belongs.sum(dim=1, keepdim=True).clamp(min=1)
        to_texts, to_images = (to_texts + among) / 2, (to_images + among @ captions.T) / 2
    return to_texts.clamp(0, 1), to_images.clamp(0, 1)


def _among_negatives(contest: Contest) -> Tensor:
    return contest.rivals.detach().masked_fill(~contest.negatives, -torch.inf)


def _gaps(contest: Contest) -> Tensor:
    """Sum and number of the gaps between matches and their hardest negatives."""
    gaps = contest.matches - _among_negatives(contest).amax(dim=1)
    contested = contest.negatives.any(dim=1)
    return torch.stack([gaps.masked_fill(~contested, 0).sum(), contested.sum()])

"""TVRN's loss: the log-sum-exp of hinges."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.interfaces import Loss, Pairs, Similarity
from zoo.losses import contests
from zoo.options import check_choice, check_positive

FORMS = ("proper", "row_wise")


class LogSumExpLoss(Loss):
    """A hinge for every negative, and a soft maximum of them, both ways.

    L = 1/2 mean over matches (i, t) of
        log(1 + sum_j exp([m + s_ij - s_it]_+ / T)) + log(1 + sum_k exp([m + s_kt - s_it]_+ / T))
    with j the negative texts of image i, k the negative images of text t, margin m, temperature T.

    form: "proper" is that (INFERRED: the paper's loss is not known). "row_wise" is released code's,
          whose second sum runs over the texts of image i once more, each against its own match:
          log(1 + sum_j exp([m + s_ij - s_match(j)]_+ / T))

    A negative without a hinge still adds exp(0) = 1, so each term is at least log(1 + negatives).
    Departure: other captions of an image are no negatives; released code counts them as such. With
    one caption an image in the block, "row_wise" is the released loss.
    """

    def __init__(
        self, margin: float = 0.2, temperature: float = 0.05, form: str = "proper"
    ) -> None:
        super().__init__()
        check_positive("temperature", temperature)
        check_choice("form", form, FORMS)
        self.margin, self.temperature, self.form = margin, temperature, form

    def forward(self, similarity: Similarity, pairs: Pairs) -> Tensor:
        scores, matches = similarity.scores, pairs.matches
        texts, images = contests(scores, matches)
        first = self._soft_maximum(texts.rivals, texts.matches[:, None], texts.negatives)
        if self.form == "proper":
            second = self._soft_maximum(images.rivals, images.matches[:, None], images.negatives)
        else:
            # A text without its image in the block has no match to be compared with.
            own = scores.masked_fill(~matches, 0).sum(dim=0) / matches.sum(dim=0).clamp(min=1)
            matched = texts.negatives & matches.any(dim=0)
            second = self._soft_maximum(texts.rivals, own, matched)
        return (first + second).mean() / 2

    def _soft_maximum(self, rivals: Tensor, matches: Tensor, negatives: Tensor) -> Tensor:
        hinge = (self.margin + rivals - matches).relu() / self.temperature
        floor = hinge.new_zeros(len(hinge), 1)  # the match's own exp(0)
        return torch.cat([floor, hinge.masked_fill(~negatives, -torch.inf)], dim=1).logsumexp(dim=1)

"""The loss of gist."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from zoo.interfaces import Loss, Pairs, Similarity
from zoo.losses import Contest, contests


class SoftHinge(Loss):
    """T log(1 + exp((margin + S_negative - S_match) / T)), over all negatives, both ways.

    A hinge without its kink: negatives that are far away still pull a little.
    """

    def __init__(self, margin: float = 0.2, temperature: float = 0.05) -> None:
        super().__init__()
        self.margin, self.temperature = margin, temperature

    def forward(self, similarity: Similarity, pairs: Pairs) -> Tensor:
        """The mean over matches: a scalar."""
        both = contests(similarity.scores, pairs.matches)
        return torch.stack([self._hinges(one) for one in both]).sum()

    def _hinges(self, contest: Contest) -> Tensor:
        gaps = (self.margin + contest.rivals - contest.matches[:, None]) / self.temperature
        hinges = self.temperature * softplus(gaps).masked_fill(~contest.negatives, 0)
        return hinges.sum(dim=1).mean()

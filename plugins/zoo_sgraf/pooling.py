"""One vector for an item: SGRAF's attention of the mean to its fragments."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.batch import Fragments
from zoo.errors import InputError
from zoo.ops import l2_normalize, linear, masked_mean, weighted_mean


class Pooling(nn.Module):
    """The whole of an item: unit(sum_p a_p x_p), a = softmax_p(w . (l_p * l)).

    l_p = tanh(W_l x_p + b_l) is a fragment's projection, l = tanh(W_g mean_p x_p + b_g) that of
    their mean. The paper says in words that the mean asks and the fragments are weighed; how is
    released code's. That adds a bias to the logits, which a softmax does not notice.

    slots: number of fragments for which released code has its batch norms: one over the fragments'
           places, so that an image must have exactly as many, and one over the mean's channels.
           None: no batch norm, as in released code for texts
    """

    def __init__(self, dim: int, dropout: float, slots: int | None = None) -> None:
        super().__init__()
        self.slots = slots
        self.local = _projection(dim, dropout, slots)
        self.overall = _projection(dim, dropout, dim if slots else None)
        self.weight = linear(dim, 1, bias=False)

    def forward(self, fragments: Fragments) -> Tensor:
        x, mask = fragments.embeddings, fragments.mask
        if self.slots is not None:
            _check_slots(mask, self.slots)
        mean = masked_mean(x.mT, mask[:, None])
        sought = self.overall(mean) * self.weight.weight[0]
        logits = (self.local(x) @ sought[..., None]).squeeze(-1)
        return l2_normalize(weighted_mean(x, logits, mask))


def _projection(dim: int, dropout: float, channels: int | None) -> nn.Sequential:
    norm = nn.BatchNorm1d(channels) if channels else nn.Identity()
    return nn.Sequential(linear(dim, dim), norm, nn.Tanh(), nn.Dropout(dropout))


def _check_slots(mask: Tensor, slots: int) -> None:
    if mask.shape[1] != slots or not mask.all():
        raise InputError(
            f"These weights read exactly {slots} regions an image, since a batch norm counts them, "
            "and an image here has others. Give as many, or train a model with slots=None."
        )

"""Within one modality: the whole of an item, and the MFFM of the MSSAN-style reconstruction."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.batch import Fragments
from zoo.ops import l2_normalize, masked_mean, weighted_mean


class Pooling(nn.Module):
    """The whole of an item: g = unit(sum_i a_i x_i), a = softmax_i w.(tanh(W_1 x_i) * tanh(W_2 x)).

    x is the mean of the x_i; dropout follows each tanh. INFERRED: the form of SGRAF (Diao et al.,
    AAAI 2021), without its batch norm, which would make an encoding depend on its batch, and
    without a constant in the softmax, which would cancel.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.local = nn.Linear(dim, dim, bias=False)
        self.mean = nn.Linear(dim, dim, bias=False)
        self.weigh = nn.Linear(dim, 1, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, parts: Fragments) -> Tensor:
        mean = masked_mean(parts.embeddings.mT, parts.mask[:, None])  # (items, d)
        local = self.dropout(self.local(parts.embeddings).tanh())
        logits = self.weigh(local * self.dropout(self.mean(mean).tanh())[:, None])
        return l2_normalize(weighted_mean(parts.embeddings, logits.squeeze(-1), parts.mask))


class Fusion(nn.Module):
    """MFFM: fragments in the light of the whole, summed up by significance, (items, dim).

    significance  a   = softmax_i u.tanh(W_l x_i + W_g g + b)
    gate          z_i = sigmoid(W_z [x_i; g] + b_z)
    fusion        f_i = unit(z_i * x_i + (1 - z_i) * g)
    summary       m   = sum_i a_i f_i

    ABSTRACT: significance is a distribution within the modality, and global concepts go into local
    features. INFERRED: each formula, and b_z = 1 to begin with, so that x_i leads at first.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.local = nn.Linear(dim, dim)
        self.whole = nn.Linear(dim, dim, bias=False)
        self.weigh = nn.Linear(dim, 1, bias=False)
        self.gate_local = nn.Linear(dim, dim)
        self.gate_whole = nn.Linear(dim, dim, bias=False)
        nn.init.ones_(self.gate_local.bias)

    def forward(self, parts: Fragments, whole: Tensor) -> Tensor:
        x, g = parts.embeddings, whole[:, None]
        logits = self.weigh((self.local(x) + self.whole(g)).tanh())
        gate = (self.gate_local(x) + self.gate_whole(g)).sigmoid()
        fused = l2_normalize(gate * x + (1 - gate) * g)
        return weighted_mean(fused, logits.squeeze(-1), parts.mask)

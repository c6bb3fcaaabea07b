"""How TVRN refines fragments: in context, by a second reading, and into one vector for the whole.

Weights start Xavier uniform and biases 0, as SGRAF's; the GRUs as torch makes them (INFERRED).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from zoo.batch import Fragments
from zoo.encoders.regions import unit_fragments
from zoo.kernels.soft_alignment import Attention, attention_weights
from zoo.ops import in_full, l2_normalize, linear, weighted_mean

SHARPNESS, LEAK = 9, 0.1
ATTENTION = Attention(SHARPNESS, LEAK, normalize=True)
"""Every attention of TVRN: att(E) = softmax over the sources of 9 E' / ||E'|| over the queries."""


class ContentAttention(nn.Module):
    """Each fragment as a mean of those of its item that suit it: unit(att(Q(x) K(x)^T) x)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key = linear(dim, dim), linear(dim, dim)

    def forward(self, fragments: Fragments) -> Tensor:
        x, mask = fragments.embeddings, fragments.mask
        logits = self.query(x) @ self.key(x).mT
        return l2_normalize(attention_weights(logits, mask, mask, ATTENTION).to(x.dtype) @ x)


class SpatialAttention(nn.Module):
    """Each region as a mean of those that overlap it: unit(att(N * cos(q(x), k(x))) x).

    N is 1 where two regions overlap, by `threshold` at least; everywhere without a threshold. Ours
    leaves the others out. `released` code gives them the logit 0, which is more than a negative
    logit of a region that does overlap, and divides by the length of the key at the query's place
    in place of the key's own.
    """

    def __init__(self, dim: int, threshold: float | None, released: bool) -> None:
        super().__init__()
        self.query, self.key = linear(dim, dim), linear(dim, dim)
        self.threshold, self.released = threshold, released

    def forward(self, regions: Fragments, boxes: Tensor | None) -> Tensor:
        x, mask = regions.embeddings, regions.mask
        logits, near = self._cosines(x), None
        if boxes is not None and self.threshold is not None:
            near = overlap(in_full(boxes), self.threshold)
            logits = logits.masked_fill(~near, 0)
        weights = attention_weights(logits, mask, mask, ATTENTION)
        if near is not None and not self.released:
            weights = reweighted(weights, near)
        return l2_normalize(weights.to(x.dtype) @ x)

    def _cosines(self, x: Tensor) -> Tensor:
        query, key = normalize(self.query(x), dim=-1, eps=1e-8), self.key(x)
        if not self.released:
            return query @ normalize(key, dim=-1, eps=1e-8).mT
        length = torch.linalg.vector_norm(key, dim=-1, keepdim=True).clamp(min=1e-8)
        logits: Tensor = query / length @ key.mT
        return logits


def reweighted(weights: Tensor, factor: Tensor) -> Tensor:
    """Weights times a factor for each source, with the sum 1 again, or 0 where nothing is left.

    The same as the factor's logarithm added to the logits before the softmax.
    """
    changed = weights * factor
    return changed / changed.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(changed.dtype).tiny)


def overlap(boxes: Tensor, threshold: float) -> Tensor:
    """Which regions of an image overlap, by intersection over union: (images, regions, regions).

    boxes: (images, regions, 4), x1 y1 x2 y2. A region overlaps itself. "At least the threshold"
    has a tolerance of 1e-4 of it, lest rounding decide: the windows of a grid meet 0.5 exactly.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(dim=-1)
    union = area[:, :, None] + area[:, None] - shared
    itself = torch.eye(boxes.shape[1], dtype=torch.bool, device=boxes.device)
    return (shared >= (1 - 1e-4) * threshold * union) & (union > 0) | itself


class Reading(nn.Module):
    """A GRU over the fragments of an item in their order: y = unit(H + x)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(dim, dim, batch_first=True)

    def forward(
        self, plain: Fragments, inputs: Tensor, state: Tensor | None = None
    ) -> tuple[Fragments, Tensor]:
        """What the GRU makes of `inputs` where `plain` are the fragments x, and its last state.

        inputs: (items, fragments, dim)
        state:  (1, items, dim), that of an earlier reading to go on from
        """
        lengths = plain.mask.sum(dim=1).cpu()
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        output, last = self.gru(packed, state)
        hidden, _ = pad_packed_sequence(output, batch_first=True, total_length=plain.mask.shape[1])
        return unit_fragments(hidden + plain.embeddings, plain.mask), last

    def twice(self, plain: Fragments, enriched: Tensor) -> tuple[Fragments, Fragments]:
        """One reading of [x; enriched]: what it makes of the first half, and of the second."""
        first, state = self(plain, plain.embeddings)
        second, _ = self(plain, enriched, state)
        return first, second


def both(first: Fragments, second: Fragments | None) -> Fragments:
    """The fragments of two readings side by side."""
    if second is None:
        return first
    return Fragments(
        torch.cat([first.embeddings, second.embeddings], dim=1),
        torch.cat([first.mask, second.mask], dim=1),
    )


class Projection(nn.Module):
    """tanh(W x + b), with dropout; in released code with a batch norm of so many `channels`."""

    def __init__(self, dim: int, dropout: float, channels: int | None = None) -> None:
        super().__init__()
        self.linear = linear(dim, dim)
        self.norm = nn.BatchNorm1d(channels) if channels else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.dropout(self.norm(self.linear(x)).tanh())
        return projected


class Pooling(nn.Module):
    """One vector for an item: g = unit(sum_p a_p u_p), a = softmax_p(w . (l_p * l)).

    l_p = tanh(W_l u_p + b_l) is a fragment's projection, l = tanh(W_g mean_p u_p + b_g) that of
    their mean. Released code adds a bias to the logits, which a softmax does not notice.

    slots: number of fragments for which released code has a batch norm (over the fragments' places,
           so that an image must have exactly as many); None: no batch norm
    """

    def __init__(self, dim: int, dropout: float, slots: int | None = None) -> None:
        super().__init__()
        self.local = Projection(dim, dropout, slots)
        self.overall = Projection(dim, dropout, dim if slots else None)
        self.weight = linear(dim, 1, bias=False)

    def forward(self, fragments: Fragments) -> Tensor:
        x, mask = fragments.embeddings, fragments.mask
        return self.pool(self.local(x), x, mask)

    def pool(self, local: Tensor, x: Tensor, mask: Tensor) -> Tensor:
        """The vector, where the fragments' projections are known: (..., dim).

        local, x: (..., fragments, dim)
        mask:     (..., fragments), broadcast
        """
        real = mask[..., None]
        mean = x.masked_fill(~real, 0).sum(dim=-2) / real.sum(dim=-2)
        sought = self.overall(mean) * self.weight.weight[0]
        logits = (local @ sought[..., None]).squeeze(-1)
        return l2_normalize(weighted_mean(x, logits, mask))

"""VSE-infinity: the best pooling for visual semantic embedding (Chen et al., CVPR 2021).

Image and text are one vector each, and their score is its cosine: no pair is looked into. All
depends on how regions and words are pooled. Mean, maximum and what lies between are weights on the
sorted values of each dimension, and the generalised pooling operator (GPO) learns these weights.

The words come from an encoder that the zoo shares, BiGRU (`zoo.encoders.bigru`) or BERT
(`zoo.encoders.bert`). README.md beside this file lists where we depart from paper and released
code; the departures are also marked where they are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from zoo.batch import Batch, Fragments, Regions, Tokens
from zoo.encoders.regions import ReadsRegions
from zoo.encoders.words import ReadsWords
from zoo.interfaces import Aligner, Similarity, TextEncoder
from zoo.ops import in_full, l2_normalize

POSITIONS = 32
"""Numbers of a position's code, and of the state of the GRU that reads the codes."""

TEMPERATURE = 0.1
"""Of the softmax over positions, as released; the paper says only that the weights sum to 1."""


@dataclass(frozen=True)
class Whole(Batch):
    """Images or texts as one vector each.

    vector: (items, dim), of unit length
    """

    vector: Tensor


class GeneralizedPooling(nn.Module):
    """v_d = sum_k a_k max_k(x_1d, ..., x_nd), max_k the k-th largest of each dimension.

    a = softmax_k(w . h_k / 0.1), h a BiGRU's states over the sines and cosines of n positions, the
    mean of both directions. So the weights depend on the number of fragments alone, and are
    computed once for each number that occurs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(POSITIONS, POSITIONS, batch_first=True, bidirectional=True)
        self.weight = nn.Linear(POSITIONS, 1, bias=False)

    def forward(self, fragments: Fragments) -> Tensor:
        """One vector for each item, not of unit length: (items, dim)."""
        mask = fragments.mask
        values = fragments.embeddings.masked_fill(~mask[..., None], -torch.inf)
        ordered = values.sort(dim=1, descending=True).values.masked_fill(~mask[..., None], 0)
        shares = self.shares(mask.sum(dim=1), mask.shape[1]).to(ordered.dtype)
        return torch.einsum("nk,nkd->nd", shares, ordered)

    def shares(self, lengths: Tensor, longest: int) -> Tensor:
        """The weight of each rank for items of so many fragments: (items, longest).

        Not rounded by autocast, since a softmax of ten times the logits would show it.
        """
        distinct, row = torch.unique(lengths, return_inverse=True)
        codes = position_codes(longest).to(self.weight.weight)
        packed = pack_padded_sequence(
            codes.expand(len(distinct), -1, -1),
            distinct.cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        with torch.autocast(lengths.device.type, enabled=False):
            states, _ = pad_packed_sequence(
                self.gru(packed)[0], batch_first=True, total_length=longest
            )
            onward, back = states.chunk(2, dim=-1)
            logits = in_full(self.weight((onward + back) / 2).squeeze(-1)) / TEMPERATURE
        ranks = torch.arange(longest, device=lengths.device)
        shares = logits.masked_fill(ranks >= distinct[:, None], -torch.inf).softmax(dim=1)
        return shares[row]


def position_codes(count: int) -> Tensor:
    """Sines and cosines of the positions 0, 1, ..., as of a transformer: (count, 32)."""
    frequencies = 10_000 ** (-torch.arange(0, POSITIONS, 2, dtype=torch.float64) / POSITIONS)
    angles = torch.outer(torch.arange(count, dtype=torch.float64), frequencies)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class Perceptron(nn.Module):
    """W_2 relu(norm(W_1 x)) + b_2, half as wide inside as outside.

    The batch norm is released code's (INFERRED: the paper's too). It counts real regions alone,
    where released code counts the zeros that stand for dropped ones as well. In evaluation it is a
    factor and a shift of each channel, so an image encodes the same alone and in company. Released
    code has a bias before it, which it takes away again.
    """

    def __init__(self, feature_dim: int, dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(feature_dim, dim // 2, bias=False)
        self.norm = nn.BatchNorm1d(dim // 2)
        self.output = nn.Linear(dim // 2, dim)

    def forward(self, features: Tensor) -> Tensor:
        """Of real regions: (regions, feature_dim) to (regions, dim)."""
        changed: Tensor = self.output(self.norm(self.hidden(features)).relu())
        return changed


class RegionEncoder(ReadsRegions[Whole]):
    """An image as one vector, unit(GPO(h)), h = W x + b + perceptron(x) of each region.

    region_drop: 0.2 in the paper's recipes, its size augmentation (the released code can drop all
                 regions; ours keeps at least one)
    """

    mixes_in_training = True  # the perceptron's batch norm

    def __init__(self, feature_dim: int = 2048, dim: int = 1024, region_drop: float = 0.0) -> None:
        super().__init__(feature_dim, dim, region_drop)
        self.perceptron = Perceptron(feature_dim, dim)
        self.pooling = GeneralizedPooling()

    def forward(self, batch: Regions) -> Whole:
        plain = self.projected(batch)
        change = self.perceptron(batch.features[batch.mask].to(self.project.weight.dtype))
        hidden = plain + torch.zeros_like(plain).masked_scatter(batch.mask[..., None], change)
        return Whole(l2_normalize(self.pooling(Fragments(hidden, batch.mask))))


class WordEncoder(ReadsWords[Tokens, Whole]):
    """A caption as one vector, unit(GPO(h)), h the states of BERT or BiGRU.

    reader: words that keep their length, `unit_length=False` in its configuration
    """

    def __init__(self, reader: TextEncoder[Tokens, Fragments]) -> None:
        super().__init__(reader)
        self.pooling = GeneralizedPooling()

    def forward(self, batch: Tokens) -> Whole:
        return Whole(l2_normalize(self.pooling(self.reader(batch))))


class CosineAligner(Aligner[Whole, Whole]):
    """The cosine of image and text. Computed in float32 at least, under autocast too."""

    def forward(self, images: Whole, texts: Whole) -> Similarity:
        with torch.autocast(images.vector.device.type, enabled=False):
            return Similarity(in_full(images.vector) @ in_full(texts.vector).T)

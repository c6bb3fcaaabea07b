"""Gist: an image and a text are one vector each, what they are about."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo.batch import Batch, Fragments, Regions, Tokens
from zoo.encoders.regions import ReadsRegions
from zoo.encoders.words import ReadsWords
from zoo.interfaces import TextEncoder
from zoo.ops import l2_normalize, linear


@dataclass(frozen=True)
class Gist(Batch):
    """What each item is about.

    vector: (items, dim), of unit length
    """

    vector: Tensor


class Summary(nn.Module):
    """unit(sum_k a_k x_k), a = softmax_k(w . x_k): the fragments by how much they tell."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = linear(dim, 1, bias=False)

    def forward(self, fragments: Fragments) -> Gist:
        """One vector an item, from the real fragments alone."""
        logits = self.weight(fragments.embeddings)
        shares = logits.masked_fill(~fragments.mask[..., None], -torch.inf).softmax(dim=1)
        return Gist(l2_normalize((shares * fragments.embeddings).sum(dim=1)))


class RegionGist(ReadsRegions[Gist]):
    """An image as the summary of its regions."""

    def __init__(self, feature_dim: int = 2048, dim: int = 1024, standardize: bool = False) -> None:
        super().__init__(feature_dim, dim, standardize=standardize)
        self.summary = Summary(dim)

    def forward(self, batch: Regions) -> Gist:
        """(images, dim)."""
        gist: Gist = self.summary(self.unit_regions(batch))
        return gist


class WordGist(ReadsWords[Tokens, Gist]):
    """A text as the summary of its words, which another encoder reads."""

    def __init__(self, reader: TextEncoder[Tokens, Fragments]) -> None:
        super().__init__(reader)
        self.summary = Summary(reader.dim)

    def forward(self, batch: Tokens) -> Gist:
        """(texts, dim)."""
        gist: Gist = self.summary(self.reader(batch))
        return gist

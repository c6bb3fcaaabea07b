"""SGRAF: similarity reasoning and filtration for image-text matching (Diao et al., AAAI 2021).

Where others compare two vectors by one number, SGRAF does by a vector of its own: one for each word
with what it sees in the image, and one for the two wholes. A head makes one score of them: SGR lets
the similarities reason about each other on a graph, SAF filters out those that say little. The
paper's SGRAF is the mean of a model of each.

The words come from an encoder that the zoo shares, BiGRU (`zoo.encoders.bigru`) or BERT
(`zoo.encoders.bert`). README.md beside this file lists where we depart from paper and released
code; the departures are also marked where they are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from zoo.batch import Batch, Fragments, Regions, Tokens
from zoo.encoders.regions import ReadsRegions
from zoo.encoders.words import ReadsWords
from zoo.heads import AttentionFiltration, GraphReasoning
from zoo.interfaces import Aligner, Similarity, TextEncoder
from zoo.kernels.packing import cuts
from zoo.kernels.soft_alignment import Attention, attention_weights
from zoo.ops import dot_products, in_full, l2_normalize, linear
from zoo.options import check_choice

from .pooling import Pooling

ATTENTION = Attention(sharpness=9, leak=0.1, normalize=True)
"""SCAN's, of words to regions."""

HEADS = ("sgr", "saf")

CELLS = 2**20
"""Numbers in the largest tensor of a block of pairs on a CPU: 4 MiB in float32."""

ACCELERATOR_CELLS = 2**27
"""On other devices. Not yet measured."""

WORDS = 256
"""Words of a block of texts, the padding among them."""


@dataclass(frozen=True)
class Item(Batch):
    """An image by its regions, or a caption by its words, and as a whole.

    fragments: of unit length
    whole:     (items, dim), of unit length
    """

    fragments: Fragments
    whole: Tensor


class RegionEncoder(ReadsRegions[Item]):
    """Regions v = unit(W x + b), and what they are pooled to as the whole.

    slots: how many regions each image must have, for released weights: their pooling has a batch
           norm with a factor and a shift of its own for each region's place. None: no batch norm,
           and any number of regions
    dropout: within the pooling
    """

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        slots: int | None = None,
        dropout: float = 0.4,
        region_drop: float = 0.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(feature_dim, dim, region_drop, standardize)
        self.pooling = Pooling(dim, dropout, slots)

    def forward(self, batch: Regions) -> Item:
        regions = self.unit_regions(batch)
        return Item(regions, self.pooling(regions))


class WordEncoder(ReadsWords[Tokens, Item]):
    """Words of unit length, and what they are pooled to as the whole.

    dropout: within the pooling
    """

    def __init__(self, reader: TextEncoder[Tokens, Fragments], dropout: float = 0.4) -> None:
        super().__init__(reader)
        self.pooling = Pooling(self.dim, dropout)

    def forward(self, batch: Tokens) -> Item:
        words = self.reader(batch)
        return Item(words, self.pooling(words))


class SimilarityAligner(Aligner[Item, Item]):
    """Similarity vectors s(x, y) = unit(W |x - y|^2), and a head that makes one score of them.

    s_j compares a word t_j with what it sees, unit(sum_i a_ij v_i), a_j SCAN's attention with the
    sharpness 9; s_0 compares the wholes, with a W of its own. score = sigmoid(w . head(s) + b).
    Each W has a bias, and the score its sigmoid, as released; the paper's equations have neither.

    head: "sgr", graph reasoning in so many `steps`, or "saf", attention filtration

    Pairs are compared in blocks of bounded size. In training, what a block holds is computed again
    for its gradient.
    """

    pairwise = True

    def __init__(
        self, dim: int = 1024, similarity_dim: int = 256, head: str = "sgr", steps: int = 3
    ) -> None:
        super().__init__()
        check_choice("head", head, HEADS)
        self.local, self.whole = linear(dim, similarity_dim), linear(dim, similarity_dim)
        self.head: nn.Module = (
            GraphReasoning(similarity_dim, steps)
            if head == "sgr"
            else AttentionFiltration(similarity_dim)
        )
        self.score = linear(similarity_dim, 1)

    def forward(self, images: Item, texts: Item) -> Similarity:
        columns, order = [], []
        for rows, parts, block in blocks(images, texts):
            columns.append(torch.cat([recomputed(self._scores, part, block) for part in parts]))
            order.append(rows)
        return Similarity(torch.cat(columns, dim=1)[:, torch.cat(order).argsort()])

    def word_regions(self, images: Item, texts: Item) -> Tensor:
        return dot_products(images.fragments, texts.fragments)

    def _scores(self, images: Item, texts: Item) -> Tensor:
        """Scores of a block: (images, texts)."""
        mask = texts.fragments.mask
        words = texts.fragments.embeddings.flatten(0, 1)  # (texts * words, dim)
        local = self.local((self._seen(images.fragments, words, mask) - words).square())
        whole = self.whole((images.whole[:, None] - texts.whole).square())
        nodes = torch.cat([whole[:, :, None], local.view(len(images), *mask.shape, -1)], dim=2)
        found = in_full(self.head(l2_normalize(nodes), pad(mask, (1, 0), value=True)))
        # Not a call of the layer: under autocast that would round the scores to half precision.
        return ((found * self.score.weight[0]).sum(dim=-1) + self.score.bias).sigmoid()

    @staticmethod
    def _seen(regions: Fragments, words: Tensor, mask: Tensor) -> Tensor:
        """What each word sees in each image: (images, texts * words, dim)."""
        similarity = (words @ regions.embeddings.mT).view(len(regions), *mask.shape, -1)
        weights = attention_weights(similarity, mask, regions.mask[:, None], ATTENTION)
        return l2_normalize(weights.flatten(1, 2).to(words.dtype) @ regions.embeddings)


def blocks(images: Item, texts: Item) -> Iterator[tuple[Tensor, list[Item], Item]]:
    """Texts of about one length, cut to their longest, and the images in parts to go with them.

    Yields the texts' rows, the parts of the images, and the texts. The largest tensor of a block,
    (images, texts, words, dim), has at most `CELLS` numbers.
    """
    mask, dim = texts.fragments.mask, texts.whole.shape[1]
    cells = CELLS if mask.device.type == "cpu" else ACCELERATOR_CELLS
    ascending, order = mask.sum(dim=1).sort(stable=True)
    for place, longest in cuts(ascending.tolist(), WORDS):
        rows = order[place]
        words = Fragments(texts.fragments.embeddings[rows, :longest], mask[rows, :longest])
        size = max(1, cells // (len(rows) * longest * dim))
        yield rows, images.split(size), Item(words, texts.whole[rows])


def recomputed(function: Callable[[Item, Item], Tensor], images: Item, texts: Item) -> Tensor:
    """What the function yields; in training it is computed again for its gradient, not kept."""
    if not torch.is_grad_enabled():
        return function(images, texts)
    scores: Tensor = checkpoint(function, images, texts, use_reentrant=False)
    return scores

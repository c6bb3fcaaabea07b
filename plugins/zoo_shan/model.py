"""SHAN: step-wise hierarchical alignment for image-text matching (Ji, Chen, Wang, IJCAI 2021).

A pair is compared in three steps, each of which goes on from the messages of the one before:

1. local-local    regions and words attend to each other; each fragment's cosine with its message
2. global-local   each fragment is blended with its message by a gate, the blends are pooled into
                  one context vector a side, and that attends to the other side's fragments
3. global-global  each side's context and what it found there are added, and the sums compared

The score is the sum of the steps. No code was released; what the paper leaves open is marked
INFERRED, with our reason, and listed in README.md beside this file.

All of this depends on the pair, so it is computed in a form that is exactly equal but factorised:
cosines with messages come from Gram matrices, gates from halves that each side computes once
(`side.py`), and what is left, a gate for each pair, fragment and dimension, in `gated_pooling.py`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm

from zoo.batch import Fragments, Regions, Tokens
from zoo.encoders.regions import ReadsRegions
from zoo.encoders.words import ReadsWords
from zoo.interfaces import Aligner, Similarity, TextEncoder
from zoo.kernels.attention import Attention, cosine, weigh
from zoo.kernels.products import products
from zoo.ops import dot_products, in_full, masked_mean
from zoo.options import check_choice, check_fraction, check_positive

from .gated_pooling import gated_pooling
from .side import (
    DIRECTIONS,
    LEVELS,
    Side,
    SideProjections,
    blocks_of_lengths,
    by_length,
    check_sides,
)


class RegionEncoder(ReadsRegions[Side]):
    """Regions v = W_v o + b_v (Eq 1), of unit length, and what their alignment needs of them.

    INFERRED: unit length. The sharpness of 15 acts on plain dot products (Eq 3-5), which for long
    vectors would leave the softmax one-hot from the start.

    direction, level, gate: as the text encoder's and the aligner's
    """

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        direction: str = "both",
        level: str = "global_global",
        gate: str = "vector",
        region_drop: float = 0.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(feature_dim, dim, region_drop, standardize)
        self.side = SideProjections(dim, "i2t", direction, level, gate)

    def forward(self, batch: Regions) -> Side:
        side: Side = self.side(self.unit_regions(batch))
        return side


class WordEncoder(ReadsWords[Tokens, Side]):
    """Words of unit length by another encoder (Eq 2), and what their alignment needs of them.

    The paper's reader is a BiGRU whose input is a fixed GloVe vector beside a learned embedding:
    {"type": "bigru", "word_dim": 300, "fixed_dim": 300}. INFERRED: 300 numbers each, since the
    ablation has either alone and the paper says 300 once.

    direction, level, gate: as the image encoder's and the aligner's
    """

    def __init__(
        self,
        reader: TextEncoder[Tokens, Fragments],
        direction: str = "both",
        level: str = "global_global",
        gate: str = "vector",
    ) -> None:
        super().__init__(reader)
        self.side = SideProjections(self.dim, "t2i", direction, level, gate)

    def forward(self, batch: Tokens) -> Side:
        side: Side = self.side(self.reader(batch))
        return side


class Asked(NamedTuple):
    """What comes of one side's asking the other: (items asked, items asking) each.

    local:   mean cosine of the asking fragments with their messages
    context: cosine of their context vector with what it finds on the other side
    whole:   (items asked, items asking, dim), the sum of these two vectors
    """

    local: Tensor | None = None
    context: Tensor | None = None
    whole: Tensor | None = None

    def turned(self) -> Asked:
        """With the asking items first."""
        return Asked(*(None if part is None else part.transpose(0, 1) for part in self))


class StepwiseAligner(Aligner[Side, Side]):
    """S = S_L2L + S_G2L + S_G2G (Eq 16), within [-3, 3].

    L2L = mu1 mean_r cos(v_r, t*_r) + (1 - mu1) mean_w cos(t_w, v*_w)        Eq 3-7
    G2L = mu2 cos(v_c, t*_c) + (1 - mu2) cos(t_c, v*_c)                      Eq 8-13
    G2G = cos(v_c + t*_c, t_c + v*_c)                                        Eq 14-15

    INFERRED: means in L2L. Eq 7 prints sums, the sentence before it says averages, and sums would
    outweigh the other steps and grow with the length of a sentence.

    direction: "both" is SHAN-full; in "i2t" regions alone ask and in "t2i" words alone, the other
               side's whole vector is the mean of its fragments, and mu is 1 or 0
    level:     the last step that is taken
    local_sharpness, global_sharpness: inverse temperatures, lambda = 15 of Eq 4-5 and that of
               Eq 10-11, which have none
    local_share, global_share: mu1 and mu2, the regions' share of a step

    Captions of one length are scored at a time, so that no word is padding.
    """

    pairwise = True

    def __init__(
        self,
        dim: int = 1024,
        direction: str = "both",
        level: str = "global_global",
        local_sharpness: float = 15.0,
        global_sharpness: float = 1.0,
        local_share: float = 0.3,
        global_share: float = 0.5,
    ) -> None:
        super().__init__()
        check_choice("direction", direction, DIRECTIONS)
        check_choice("level", level, LEVELS)
        check_positive("local_sharpness", local_sharpness)
        check_positive("global_sharpness", global_sharpness)
        check_fraction("local_share", local_share)
        check_fraction("global_share", global_share)
        self.attention = Attention(sharpness=local_sharpness)
        self.global_sharpness = global_sharpness
        self.direction, self.level = direction, level
        self.regions_ask, self.words_ask = direction != "t2i", direction != "i2t"
        self.local_share, self.global_share = local_share, global_share
        gated = level != "local_local"
        # INFERRED: no bias, which would cancel in the softmax.
        self.pool_regions = _row(dim) if gated and self.regions_ask else None
        self.pool_words = _row(dim) if gated and self.words_ask else None

    def forward(self, images: Side, texts: Side) -> Similarity:
        check_sides(images, texts, self.direction, self.level)
        with torch.autocast(images.keys.mask.device.type, enabled=False):
            (images,) = blocks_of_lengths(images, [len(images)], [images.keys.mask.shape[1]])
            places, blocks = by_length(texts)
            gram = _gram(images) if self.words_ask else None
            parts = [self._steps(images, gram, block) for block in blocks]
        steps = [torch.cat(step, dim=1)[:, places] for step in zip(*parts, strict=True)]
        return Similarity(torch.stack(steps).sum(dim=0), dict(zip(LEVELS, steps, strict=False)))

    def word_regions(self, images: Side, texts: Side) -> Tensor:
        """What the attention goes by, P Q^T."""
        return dot_products(images.keys, texts.keys)

    def _steps(self, images: Side, gram: Tensor | None, texts: Side) -> list[Tensor]:
        """Each step's part of the score, (images, texts), for texts of one length.

        gram: of the images, if words ask
        """
        affinity = _products(texts.keys, images.keys)
        similarity = _products(texts.fragments, images.fragments)
        regions = words = Asked()
        if self.regions_ask:
            pools = _gram(texts), self.pool_regions
            regions = self._ask(images, texts, affinity, similarity, *pools).turned()
        if gram is not None:
            turned = _turned(affinity), _turned(similarity)
            words = self._ask(texts, images, *turned, gram, self.pool_words)
        steps = [_mixed(self.local_share, regions.local, words.local)]
        if self.level != "local_local":
            steps.append(_mixed(self.global_share, regions.context, words.context))
        if self.level == "global_global":
            image = images.whole[:, None] if images.whole is not None else regions.whole
            text = texts.whole[None] if texts.whole is not None else words.whole
            steps.append(_cosine(image, text))
        return steps

    def _ask(
        self,
        asking: Side,
        asked: Side,
        affinity: Tensor,
        similarity: Tensor,
        gram: Tensor,
        row: Tensor | None,
    ) -> Asked:
        """The messages from each asked item to the fragments that ask, and what is made of them.

        affinity, similarity: (items asked, fragments asked, items asking, fragments asking); so
                              what is added up over the asked adds whole rows, which a CPU does many
                              times faster than a softmax along a short last axis
        gram: of the asked items
        row:  that pools; None: the messages are not blended
        """
        padding = ~asked.keys.mask[:, :, None, None]
        weights = weigh(affinity, padding, self.attention, None, sources_axis=1)
        mixed = (gram @ weights.flatten(2)).view_as(weights)
        cosines = cosine((weights * similarity).sum(dim=1), (weights * mixed).sum(dim=1))
        local = masked_mean(cosines, asking.keys.mask)
        if row is None:
            return Asked(local)
        context = self._context(asking, asked, weights.permute(0, 2, 3, 1), row)
        return Asked(local, *self._find(context, asked, gram))

    def _context(self, asking: Side, asked: Side, weights: Tensor, row: Tensor) -> Tensor:
        """Fragments blended with their messages and pooled: (items asked, items asking, dim).

        weights: (items asked, items asking, fragments asking, fragments asked)
        """
        own, sources = asking.fragments.embeddings, asked.fragments.embeddings
        gates = _embeddings(asking.own_gates), _embeddings(asked.gates)
        inputs = (weights, own, gates[0], sources, gates[1], in_full(row), asking.keys.mask)
        return gated_pooling(*inputs)

    def _find(self, context: Tensor, asked: Side, gram: Tensor) -> tuple[Tensor, Tensor]:
        """The contexts' cosines with what they attend to, and their sums with it."""
        sources, padding = asked.fragments.embeddings, ~asked.keys.mask[:, None]
        length = vector_norm(context, dim=-1, keepdim=True).clamp(min=1e-8)
        similarity = context @ sources.mT / length
        logits = (self.global_sharpness * similarity).masked_fill(padding, -torch.inf)
        shares = logits.softmax(dim=-1)
        square = (shares * (shares @ gram)).sum(dim=-1)
        # For the sum what is found is formed: one vector a pair costs no more than dot products.
        whole = torch.baddbmm(context, shares, sources)
        return cosine((shares * similarity).sum(dim=-1), square), whole


def _row(dim: int) -> nn.Parameter:
    """A row that scores blended fragments for pooling, Xavier uniform."""
    bound = math.sqrt(6 / (1 + dim))
    return nn.Parameter(torch.empty(dim).uniform_(-bound, bound))


def _mixed(share: float, regions: Tensor | None, words: Tensor | None) -> Tensor:
    """Both sides' parts of a step by the regions' share, or the part of the only side that asks."""
    if regions is not None and words is not None:
        return share * regions + (1 - share) * words
    alone = words if regions is None else regions
    assert alone is not None  # one of them asks
    return alone


def _cosine(left: Tensor | None, right: Tensor | None) -> Tensor:
    """Along the last axis, which the result lacks."""
    assert left is not None  # what a step needs was made in the step before
    assert right is not None
    lengths = vector_norm(left, dim=-1) * vector_norm(right, dim=-1)
    cosines: Tensor = (left * right).sum(dim=-1) / lengths.clamp(min=1e-8)
    return cosines


def _embeddings(part: Fragments | None) -> Tensor:
    assert part is not None  # `check_sides` has seen it
    return part.embeddings


def _products(texts: Fragments, images: Fragments) -> Tensor:
    """(texts, words, images, regions)."""
    made = products(texts.embeddings.flatten(0, 1), images.embeddings.flatten(0, 1))
    return made.view(*texts.mask.shape, *images.mask.shape)


def _turned(values: Tensor) -> Tensor:
    """The first two axes changed with the last two, laid out anew."""
    return values.permute(2, 3, 0, 1).contiguous()


def _gram(side: Side) -> Tensor:
    """Dot products of an item's fragments with one another: (items, fragments, fragments).

    Made here, since an item that is encoded beside a larger one would have a larger matrix.
    """
    return side.fragments.embeddings @ side.fragments.embeddings.mT

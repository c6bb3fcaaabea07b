"""An MSSAN-style method, reconstructed from the abstract alone: it is not the authors' model.

Multi-level Symmetric Semantic Alignment Network (Wang, Di, Liu, Gao; Neurocomputing 599, 2024)
compares image and text at three levels: whole with whole; regions with words, by attention both
ways; and through a Multi-granularity Feature Fusion Module (MFFM), which injects global concepts
into local features by an intra-modal distribution of significance. What the abstract says is marked
ABSTRACT, what we filled in INFERRED; README.md beside this file has our reasons.

Both sides are treated alike. The levels of wholes are products of one vector an item, made in the
encoders; only the local level needs work for each pair. Pooling and MFFM are in `zoo_mssan.mffm`,
the loss is in `zoo_mssan.margins`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from zoo.batch import Batch, Fragments, Regions, Tokens
from zoo.encoders.regions import ReadsRegions
from zoo.encoders.words import ReadsWords
from zoo.errors import InputError
from zoo.interfaces import Aligner, Similarity, TextEncoder
from zoo.kernels.soft_alignment import Attention, soft_alignment
from zoo.ops import dot_products, in_full, l2_normalize, masked_mean
from zoo.options import check_choice, check_fraction, check_share

from .mffm import Fusion, Pooling


@dataclass(frozen=True)
class Item(Batch):
    """Images or texts at every level.

    parts: regions or words, of unit length
    whole: (items, dim), of unit length
    fused: (items, n), whose product with the other side's is the fused level
    keys:  the parts projected, where attention has logits of its own
    fixed: (images, features), of unit length: in training, the image as it came, for a loss
    """

    parts: Fragments
    whole: Tensor | None = None
    fused: Tensor | None = None
    keys: Fragments | None = None
    fixed: Tensor | None = None


FUSIONS = ("none", "fused", "cross", "both")


class Levels(nn.Module):
    """From unit fragments to all levels: the same for both sides, with weights of its own.

    whole:  pool the fragments, for the global level and for the fusion
    fusion: what the fused level compares; the abstract leaves it open (INFERRED)
      "fused"  both sides' fused fragments, summed up: cos(m_v, m_t); the most literal reading
      "cross"  one side's fused fragments with the other's whole: half of sum_i a_i cos(f_i, g_t)
               + sum_j a_j cos(f_j, g_v), which is m_v.g_t + g_v.m_t, for f and g are unit vectors
      "both"   the mean of the two
      "none"   there is no such level
    keys:   project the fragments for attention
    image:  which side this is; "cross" needs to know: [m_v; g_v].[g_t; m_t]
    """

    def __init__(
        self, dim: int, whole: bool, fusion: str, keys: bool, dropout: float, *, image: bool
    ) -> None:
        super().__init__()
        check_choice("fusion", fusion, FUSIONS)
        check_share("dropout", dropout)
        if fusion != "none" and not whole:
            raise InputError(
                f"fusion is {fusion!r} and whole is off, but fragments are fused with the whole. "
                'Set whole to true, or fusion to "none".'
            )
        self.pool = Pooling(dim, dropout) if whole else None
        self.fuse = Fusion(dim) if fusion != "none" else None
        self.project = nn.Linear(dim, dim, bias=False) if keys else None
        self.fusion, self.image = fusion, image

    def forward(self, parts: Fragments) -> Item:
        whole = fused = keys = None
        if self.pool is not None:
            whole = self.pool(parts)
            fused = self._fused(self.fuse(parts, whole), whole) if self.fuse is not None else None
        if self.project is not None:
            keys = Fragments(self.project(parts.embeddings), parts.mask)
        return Item(parts, whole, fused, keys)

    def _fused(self, summary: Tensor, whole: Tensor) -> Tensor:
        fused: Tensor = l2_normalize(summary)
        if self.fusion == "fused":
            return fused
        half = math.sqrt(0.5)  # on each side of the product
        cross = half * torch.cat([summary, whole] if self.image else [whole, summary], dim=1)
        return cross if self.fusion == "cross" else half * torch.cat([fused, cross], dim=1)


class RegionEncoder(ReadsRegions[Item]):
    """Regions as unit vectors of the joint space, and the image's levels.

    whole, fusion, keys: see `Levels`; dropout: in the pooling
    fixed: in training, keep the mean of the features as they came (standardised, if the encoder
           does that), for margins that follow a similarity that does not learn
    """

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        region_drop: float = 0.0,
        standardize: bool = False,
        whole: bool = True,
        fusion: str = "fused",
        keys: bool = False,
        dropout: float = 0.4,
        fixed: bool = False,
    ) -> None:
        super().__init__(feature_dim, dim, region_drop, standardize)
        self.levels = Levels(dim, whole, fusion, keys, dropout, image=True)
        self.fixed = fixed

    def forward(self, batch: Regions) -> Item:
        item: Item = self.levels(self.unit_regions(batch))
        return (
            replace(item, fixed=self._as_it_came(batch)) if self.fixed and self.training else item
        )

    def _as_it_came(self, batch: Regions) -> Tensor:
        mean = masked_mean(batch.features.mT, batch.mask[:, None])
        if self.standardize:
            mean = (mean - self.feature_mean) / self.feature_scale
        return l2_normalize(mean)


class WordEncoder(ReadsWords[Tokens, Item]):
    """Words as the reader gives them, and the text's levels; options as in `RegionEncoder`."""

    def __init__(
        self,
        reader: TextEncoder[Tokens, Fragments],
        whole: bool = True,
        fusion: str = "fused",
        keys: bool = False,
        dropout: float = 0.4,
    ) -> None:
        super().__init__(reader)
        self.levels = Levels(reader.dim, whole, fusion, keys, dropout, image=False)

    def forward(self, batch: Tokens) -> Item:
        item: Item = self.levels(self.reader(batch))
        return item


# How words attend to regions, how regions attend to words, and the regions' share of the level:
# SCAN's form (Lee et al., ECCV 2018), and SHAN's (arXiv 2106.06509), which projects its logits.
ATTENTIONS = {
    "scan": (Attention(9.0, leak=0.1, normalize=True), Attention(4.0, leak=0.1, normalize=True)),
    "shan": (Attention(15.0), Attention(15.0)),
}
REGION_SHARES = {"scan": 0.5, "shan": 0.3}


class SymmetricAligner(Aligner[Item, Item]):
    """The weighted sum of the levels: S = w_1 S_global + w_2 S_local + w_3 S_fused.

    S_global = g_v.g_t
    S_local  = share * mean over regions of cos(region, the words that it attends to)
               + (1 - share) * mean over words of cos(word, the regions that it attends to)
    S_fused  as `Levels` says

    ABSTRACT: the three levels, and attention both ways. INFERRED: the forms of attention and the
    unweighted sum, which is SHAN's.

    global_weight, local_weight, fused_weight: a level of weight 0 is not computed
    attention:       "scan" or "shan", which needs `keys` in both encoders
    word_sharpness, region_sharpness: of the attention of words and of regions, if not the preset's
    region_share:    if not the preset's; 0 leaves out the regions' attention, 1 the words'
    """

    pairwise = True

    def __init__(
        self,
        global_weight: float = 1.0,
        local_weight: float = 1.0,
        fused_weight: float = 1.0,
        attention: str = "scan",
        word_sharpness: float | None = None,
        region_sharpness: float | None = None,
        region_share: float | None = None,
    ) -> None:
        super().__init__()
        check_choice("attention", attention, ATTENTIONS)
        weights = {"global": global_weight, "local": local_weight, "fused": fused_weight}
        words, regions = ATTENTIONS[attention]
        self.words_attend = _sharpened(words, word_sharpness)
        self.regions_attend = _sharpened(regions, region_sharpness)
        self.region_share = REGION_SHARES[attention] if region_share is None else region_share
        if min(weights.values()) < 0 or not any(weights.values()):
            raise InputError(f"The weights are {weights}. Use numbers from 0 up, not all 0.")
        check_fraction("region_share", self.region_share)
        self.weights = {level: weight for level, weight in weights.items() if weight}
        self.keyed = attention == "shan"

    def forward(self, images: Item, texts: Item) -> Similarity:
        levels = {
            level: self.local(images, texts) if level == "local" else product(images, texts, level)
            for level in self.weights
        }
        weighted = [self.weights[level] * scores for level, scores in levels.items()]
        return Similarity(torch.stack(weighted).sum(dim=0), levels)

    def vectors(self, items: Item) -> Tensor:
        """One vector an item, (items, n): the products of images' and texts' are S - w_2 S_local.

        A first stage can find candidates by them and lose none: S_local is at most 1, so S is at
        most the product + w_2. Who scores candidates by falling product may stop once that sum is
        below the k-th best S found.
        """
        used = [level for level in self.weights if level != "local"]
        scaled = [math.sqrt(self.weights[level]) * one_vector(items, level) for level in used]
        return torch.cat([items.parts.embeddings.new_zeros(len(items), 0), *scaled], dim=1)

    def local(self, images: Item, texts: Item) -> Tensor:
        """The local level: (images, texts)."""
        share, both = self.region_share, []
        if share < 1:
            words = self._attend(texts, images, self.words_attend)  # (i, t, w)
            both.append((1 - share) * masked_mean(words, texts.parts.mask))
        if share > 0:
            regions = self._attend(images, texts, self.regions_attend)  # (t, i, r)
            both.append(share * masked_mean(regions, images.parts.mask).T)
        return torch.stack(both).sum(dim=0)

    def word_regions(self, images: Item, texts: Item) -> Tensor:
        return dot_products(images.parts, texts.parts)

    def _attend(self, queries: Item, sources: Item, attention: Attention) -> Tensor:
        logits = (_keys(queries), _keys(sources)) if self.keyed else None
        return soft_alignment(queries.parts, sources.parts, attention, logits=logits)


def product(images: Item, texts: Item, level: str) -> Tensor:
    """A level that compares one vector an item: (images, texts)."""
    ours, theirs = one_vector(images, level), one_vector(texts, level)
    if ours.shape[1] != theirs.shape[1]:
        raise InputError(
            f"The {level} level has {ours.shape[1]} numbers an image and {theirs.shape[1]} a text. "
            "Give both encoders the same dim and the same fusion."
        )
    with torch.autocast(ours.device.type, enabled=False):  # rounded scores would rank otherwise
        return ours @ theirs.T


def one_vector(items: Item, level: str) -> Tensor:
    """What a level that is a product compares: (items, n)."""
    vectors, option = {"global": (items.whole, "whole"), "fused": (items.fused, "fusion")}[level]
    if vectors is None:
        raise InputError(
            f"The aligner compares the {level} level, and these encodings lack it. "
            f"Set {option} in both encoders, or {level}_weight to 0 in the aligner."
        )
    return in_full(vectors)


def _keys(items: Item) -> Fragments:
    if items.keys is None:
        raise InputError(
            'attention is "shan", which projects its logits, and these encodings have no keys. '
            "Set keys to true in both encoders."
        )
    return items.keys


def _sharpened(attention: Attention, sharpness: float | None) -> Attention:
    return attention if sharpness is None else replace(attention, sharpness=sharpness)

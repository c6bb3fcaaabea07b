"""CHAN: fine-grained image-text matching by cross-modal hard aligning (Pan et al., CVPR 2023).

Scoring a caption against an image is coding, then pooling: each word is compared with the regions
as with a codebook and gets one code, and the codes become one score. Attention codes softly and
lets irrelevant regions in; CHAN assigns each word hard, to its single best region. No parameter is
learned between the two sides, so each is encoded once.

The words come from an encoder that the zoo shares: BiGRU (`zoo.encoders.bigru`) or BERT
(`zoo.encoders.bert`). README.md beside this file lists where we depart from paper and released
code; the departures are also marked where they are made.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from zoo.batch import Fragments, Regions
from zoo.encoders.regions import ReadsRegions, unit_fragments
from zoo.interfaces import Aligner, Scan, Similarity
from zoo.kernels.choice import uses_triton
from zoo.kernels.hard_alignment import (
    hard_alignment,
    listed_hard_alignment,
    rounded_hard_alignment,
)
from zoo.kernels.packing import Codes
from zoo.kernels.rounding import Rounded
from zoo.kernels.soft_alignment import Attention, soft_alignment
from zoo.ops import dot_products
from zoo.options import check_choice, check_positive

from .bounds import pooled_errors

CONTEXTS = ("basic", "self_attention")


class SelfAttention(nn.Module):
    """Regions in the light of the image's other regions: H + MHA(LayerNorm(H)).

    Padding is masked as a key. The released code does not mask it, so there a region that was
    dropped in training still takes part as a zero vector, and an image would encode differently
    beside a larger one; where all regions are real, as in its evaluation, nothing changes.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        seen = self.norm(hidden)
        change, _ = self.attention(seen, seen, seen, key_padding_mask=~mask, need_weights=False)
        return hidden + change  # type: ignore[no-any-return]


class RegionEncoder(ReadsRegions[Fragments]):
    """Region features as unit vectors of the joint space: v = h / (||h|| + 1e-8), h = W x + b.

    context:      "basic" (the BERT models) ends there; "self_attention" (the BiGRU models) puts
                  `SelfAttention` between projection and normalisation
    region_drop:  0.2 in the paper's recipes (the released code can drop all regions; ours keeps
                  at least one)
    """

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        context: str = "basic",
        heads: int = 8,
        region_drop: float = 0.0,
        standardize: bool = False,
    ) -> None:
        super().__init__(feature_dim, dim, region_drop, standardize)
        check_choice("context", context, CONTEXTS)
        self.context = SelfAttention(dim, heads) if context == "self_attention" else None

    def forward(self, batch: Regions) -> Fragments:
        hidden = self.projected(batch)
        if self.context is not None:
            hidden = self.context(hidden, batch.mask)
        return unit_fragments(hidden, batch.mask)


class HardAligner(Aligner[Fragments, Fragments]):
    """Coding, then pooling. The paper's choice is "vha" with "lse" or, with BERT, "mean".

    coding: which codes an image and a text are given; s is the dot product of region and word
      "vha"  visual hard assignment: a code a word, c_w = max_r s_rw
      "tha"  textual hard assignment: a code a region, c_r = max_w s_rw
      "vsa"  visual soft assignment: a code a region, its cosine with the words that it attends to,
             weighted by softmax_w(s_rw / coding_temperature); not the soft twin of "vha"
    pooling: how the codes become one score
      "lse"      log sum exp(c / temperature), as released. The paper has a factor in front,
                 (1 / lambda) log sum exp(lambda c) with lambda = 1 / temperature: the same order,
                 but a margin m on our score is temperature * m on the paper's
      "mean", "sum", "max"
      "softmax"  sum softmax(c / temperature) c

    Padding is known by its mask. The released code knows it by the value -1, which a real code can
    have, and its softmax pooling is NaN where there is padding.
    """

    pairwise = True

    def __init__(
        self,
        coding: str = "vha",
        pooling: str = "lse",
        temperature: float = 0.1,
        coding_temperature: float = 0.1,
    ) -> None:
        super().__init__()
        check_choice("coding", coding, CODINGS)
        check_choice("pooling", pooling, POOLINGS)
        check_positive("temperature", temperature)
        check_positive("coding_temperature", coding_temperature)
        self.coding, self.pooling = coding, pooling
        self.temperature, self.coding_temperature = temperature, coding_temperature

    def forward(self, images: Fragments, texts: Fragments) -> Similarity:
        codes = CODINGS[self.coding](images, texts, self.coding_temperature)
        scores = codes.pool_in_double(self._pool)
        return Similarity(scores.T if self.coding in BY_TEXT else scores)

    def score_pairs(self, images: Fragments, texts: Fragments, rows: Tensor) -> Similarity:
        if self.coding == "vsa":
            return super().score_pairs(images, texts, rows)
        sides = (images, texts, rows) if self.coding == "tha" else (texts, images, rows.flip(1))
        return Similarity(listed_hard_alignment(*sides).pool_in_double(self._pool)[0])

    def blocks_at_once(self, device: torch.device) -> int:
        # Kernels that store codes alone: a block of 128 images would leave most of a GPU idle.
        return 16 if self.coding != "vsa" and uses_triton(device) else 1

    @property
    def scans(self) -> bool:
        return self.coding != "vsa"

    def rounded(self, encoded: Fragments) -> Rounded:
        return Rounded.of(encoded)

    def scan(self, images: Rounded, texts: Rounded) -> Scan:
        sides = (images, texts) if self.coding == "tha" else (texts, images)
        codes, errors = rounded_hard_alignment(*sides)
        scores = codes.pool(self._pool)
        bounds = pooled_errors(self.pooling, codes, errors, self.temperature)
        return Scan(scores.T, bounds.T) if self.coding == "tha" else Scan(scores, bounds)

    def word_regions(self, images: Fragments, texts: Fragments) -> Tensor:
        return dot_products(images, texts)

    def _pool(self, codes: Tensor) -> Tensor:
        return POOLINGS[self.pooling](codes, self.temperature)


def visual_hard(images: Fragments, texts: Fragments, _: float) -> Codes:
    """Each word's best region: of every image, a code for each word."""
    return hard_alignment(texts, images)


def textual_hard(images: Fragments, texts: Fragments, _: float) -> Codes:
    """Each region's best word: of every text, a code for each region."""
    return hard_alignment(images, texts)


def visual_soft(images: Fragments, texts: Fragments, temperature: float) -> Codes:
    """Each region's attended words: of every text, a code for each region."""
    codes = soft_alignment(images, texts, Attention(sharpness=1 / temperature))
    return Codes.of(codes, images.mask)


CODINGS: dict[str, Callable[[Fragments, Fragments, float], Codes]] = {
    "vha": visual_hard,
    "tha": textual_hard,
    "vsa": visual_soft,
}
BY_TEXT = ("tha", "vsa")


def log_sum_exp(codes: Tensor, temperature: float) -> Tensor:
    """A smooth maximum that also counts how many codes are high."""
    return (codes / temperature).logsumexp(dim=1)


def softmax_mean(codes: Tensor, temperature: float) -> Tensor:
    """The mean in which high codes weigh more."""
    return ((codes / temperature).softmax(dim=1) * codes).sum(dim=1)


# Each makes one score of the codes along axis 1, all of which are real.
POOLINGS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "lse": log_sum_exp,
    "mean": lambda codes, _: codes.mean(dim=1),
    "sum": lambda codes, _: codes.sum(dim=1),
    "max": lambda codes, _: codes.amax(dim=1),
    "softmax": softmax_mean,
}

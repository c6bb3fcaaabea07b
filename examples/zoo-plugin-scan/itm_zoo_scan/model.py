"""SCAN: stacked cross attention for image-text matching (Lee et al., ECCV 2018).

Each fragment of one side looks at the fragments of the other and is compared with what it sees;
the comparisons become one score. No parameter is learned between the two sides, so each is encoded
once: regions by `zoo.encoders.regions`, words by `zoo.encoders.bigru`. README.md says where we
depart from paper and released code.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.batch import Fragments
from zoo.interfaces import Aligner, Similarity
from zoo.kernels.soft_alignment import Attention, soft_alignment
from zoo.ops import dot_products, masked_mean
from zoo.options import check_choice, check_positive

DIRECTIONS = ("t2i", "i2t")


class StackedAttention(Aligner[Fragments, Fragments]):
    """A score is pooled from R(x_q, a_q), of each query fragment x_q with what it attends to.

    s_kq = x_q . y_k, the cosine of a query with a source fragment (equation 1)
    s'_kq = f(s_kq) / sqrt(sum_q f(s_kq)^2), over the queries of the item
    a_q = sum_k softmax_k(sharpness * s'_kq) y_k (equations 2 and 3)
    R(x_q, a_q) = x_q . a_q / (|x_q| |a_q|) (equation 4)
    "lse":  S = log(sum_q exp(pooling_sharpness * R)) / pooling_sharpness (equation 5)
    "mean": S = sum_q R / queries (equation 6)

    direction: "t2i", words attend to regions (equations 8 to 10); "i2t", regions to words
    pooling:   "mean" or "lse"
    leak:      f(s) is s where positive, leak * s elsewhere; the paper has 0, released code 0.1

    >>> StackedAttention("i2t", sharpness=4).attention.sharpness
    4
    """

    def __init__(
        self,
        direction: str = "t2i",
        pooling: str = "mean",
        sharpness: float = 9.0,
        pooling_sharpness: float = 6.0,
        leak: float = 0.1,
    ) -> None:
        super().__init__()
        check_choice("direction", direction, DIRECTIONS)
        check_choice("pooling", pooling, POOLINGS)
        check_positive("pooling_sharpness", pooling_sharpness)
        self.direction, self.pooling = direction, pooling
        self.attention = Attention(sharpness, leak=leak, normalize=True)
        self.pooling_sharpness = pooling_sharpness

    def forward(self, images: Fragments, texts: Fragments) -> Similarity:
        queries, sources = (texts, images) if self.direction == "t2i" else (images, texts)
        relevance = soft_alignment(queries, sources, self.attention)
        scores = POOLINGS[self.pooling](relevance, queries.mask, self.pooling_sharpness)
        return Similarity(scores if self.direction == "t2i" else scores.T)

    def word_regions(self, images: Fragments, texts: Fragments) -> Tensor:
        return dot_products(images, texts)


def log_sum_exp(relevance: Tensor, mask: Tensor, sharpness: float) -> Tensor:
    """A smooth maximum over the queries; padding has the relevance -inf."""
    del mask
    return torch.logsumexp(sharpness * relevance, dim=-1) / sharpness


def mean(relevance: Tensor, mask: Tensor, sharpness: float) -> Tensor:
    """The mean over the real queries."""
    del sharpness
    return masked_mean(relevance, mask)


POOLINGS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"mean": mean, "lse": log_sum_exp}

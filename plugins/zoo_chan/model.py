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

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.batch import Fragments, Regions
from zoo.errors import InputError
from zoo.interfaces import Aligner, ImageEncoder, Noise, Similarity
from zoo.kernels.hard_alignment import hard_alignment
from zoo.kernels.soft_alignment import soft_alignment
from zoo.ops import l2_normalize, masked_mean, pad
from zoo.options import check_choice, check_positive, check_share

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


class RegionEncoder(ImageEncoder[Fragments]):
    """Region features as unit vectors of the joint space: v = h / (||h|| + 1e-8), h = W x + b.

    context:      "basic" (the BERT models) ends there; "self_attention" (the BiGRU models) puts
                  `SelfAttention` between projection and normalisation
    region_drop:  share of the regions that noise leaves out, 0.2 in the paper's recipes; at least
                  one always stays (the released code can drop them all)
    standardize:  ours, for features of very unequal channels: x is first brought to mean 0 and
                  scale 1 in each channel, by buffers that `fit` fills and that are saved with the
                  weights
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        context: str = "basic",
        heads: int = 8,
        region_drop: float = 0.0,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        check_choice("context", context, CONTEXTS)
        check_share("region_drop", region_drop)
        self.feature_dim, self.region_drop, self.standardize = feature_dim, region_drop, standardize
        self.project = nn.Linear(feature_dim, dim)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.context = SelfAttention(dim, heads) if context == "self_attention" else None
        if standardize:
            self.register_buffer("feature_mean", torch.zeros(feature_dim))
            self.register_buffer("feature_scale", torch.ones(feature_dim))

    def prepare(self, items: Any, noise: Noise | None = None) -> Regions:
        """From `Regions`, an array (images, regions, dim), or a list of arrays (regions, dim).

        Raises `InputError`, naming the image, for no regions, another dim, and NaN or infinity.
        """
        regions = items if isinstance(items, Regions) else Regions(*pad(self._rows(items)))
        self._check(regions)
        if noise is None or not self.region_drop:
            return regions
        return _drop(regions, self.region_drop, noise)

    def forward(self, batch: Regions) -> Fragments:
        features = batch.features.to(self.project.weight.dtype)
        if self.standardize:
            features = (features - self.feature_mean) / self.feature_scale
        hidden = self.project(features)
        if self.context is not None:
            hidden = self.context(hidden, batch.mask)
        return Fragments(l2_normalize(hidden).masked_fill(~batch.mask[..., None], 0), batch.mask)

    @torch.no_grad()
    def fit(self, batches: Iterable[Regions]) -> None:
        """Measure mean and scale of each feature channel over the real regions of a train split.

        The scale is the standard deviation plus a twentieth of the mean one, so that a channel
        that is almost always 0 is not blown up. Without `standardize`, reads nothing.
        """
        if not self.standardize:
            return
        count = 0
        total = squares = torch.zeros((), dtype=torch.float64)
        for batch in batches:
            real = batch.features[batch.mask].double().cpu()
            count += len(real)
            total, squares = total + real.sum(dim=0), squares + real.square().sum(dim=0)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
        self.feature_mean.copy_(mean)
        self.feature_scale.copy_(deviation + 0.05 * deviation.mean())

    def _rows(self, items: Any) -> list[Tensor]:
        rows = [_as_features(position, item) for position, item in enumerate(items)]
        for position, row in enumerate(rows):
            if row.ndim != 2 or row.shape[1] != self.feature_dim:
                raise InputError(
                    f"Image {position} has features of shape {tuple(row.shape)} where (regions, "
                    f"{self.feature_dim}) is wanted. {self._remedy}"
                )
        if not rows:
            raise InputError("There are no images to encode. Give at least one.")
        return rows

    def _check(self, regions: Regions) -> None:
        if regions.features.ndim != 3 or regions.features.shape[2] != self.feature_dim:
            raise InputError(
                f"The features have the shape {tuple(regions.features.shape)} where (images, "
                f"regions, {self.feature_dim}) is wanted. {self._remedy}"
            )
        if regions.mask.dtype != torch.bool or regions.mask.shape != regions.features.shape[:2]:
            raise InputError(
                f"The mask is {tuple(regions.mask.shape)} of {regions.mask.dtype} where "
                f"{tuple(regions.features.shape[:2])} of torch.bool is wanted. "
                "Give True for each region that is real."
            )
        empty = ~regions.mask.any(dim=1)
        if empty.any():
            raise InputError(
                f"Image {_first(empty)} has no regions. Leave it out, or extract its features anew."
            )
        broken = ~regions.features.isfinite().flatten(1).all(dim=1)
        if broken.any():
            raise InputError(
                f"The features of image {_first(broken)} hold NaN or infinity. "
                "Extract them anew, or leave the image out."
            )

    @property
    def _remedy(self) -> str:
        return "Pass features of the kind that this model was trained with (`zoo info NAME`)."


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
        codes, mask = CODINGS[self.coding](images, texts, self.coding_temperature)
        return Similarity(POOLINGS[self.pooling](codes, mask, self.temperature))

    def word_regions(self, images: Fragments, texts: Fragments) -> Tensor:
        similarity = torch.einsum("twd,ird->itwr", texts.embeddings, images.embeddings)
        real = texts.mask[None, :, :, None] & images.mask[:, None, None, :]
        return similarity.masked_fill(~real, -torch.inf)


def visual_hard(images: Fragments, texts: Fragments, _: float) -> tuple[Tensor, Tensor]:
    """Each word's best region: (images, texts, words), and the mask of real words."""
    return hard_alignment(texts, images), texts.mask[None]


def textual_hard(images: Fragments, texts: Fragments, _: float) -> tuple[Tensor, Tensor]:
    """Each region's best word: (images, texts, regions), and the mask of real regions."""
    return hard_alignment(images, texts).transpose(0, 1), images.mask[:, None]


def visual_soft(images: Fragments, texts: Fragments, temperature: float) -> tuple[Tensor, Tensor]:
    """Each region's attended words: (images, texts, regions), and the mask of real regions."""
    return soft_alignment(images, texts, temperature).transpose(0, 1), images.mask[:, None]


CODINGS: dict[str, Callable[[Fragments, Fragments, float], tuple[Tensor, Tensor]]] = {
    "vha": visual_hard,
    "tha": textual_hard,
    "vsa": visual_soft,
}


def log_sum_exp(codes: Tensor, _: Tensor, temperature: float) -> Tensor:
    """A smooth maximum that also counts how many codes are high: (images, texts)."""
    return (codes / temperature).logsumexp(dim=-1)


def softmax_mean(codes: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """The mean in which high codes weigh more: (images, texts)."""
    weights = (codes / temperature).softmax(dim=-1)
    return (weights * codes.masked_fill(~mask, 0)).sum(dim=-1)


# Codes are -inf where there is padding: nothing to a maximum and an exponential, 0 to a sum.
POOLINGS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "lse": log_sum_exp,
    "mean": lambda codes, mask, _: masked_mean(codes, mask),
    "sum": lambda codes, mask, _: codes.masked_fill(~mask, 0).sum(dim=-1),
    "max": lambda codes, _mask, _: codes.amax(dim=-1),
    "softmax": softmax_mean,
}


def _drop(regions: Regions, share: float, noise: Sequence[np.random.Generator]) -> Regions:
    """Leave out a share of each image's regions, but never all, and close the gaps."""
    keep = torch.zeros_like(regions.mask)
    for row, generator in enumerate(noise):
        real = regions.mask[row].nonzero()[:, 0]
        kept = generator.random(len(real)) >= share
        if not kept.any():
            kept[generator.integers(len(real))] = True
        keep[row, real[torch.from_numpy(kept)]] = True
    order = (~keep).byte().argsort(dim=1, stable=True)[:, : int(keep.sum(dim=1).max())]
    rows = torch.arange(len(keep))[:, None]
    boxes = None if regions.boxes is None else regions.boxes[rows, order]
    return Regions(regions.features[rows, order], keep[rows, order], boxes, regions.sizes)


def _as_features(position: int, item: Any) -> Tensor:
    if isinstance(item, Tensor):
        return item.float()
    try:
        return torch.from_numpy(np.array(item, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Image {position} is a {type(item).__name__}, which is no array of region features. "
            "Pass arrays of numbers, (regions, dim) for each image."
        ) from error


def _first(flags: Tensor) -> int:
    return int(flags.nonzero()[0, 0])

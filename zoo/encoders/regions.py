"""Regions as unit vectors of the joint space."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..batch import Fragments, Regions
from ..errors import InputError
from ..interfaces import EncodedT, ImageEncoder, Noise
from ..ops import l2_normalize, linear, pad
from ..options import check_share


class ReadsRegions(ImageEncoder[EncodedT], ABC):
    """What every image encoder does with region features: check, augment, standardise, project.

    A method that goes on from unit regions (with context, a vector for the whole image, ...)
    extends this and writes `forward`.

    region_drop:  share of the regions that noise leaves out; at least one always stays
    standardize:  ours, for features of very unequal channels: they are first brought to mean 0 and
                  scale 1 in each channel, by buffers that `fit` fills and that are saved with the
                  weights
    """

    feature_mean: Tensor
    feature_scale: Tensor

    def __init__(
        self,
        feature_dim: int = 2048,
        dim: int = 1024,
        region_drop: float = 0.0,
        standardize: bool = False,
    ) -> None:
        super().__init__()
        check_share("region_drop", region_drop)
        self.feature_dim, self.region_drop, self.standardize = feature_dim, region_drop, standardize
        self.project = linear(feature_dim, dim)
        if standardize:
            self.register_buffer("feature_mean", torch.zeros(feature_dim))
            self.register_buffer("feature_scale", torch.ones(feature_dim))

    def projected(self, batch: Regions) -> Tensor:
        """Regions in the joint space, h = W x + b: (images, regions, dim)."""
        features = batch.features.to(self.project.weight.dtype)
        if self.standardize:
            features = (features - self.feature_mean) / self.feature_scale
        hidden: Tensor = self.project(features)
        return hidden

    def unit_regions(self, batch: Regions) -> Fragments:
        """Regions of unit length, h / (||h|| + 1e-8), 0 at padding."""
        return unit_fragments(self.projected(batch), batch.mask)

    def prepare(self, items: Any, noise: Noise | None = None) -> Regions:
        """From `Regions`, an array (images, regions, dim), or a list of arrays (regions, dim).

        Padding between regions is moved behind them. Raises `InputError`, naming the image, for no
        regions, another dim, and NaN or infinity.
        """
        regions = items if isinstance(items, Regions) else Regions(*pad(self._rows(items)))
        self._check(regions)
        if (regions.mask[:, 1:] & ~regions.mask[:, :-1]).any():
            regions = _keep(regions, regions.mask)
        if noise is None or not self.region_drop:
            return regions
        return _drop(regions, self.region_drop, noise)

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


class RegionEncoder(ReadsRegions[Fragments]):
    """Region features as unit vectors of the joint space: v = h / (||h|| + 1e-8), h = W x + b."""

    def forward(self, batch: Regions) -> Fragments:
        return self.unit_regions(batch)


def unit_fragments(hidden: Tensor, mask: Tensor) -> Fragments:
    """Fragments of unit length, 0 at padding."""
    return Fragments(l2_normalize(hidden).masked_fill(~mask[..., None], 0), mask)


def _drop(regions: Regions, share: float, noise: Sequence[np.random.Generator]) -> Regions:
    """Leave out a share of each image's regions, but never all."""
    keep = torch.zeros_like(regions.mask)
    for row, generator in enumerate(noise):
        real = regions.mask[row].nonzero()[:, 0]
        kept = generator.random(len(real)) >= share
        if not kept.any():
            kept[generator.integers(len(real))] = True
        keep[row, real[torch.from_numpy(kept)]] = True
    return _keep(regions, keep)


def _keep(regions: Regions, keep: Tensor) -> Regions:
    """Some of each image's regions, in their order and without gaps."""
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

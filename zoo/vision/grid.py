"""Regions without a detector: a pyramid of overlapping cells on a backbone's feature map."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..batch import Photos, Regions
from ..errors import InputError
from ..interfaces import Extractor, Noise
from .mobilenet import CHANNELS, MobileNetEdgeTPU, convert
from .photos import read_photo

BACKBONES = ("mobilenet_edgetpu_075",)
PIXELS_A_CELL = 32
CELLS_A_WINDOW = 3

Window = tuple[float, float, float, float]
Sized = tuple[Image.Image, tuple[int, int]]


@final
class GridExtractor(Extractor):
    """36 regions of a photograph: windows of 3 x 3 cells, bands of 3, and the whole picture.

    The photograph is squashed to a square of `size` pixels, and the backbone makes a map of 7 x 7
    cells of it (for 224 pixels). Each axis has six intervals, five windows of three cells and the
    whole axis; the regions are all pairs of a vertical and a horizontal interval, from the top
    left, the whole picture last. A region's features are the mean of its cells, as the backbone
    made them: scaling belongs to the image encoder.

    With noise, a part of the picture is shown, of an area drawn evenly from `crop_scale` (as a
    share of the picture), and mirrored with probability `flip`. Boxes still tell where in the
    original picture the content of a region lies.

    `trainable_from` is the backbone's first stage that learns; None keeps all of it fixed.
    """

    def __init__(
        self,
        backbone: str = "mobilenet_edgetpu_075",
        size: int = 224,
        trainable_from: str | None = None,
        flip: float = 0.5,
        crop_scale: Sequence[float] = (0.6, 1.0),
    ) -> None:
        super().__init__()
        _check(backbone, size, flip, crop_scale)
        self.size, self.flip, self.crop_scale = size, flip, tuple(crop_scale)
        self.backbone = MobileNetEdgeTPU(trainable_from)
        intervals = _intervals(size // PIXELS_A_CELL)
        self.regions, self.dim = len(intervals) ** 2, CHANNELS
        self.pooling: Tensor
        self.shares: Tensor
        self.register_buffer("pooling", _pooling(intervals), persistent=False)
        self.register_buffer("shares", _shares(intervals), persistent=False)

    def extra_repr(self) -> str:
        """The settings that features depend on."""
        return f"size={self.size}"

    def load_initial(self, path: Path) -> None:
        """Take the backbone's published weights. Raises `WeightsError` if it is another file."""
        self.backbone.load_state_dict(convert(path))

    def prepare(self, items: Any, noise: Noise | None = None) -> Photos:
        """Read photographs (paths or PIL images) as squares of pixels.

        Noise takes five numbers from each generator, whatever the picture.
        """
        photos = [read_photo(item) for item in items]
        sizes = torch.tensor([size for _, size in photos]).reshape(-1, 2)
        if noise is None:
            return Photos(self._pixels(photos, [(0, 0, *size) for _, size in photos]), sizes)
        windows = [
            self._window(size, generator)
            for (_, size), generator in zip(photos, noise, strict=True)
        ]
        return Photos(self._pixels(photos, windows), sizes, torch.tensor(windows))

    def forward(self, batch: Photos) -> Regions:
        """Photographs to regions: features (images, 36, 1280), with boxes."""
        maps = self.backbone(batch.pixels)
        means = self.pooling @ maps @ self.pooling.T  # (images, dim, vertical, horizontal)
        features = means.flatten(2).transpose(1, 2).float()
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        return Regions(features, mask, self._boxes(batch), batch.sizes)

    def _window(self, size: tuple[int, int], generator: np.random.Generator) -> Window:
        """A random part of the picture, x1 > x2 if mirrored: about as wide as high, in shares."""
        area, shape, left, top, mirror = generator.random(5)
        low, high = self.crop_scale
        area = low + (high - low) * area
        width, height = area ** (0.25 + shape / 2), area ** (0.75 - shape / 2)
        x1, y1 = left * (1 - width), top * (1 - height)
        x2, y2 = min(x1 + width, 1.0), min(y1 + height, 1.0)
        if mirror < self.flip:
            x1, x2 = x2, x1
        return x1 * size[0], y1 * size[1], x2 * size[0], y2 * size[1]

    def _pixels(self, photos: Sequence[Sized], windows: Sequence[Window]) -> Tensor:
        squares = np.empty((len(photos), self.size, self.size, 3), np.uint8)
        for square, (photo, size), (x1, y1, x2, y2) in zip(squares, photos, windows, strict=True):
            across, down = photo.width / size[0], photo.height / size[1]  # 1 unless it was reduced
            right, below = min(max(x1, x2) * across, photo.width), min(y2 * down, photo.height)
            part = (min(x1, x2) * across, y1 * down, right, below)
            shown = photo.resize((self.size, self.size), Image.Resampling.BILINEAR, part)
            square[:] = np.asarray(shown)[:, :: 1 if x1 < x2 else -1]
        return torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous()

    def _boxes(self, batch: Photos) -> Tensor:
        """Where the regions lie in the original pictures, in pixels: (images, regions, 4)."""
        windows = batch.windows
        if windows is None:
            windows = torch.cat([torch.zeros_like(batch.sizes), batch.sizes], 1)
        corners = windows.float().reshape(-1, 1, 2, 2)  # (images, 1, corner, axis)
        points = corners[:, :, :1] + self.shares * (corners[:, :, 1:] - corners[:, :, :1])
        return torch.cat([points.amin(2), points.amax(2)], 2)


def _intervals(cells: int) -> Tensor:
    """The first cell of each interval of an axis, and the one after its last: (intervals, 2)."""
    windows = [(first, first + CELLS_A_WINDOW) for first in range(cells - CELLS_A_WINDOW + 1)]
    return torch.tensor([*windows, (0, cells)])


def _pooling(intervals: Tensor) -> Tensor:
    """Weights that make means of cells: (intervals, cells)."""
    cell = torch.arange(int(intervals.max()))
    inside = (intervals[:, :1] <= cell) & (cell < intervals[:, 1:])
    return inside / inside.sum(1, keepdim=True)


def _shares(intervals: Tensor) -> Tensor:
    """Corners of every region as shares of the square: (regions, 2 corners, 2 axes)."""
    ends = intervals / intervals.max()
    count = len(ends)
    across, down = ends.repeat(count, 1), ends.repeat_interleave(count, 0)
    return torch.stack([across, down], 2)


def _check(backbone: str, size: int, flip: float, crop_scale: Sequence[float]) -> None:
    if backbone not in BACKBONES:
        raise InputError(
            f"The grid extractor knows no backbone {backbone!r}. Choose one of {BACKBONES}."
        )
    if size % PIXELS_A_CELL or size <= PIXELS_A_CELL * CELLS_A_WINDOW:
        raise InputError(
            f"The grid extractor cannot cut {size} pixels into cells. "
            f"Choose a multiple of {PIXELS_A_CELL} above {PIXELS_A_CELL * CELLS_A_WINDOW}."
        )
    if not 0 <= flip <= 1:
        raise InputError(f"flip is a probability and cannot be {flip}. Give one from 0 to 1.")
    if len(crop_scale) != 2 or not 0 < crop_scale[0] <= crop_scale[1] <= 1:
        raise InputError(
            f"crop_scale is {crop_scale}, not two shares of a picture. "
            "Give the least and the greatest area, such as [0.6, 1.0]."
        )

"""How a pretrained network wants its pictures, as its preprocessor_config.json says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError

LEAST = 32
Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Preprocessing:
    """Pictures of which size, and which numbers for their colours: (value * scale - mean) / std.

    square:   width and height that every picture is squashed to, or None
    edges:    where there is no `square`: the shorter side, and how long the longer may be at most
    resample: Pillow's number of the filter
    """

    square: Size | None
    edges: Size | None
    resample: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Preprocessing:
        """From the values of a preprocessor_config.json.

        Where it crops the middle, the whole picture is squashed to the size of the crop instead:
        what lies at the border would be lost to retrieval. Raises `InputError` where it does not
        tell a size, or which mean and deviation colours have.
        """
        square, edges = _sizes(values)
        resample = int(values.get("resample", Image.Resampling.BILINEAR))
        scale = float(values.get("rescale_factor", 1 / 255)) if _asked(values, "rescale") else 1.0
        if not _asked(values, "normalize"):
            return cls(square, edges, resample, scale, (0.0,) * 3, (1.0,) * 3)
        try:
            mean, std = (tuple(map(float, values[key])) for key in ("image_mean", "image_std"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"preprocessor_config.json does not give colours a mean and a deviation ({error!r})"
                ". Add image_mean and image_std, three numbers each."
            ) from error
        return cls(square, edges, resample, scale, mean, std)

    def size(self, width: int, height: int) -> Size:
        """Which size a picture of that size gets.

        A picture that is very long keeps `LEAST` pixels across, which it would not by the
        configuration alone: networks fail on less than a patch.
        """
        if self.square is not None:
            return self.square
        assert self.edges is not None  # one of the two is there
        short, long = min(width, height), max(width, height)
        shorter = min(float(self.edges[0]), self.edges[1] * short / long)
        resized = max(round(shorter), LEAST), max(int(shorter * long / short), LEAST)
        return resized if width <= height else resized[::-1]

    def pixels(self, photo: Image.Image, size: Size) -> Tensor:
        """A picture, that was of `size` when it was opened, as uint8: (3, height, width)."""
        shown = photo.resize(self.size(*size), Image.Resampling(self.resample))
        return torch.from_numpy(np.array(shown)).permute(2, 0, 1)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Pixels as the numbers that the network reads: (n, 3, height, width)."""
        mean, std = (
            pixels.new_tensor(three, dtype=torch.float32) for three in (self.mean, self.std)
        )
        return (pixels * self.scale - mean[:, None, None]) / std[:, None, None]


def _asked(values: Mapping[str, Any], what: str) -> bool:
    return bool(values.get(f"do_{what}", True))


def _sizes(values: Mapping[str, Any]) -> tuple[Size | None, Size | None]:
    """A size for all pictures, or else the limits of their edges."""
    cropped = values.get("do_center_crop") and values.get("crop_size") is not None
    size = values.get("crop_size" if cropped else "size")
    longest = values.get("max_size")  # beside a plain number, in older files
    if isinstance(size, int):
        size = {"shortest_edge": size, **({"longest_edge": longest} if longest else {})}
    match size:
        case {"height": int(height), "width": int(width)}:
            return (width, height), None
        case {"shortest_edge": int(shortest), "longest_edge": int(longest)}:
            return None, (shortest, longest)
        case {"shortest_edge": int(edge)}:
            return (edge, edge), None
    raise InputError(
        f"preprocessor_config.json gives pictures the size {size!r}, which is not understood. "
        "Give it a height and a width, or a shortest_edge and a longest_edge."
    )

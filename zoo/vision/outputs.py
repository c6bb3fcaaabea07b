"""Regions from what a network puts out: cells of its feature map, or the objects it detects.

Boxes are shares of the picture's width and height: x1 y1 x2 y2 from 0 to 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

MOST_SPECIAL_TOKENS = 16


def cells(maps: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Means over side x side cells of a map (n, dim, height, width), rows from the top.

    (n, cells, dim), and boxes (cells, 4). Where a side does not divide the map, cells overlap.
    """
    means = torch.nn.functional.adaptive_avg_pool2d(maps, side)
    down, across = (_bins(size, side).to(maps) for size in maps.shape[2:])
    corners = [
        torch.stack([across[:, end].repeat(side), down[:, end].repeat_interleave(side)], 1)
        for end in (0, 1)
    ]
    return means.flatten(2).transpose(1, 2), torch.cat(corners, 1)


def as_map(tokens: Tensor, height: int, width: int, patch: int) -> Tensor:
    """Patch tokens (n, tokens, dim) of pictures of that size as a map (n, dim, rows, columns).

    Special tokens (class, registers) stand before the patches. A hierarchical network has none,
    and merges patches by two in each direction at a time. Raises `InputError` where neither fits.
    """
    special = tokens.shape[1] - (height // patch) * (width // patch)
    if not 0 <= special <= MOST_SPECIAL_TOKENS:
        special = 0
        while (height // patch) * (width // patch) > tokens.shape[1]:
            patch *= 2
    rows, columns = height // patch, width // patch
    if special + rows * columns == tokens.shape[1]:
        return tokens[:, special:].transpose(1, 2).reshape(len(tokens), -1, rows, columns)
    raise InputError(
        f"{tokens.shape[1]} tokens do not tile a picture of {width} x {height} pixels. "
        "Choose a backbone with square patches, or one that gives a feature map."
    )


def objects(
    states: Tensor, logits: Tensor, boxes: Tensor, classes: int, count: int
) -> tuple[Tensor, Tensor]:
    """States (n, count, dim) and boxes (n, count, 4) of the most certain queries, best first.

    states:  (n, tokens, dim); the queries are the last of them
    logits:  (n, queries, classes), or one more where the last means that there is no object
    boxes:   (n, queries, 4), middle and size
    classes: that are objects
    """
    queries = logits.shape[1]
    nothing = logits.shape[2] > classes
    chances = logits.softmax(2)[..., :classes] if nothing else logits.sigmoid()
    best = chances.amax(2).topk(min(count, queries), 1).indices[..., None]
    found = boxes.take_along_dim(best, 1)
    middle, half = found[..., :2], found[..., 2:] / 2
    corners = torch.cat([middle - half, middle + half], 2).clamp(0, 1)
    return states[:, -queries:].take_along_dim(best, 1), corners


def _bins(size: int, side: int) -> Tensor:
    """First and last end of each of `side` cells of an axis, as shares: (side, 2)."""
    cell = torch.arange(side)
    return torch.stack([cell * size // side, -(-(cell + 1) * size // side)], 1) / size

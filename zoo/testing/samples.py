"""Small inputs that are hard all the same: ragged lengths, one region, one word, zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..batch import Batch, Fragments, Regions, Tokens
from ..data.vocabulary import Vocabulary
from ..interfaces import Pairs
from ..ops import pad

BatchT = TypeVar("BatchT", bound=Batch)

CAPTIONS = [
    "a dog runs",
    "two children play in the cold water of a lake",
    "grass",
    "a man rides a red bicycle past the dog",
    "the black dog jumps",
]
"""The third is one word."""
OTHERS = [
    "a dog runs",
    "a lake of cold water in the two play children",
    "dog",
    "the dog a past red bicycle rides man a",
    "jumps the black dog",
]
"""The first as it is; the rest other captions of as many words."""
REGIONS = (3, 6, 1, 4)
"""Of each image."""
PIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GARBAGE = 1e3
"""What stands at padding where it must not matter."""
SMALL_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}


def text_files() -> dict[str, str]:
    """A vocabulary of the captions for either reader, as a model's folder has it."""
    words = sorted({word for caption in CAPTIONS for word in caption.split()})
    return {
        "vocab.json": Vocabulary.build(CAPTIONS, 1).to_json(),
        "vocab.txt": "\n".join([*PIECES, *words]) + "\n",
    }


def sample_images(feature_dim: int, seed: int = 0) -> Regions:
    """Four images of one to six regions, with boxes that overlap and sizes; the same for a seed."""
    random = torch.Generator().manual_seed(seed)
    rows = [torch.randn(regions, feature_dim, generator=random) for regions in REGIONS]
    features, mask = pad(rows)
    corners = 50 * torch.rand(*mask.shape, 2, generator=random)
    boxes = torch.cat([corners, corners + 100], dim=-1)
    return Regions(features, mask, boxes, torch.full((len(mask), 2), 200.0))


def sample_pairs() -> Pairs:
    """Which of them belong together: caption i with image i, and the last caption with the first
    image too.
    """
    texts = torch.arange(len(CAPTIONS))
    owners = texts % len(REGIONS)
    images = torch.arange(len(REGIONS))
    return Pairs(images, texts, images[:, None] == owners)


def one_image(images: Regions, row: int) -> Regions:
    """One image, cut to its real regions."""
    real = int(images.mask[row].sum())
    boxes = None if images.boxes is None else images.boxes[row : row + 1, :real]
    sizes = None if images.sizes is None else images.sizes[row : row + 1]
    some = slice(row, row + 1)
    return Regions(images.features[some, :real], images.mask[some, :real], boxes, sizes)


def spoiled(batch: BatchT) -> BatchT:
    """The same items with garbage at padding, in the records that have a mask."""
    masked = isinstance(batch, Fragments | Regions | Tokens)
    values: dict[str, Any] = {}
    for field in fields(batch):
        value = getattr(batch, field.name)
        if isinstance(value, Batch):
            value = spoiled(value)
        elif masked and field.name in ("embeddings", "features", "boxes", "ids", "places"):
            value = None if value is None else _fill(value, batch.mask)  # type: ignore[attr-defined]
        values[field.name] = value
    return type(batch)(**values)


def _fill(values: Tensor, mask: Tensor) -> Tensor:
    """Garbage where the mask is False: a large number, or for ids and places the first of all."""
    kept = mask.reshape(*mask.shape, *(1,) * (values.ndim - 2))
    return values.masked_fill(~kept, GARBAGE if values.is_floating_point() else 1)


def cut(batch: BatchT, to: Batch) -> BatchT:
    """The batch with each tensor cut to the shape that it has in another one.

    An item alone has no padding, so its shapes are those of its real part.
    """
    values: dict[str, Any] = {}
    for field in fields(batch):
        value, other = getattr(batch, field.name), getattr(to, field.name)
        if isinstance(value, Batch):
            value = cut(value, other)
        elif isinstance(value, Tensor):
            value = value[tuple(slice(size) for size in other.shape)]
        values[field.name] = value
    return type(batch)(**values)


def distance(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> tuple[str, float]:
    """The tensor that differs most, and by how much; 0 where all are equal up to rounding."""
    worst = ("", 0.0)
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            return name, torch.inf
        ours, theirs = found[name].double(), tensor.double()
        off = (ours - theirs).abs().masked_fill(ours == theirs, 0).nan_to_num(nan=torch.inf)
        beyond = off > 1e-5 + 2e-6 * theirs.abs()
        if beyond.any() and off.max().item() > worst[1]:
            worst = (name, off.max().item())
    return worst

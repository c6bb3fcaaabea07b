"""Records of tensors that share their first axis.

Everything that moves between the parts of a model is a `Batch`: what an encoder reads, what it
returns, and what an aligner compares. Code that moves, splits, joins or stores batches is written
here once and never looks inside one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import torch
from torch import Tensor

from .errors import InputError


@dataclass(frozen=True)
class Batch:
    """Items of one modality. Each field is a tensor, a batch, or None, with one row an item."""

    def __post_init__(self) -> None:
        rows = {name: len(value) for name, value in self._fields()}
        if len(set(rows.values())) > 1:
            raise InputError(
                f"{type(self).__name__} has fields of different lengths: {rows}. "
                "Give every field one row for each item."
            )

    def __len__(self) -> int:
        return len(next(value for _, value in self._fields()))

    def to(self, device: torch.device | str) -> Self:
        """The same items on another device; the CPU has them when this returns."""
        away = torch.device(device).type != "cpu"
        return self._map(lambda tensor: tensor.to(device, non_blocking=away))

    def pin_memory(self) -> Self:
        """The same items in page-locked memory; a data loader calls this by its name."""
        return self._map(lambda tensor: tensor.pin_memory())

    def split(self, size: int | list[int]) -> list[Self]:
        """Consecutive batches of at most `size` items, or of these sizes, as views.

        By `torch.split`, whose gradient is one tensor; that of a slice has the size of the whole.
        """
        sizes = size if isinstance(size, list) else _sizes(len(self), size)
        parts = {name: value.split(sizes) for name, value in self._fields()}
        empty: dict[str, Any] = {field.name: None for field in fields(self)}
        return [
            type(self)(**empty | {name: blocks[number] for name, blocks in parts.items()})
            for number in range(len(sizes))
        ]

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """Some of the items: a slice (a view), or a tensor of row numbers."""
        return self._map(lambda tensor: tensor[rows])

    @classmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        """Consecutive blocks as one batch, shorter ones padded with zeros (masks with False)."""
        first = blocks[0]
        values: dict[str, Any] = {field.name: None for field in fields(cls)}
        for name, value in first._fields():
            column = [getattr(block, name) for block in blocks]
            values[name] = type(value).join(column) if isinstance(value, Batch) else _stack(column)
        return cls(**values)

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """Every tensor by its dotted path: the form in which a batch is saved."""
        flat: dict[str, Tensor] = {}
        for name, value in self._fields():
            if isinstance(value, Batch):
                flat |= value.tensors(f"{prefix}{name}.")
            else:
                flat[prefix + name] = value
        return flat

    def _fields(self) -> Iterator[tuple[str, Tensor | Batch]]:
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ((name, value) for name, value in named if value is not None)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        values: dict[str, Any] = {field.name: None for field in fields(self)}
        for name, value in self._fields():
            values[name] = value._map(change) if isinstance(value, Batch) else change(value)
        return type(self)(**values)


def _sizes(count: int, most: int) -> list[int]:
    return [min(most, count - start) for start in range(0, count, most)]


def _stack(blocks: Sequence[Tensor]) -> Tensor:
    longest = [max(block.shape[axis] for block in blocks) for axis in range(1, blocks[0].ndim)]
    padded = []
    for block in blocks:
        missing = [size - have for size, have in zip(longest, block.shape[1:], strict=True)]
        widths = [width for size in reversed(missing) for width in (0, size)]
        padded.append(torch.nn.functional.pad(block, widths) if any(missing) else block)
    return torch.cat(padded)


@dataclass(frozen=True)
class Fragments(Batch):
    """The encoded parts of each item: regions of an image, words or phrases of a text.

    embeddings: (items, fragments, dim)
    mask:       (items, fragments), True where the fragment is real and not padding; the real ones
                come first
    """

    embeddings: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Regions(Batch):
    """Images as region features: what an extractor yields and an image encoder reads.

    features: (images, regions, dim)
    mask:     (images, regions), True where the region is real and not padding
    boxes:    (images, regions, 4), x1 y1 x2 y2 in pixels of the original picture, or None
    sizes:    (images, 2), width and height of the original picture in pixels, or None
    """

    features: Tensor
    mask: Tensor
    boxes: Tensor | None = None
    sizes: Tensor | None = None


@dataclass(frozen=True)
class Photos(Batch):
    """Decoded photographs, all of one size: what an extractor reads.

    pixels:  (images, 3, height, width), uint8 RGB
    sizes:   (images, 2), width and height of the original picture in pixels
    windows: (images, 4), x1 y1 x2 y2 of the part that is shown, in pixels of the original picture,
             x1 > x2 where it is mirrored; None if all of every picture is shown
    """

    pixels: Tensor
    sizes: Tensor
    windows: Tensor | None = None


@dataclass(frozen=True)
class Tokens(Batch):
    """Texts as token ids: what a text encoder reads.

    ids:    (texts, words), 0 where padded
    mask:   (texts, words), True where there is a token
    places: (texts, words), which word of its caption each token was, where noise left some out;
            None if all are there
    """

    ids: Tensor
    mask: Tensor
    places: Tensor | None = None

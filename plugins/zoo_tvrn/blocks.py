"""Pairs in blocks of bounded size, and tensors that are computed again for their gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zoo.batch import Batch, Fragments
from zoo.kernels.packing import cuts

CELLS = 2**21
"""Numbers in the largest tensor of a block of pairs on a CPU: 8 MiB in float32."""

ACCELERATOR_CELLS = 2**27
"""On other devices. Not yet measured."""

WORDS = 256
"""Words of a block of texts, the padding among them."""

BatchT = TypeVar("BatchT", bound=Batch)
ItemsT = TypeVar("ItemsT", bound=Batch)
ResultT = TypeVar("ResultT")


def blocks(
    images: ItemsT, texts: BatchT, lengths: Tensor, dim: int
) -> Iterator[tuple[Tensor, list[ItemsT], BatchT]]:
    """Texts of about one length, cut to their longest, and the images in parts to go with them.

    lengths: (texts,), how many words each has
    Yields the texts' rows, the parts of the images, and the texts. With both sides' words doubled
    the largest tensor of a block, (images, texts, 2 words, dim), has at most `CELLS` numbers.
    """
    cells = CELLS if lengths.device.type == "cpu" else ACCELERATOR_CELLS
    ascending, order = lengths.sort(stable=True)
    for place, longest in cuts(ascending.tolist(), WORDS):
        rows = order[place]
        size = max(1, cells // (2 * len(rows) * longest * dim))
        yield rows, images.split(size), cut(texts[rows], longest)


def recomputed(function: Callable[..., ResultT], *inputs: Any) -> ResultT:
    """What the function yields; in training it is computed again for its gradient, not kept."""
    if not torch.is_grad_enabled():
        return function(*inputs)
    result: ResultT = checkpoint(function, *inputs, use_reentrant=False)
    return result


def cut(batch: BatchT, longest: int) -> BatchT:
    """The same items with at most so many fragments."""
    if isinstance(batch, Fragments):
        return replace(
            batch, embeddings=batch.embeddings[:, :longest], mask=batch.mask[:, :longest]
        )
    parts = {name: part for name, part in vars(batch).items() if isinstance(part, Batch)}
    return replace(batch, **{name: cut(part, longest) for name, part in parts.items()})

"""Batches on the device before they are asked for, and how long was waited for them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from .data import TrainingBatch


class Feed:
    """The batches of a loader, on the device.

    On CUDA the next batch is copied, from page-locked memory and in a stream of its own, while the
    present one is computed.
    """

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader, self.device = loader, device
        # What the Runner and its hooks ask a loader for.
        self.dataset, self.sampler = loader.dataset, loader.sampler
        self.batch_size = loader.batch_size
        self._waited, self._since = 0.0, time.monotonic()

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[TrainingBatch]:
        self.wait_share()
        if self.device.type == "cuda":
            return self._ahead(torch.cuda.Stream(self.device))  # type: ignore[no-untyped-call]
        return self._timed()

    def wait_share(self) -> float:
        """Of the time since this was asked last, the share in which no batch was there."""
        now = time.monotonic()
        share = self._waited / max(now - self._since, 1e-9)
        self._waited, self._since = 0.0, now
        return min(share, 1.0)

    def _timed(self) -> Iterator[TrainingBatch]:
        batches = iter(self.loader)
        while True:
            began = time.monotonic()
            batch = next(batches, None)
            self._waited += time.monotonic() - began
            if batch is None:
                return
            yield batch

    def _ahead(self, stream: torch.cuda.Stream) -> Iterator[TrainingBatch]:
        coming = None
        for batch in self._timed():
            with torch.cuda.stream(stream):
                copied = batch.to(self.device)
            if coming is not None:
                yield _arrived(coming, stream)
            coming = copied
        if coming is not None:
            yield _arrived(coming, stream)


def _arrived(batch: TrainingBatch, stream: torch.cuda.Stream) -> TrainingBatch:
    """The batch, for the present stream to use once the other one has copied it."""
    present = torch.cuda.current_stream(stream.device)
    present.wait_stream(stream)
    parts = [*batch.images.tensors().values(), *batch.texts.tensors().values()]
    for tensor in (*parts, *vars(batch.pairs).values()):
        tensor.record_stream(present)  # its memory is not the other stream's to give away
    return batch

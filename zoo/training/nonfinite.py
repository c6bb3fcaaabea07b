"""A loss or a gradient that is not finite: the run stops, or leaves the batch out and counts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..data.dataset import Dataset
from ..errors import DataError
from .data import TrainingBatch
from .engine import Hook, ZooRunner

NAMED = 8
"""How many images, and captions, of the batch an error names; the log has all."""


class NotFiniteError(Exception):
    """What of a step is not finite, and which number it is; nothing has been updated."""

    def __init__(self, what: str, found: float) -> None:
        super().__init__(f"the {what} is {found}")
        self.what, self.found = what, found


class NonFiniteHook(Hook):  # type: ignore[misc]
    """Knows the batch that is trained on, and answers where its numbers are not finite.

    With `action` "stop" that is a `DataError`; with "skip" the batch is left out, `most` times in a
    run: nothing learns from it, and what it changed in passing (the statistics of batch norms) is
    set back. `write` gets a line for the log.
    """

    priority = "VERY_HIGH"

    def __init__(
        self,
        action: str,
        most: int,
        module: nn.Module,
        dataset: Dataset,
        write: Callable[..., None],
        warn: Callable[[str], None],
    ) -> None:
        self.action, self.most, self.module = action, most, module
        self.dataset, self.write, self.warn = dataset, write, warn
        self.skipped = 0
        self.epoch = self.iteration = 0
        self.rows = torch.tensor([]), torch.tensor([])
        self.before: list[Tensor] = []

    def before_train_iter(
        self, runner: ZooRunner, batch_idx: int, data_batch: TrainingBatch | None = None
    ) -> None:
        """Note which batch comes, and what it may change without an update."""
        del batch_idx
        assert data_batch is not None
        self.epoch, self.iteration = runner.epoch + 1, runner.iter + 1
        pairs = data_batch.pairs
        self.rows = pairs.image_ids, pairs.text_ids
        if self.action == "skip":
            self.before = [buffer.clone() for buffer in self.module.buffers()]

    def answer(self, fault: NotFiniteError) -> None:
        """Put things back, where batches are skipped; else raise `DataError`."""
        images, captions = (rows.tolist() for rows in self.rows)
        ids = [str(self.dataset.image_ids[row]) for row in images]
        skips = self.action == "skip" and self.skipped < self.most
        self.write(
            kind="nonfinite",
            what=fault.what,
            value=str(fault.found),
            epoch=self.epoch,
            iteration=self.iteration,
            images=ids,
            captions=captions,
            action="skip" if skips else "stop",
        )
        where = (
            f"The {fault.what} is {fault.found} at iteration {self.iteration} of epoch "
            f"{self.epoch} (images {_some(ids)}; captions {_some(captions)})"
        )
        if not skips:
            raise DataError(
                f"{where}{self._spent()}, so training stopped before it could spoil the weights. "
                "Lower the learning rate or the gradient clip (--set "
                "optim_wrapper.optimizer.lr=...), look for broken features of these images, or "
                "leave such batches out (--resume loose --set nonfinite="
                f"{{'action': 'skip', 'most': {2 * self.most}}})."
            )
        self.skipped += 1
        with torch.no_grad():
            for buffer, before in zip(self.module.buffers(), self.before, strict=True):
                buffer.copy_(before)
        self.warn(f"{where}; the batch is left out ({self.skipped} of at most {self.most})")

    def _spent(self) -> str:
        return f", after {self.skipped} batches that were left out" if self.skipped else ""


def _some(names: Sequence[Any]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(str, names[:NAMED])) + more

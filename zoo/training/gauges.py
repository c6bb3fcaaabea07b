"""What a run measures of itself in passing: pairs a second, memory, and the parts of its loss."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from ..interfaces import Loss
from .data import TrainingBatch
from .engine import Hook, ZooRunner


class Gauges(Hook):  # type: ignore[misc]
    """Counts between two lines of the log; `read` tells and begins anew."""

    priority = "LOWEST"

    def __init__(self, loss: Loss, device: torch.device) -> None:
        self.device, self.loss = device, loss
        self.pairs, self.seconds = 0, 0.0
        self.since = time.monotonic()
        self.values: defaultdict[str, list[Tensor]] = defaultdict(list)

    def before_train(self, runner: ZooRunner) -> None:
        """Listen to what the parts of the loss return."""
        del runner
        for name, part in loss_parts(self.loss).items():
            part.register_forward_hook(self._keeper(name))

    def before_train_epoch(self, runner: ZooRunner) -> None:
        """What went before, a measurement for one, is no training."""
        del runner
        self.since = time.monotonic()

    def before_train_iter(
        self, runner: ZooRunner, batch_idx: int, data_batch: TrainingBatch | None = None
    ) -> None:
        """Count the captions of the batch, each with its image."""
        del runner, batch_idx
        assert data_batch is not None
        self.pairs += len(data_batch.pairs.text_ids)

    def after_train_iter(
        self, runner: ZooRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Count its time, with that of a checkpoint."""
        del runner, batch_idx, data_batch, outputs
        self._count()

    def read(self) -> dict[str, Any]:
        """Figures since the last time, for a line of the log."""
        self._count()
        seconds, self.seconds = self.seconds, 0.0
        pairs, self.pairs = self.pairs, 0
        parts = {name: _mean(values) for name, values in self.values.items()}
        self.values.clear()
        learned = {
            name: round(one.item(), 6)
            for name, one in self.loss.named_parameters()
            if one.numel() == 1 and one.requires_grad
        }
        told = {"parts": parts, "learned": learned}
        return {
            "pairs_per_second": round(pairs / max(seconds, 1e-9), 1),
            "memory": peak_memory(self.device),
            **{key: values for key, values in told.items() if values},
        }

    def _count(self) -> None:
        now = time.monotonic()
        self.seconds, self.since = self.seconds + now - self.since, now

    def _keeper(self, name: str) -> Any:
        def keep(_: nn.Module, __: Any, value: Tensor) -> None:
            self.values[name].append(value.detach())

        return keep


def loss_parts(loss: Loss) -> dict[str, Loss]:
    """The losses that a loss is made of, by a name that tells them apart.

    >>> from zoo.losses import MixedLoss
    >>> sorted(loss_parts(MixedLoss([{"type": "triplet"}, {"type": "contrastive"}])))
    ['contrastive', 'triplet']
    """
    parts: dict[str, Loss] = {}
    for part in loss.modules():
        if isinstance(part, Loss) and part is not loss:
            name = type(part).__name__.removesuffix("Loss").lower()
            parts[f"{name}{len(parts)}" if name in parts else name] = part
    return parts


def peak_memory(device: torch.device) -> int:
    """The most bytes so far: of tensors on an accelerator, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack([one.float() for one in values]).mean())

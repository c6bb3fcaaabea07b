"""A model and its loss in training, some of it in low precision."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..errors import DataError, InputError
from ..interfaces import Loss
from ..model import MatchingModel
from ..spelling import nearest
from .data import TrainingBatch
from .engine import OptimWrapper
from .optimizer import diverged


class TrainedPair(nn.Module):
    """A model and its loss: what the Runner steps. The loss may have parameters of its own."""

    def __init__(self, model: MatchingModel, loss: Loss, autocast: Sequence[str] = ()) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.low_precision = [_submodule(model, name) for name in autocast]

    def forward(self, batch: TrainingBatch) -> Tensor:
        """The loss of a batch: a scalar."""
        needed = partial(self.loss.needed, pairs=batch.pairs) if self.loss.selects else None
        with autocast(self.low_precision, self.model.device.type):
            similarity = self.model(batch.images, batch.texts, needed)
        levels = {name: level.float() for name, level in similarity.levels.items()}
        scores = similarity.scores.float()
        return self.loss(replace(similarity, scores=scores, levels=levels), batch.pairs)

    def train_step(self, batch: TrainingBatch, optim_wrapper: OptimWrapper) -> dict[str, float]:
        """One update of the weights. Raises `DataError` when the loss is not finite."""
        value = self(batch.to(self.model.device))
        loss = value.item()
        if not math.isfinite(loss):
            raise DataError(diverged("loss", loss, optim_wrapper.inner_count))
        optim_wrapper.update_params(value)
        return {"loss": loss}


@contextmanager
def autocast(modules: Sequence[nn.Module], device: str) -> Iterator[None]:
    """Run these modules in bfloat16 where it is safe, and return float32 from each.

    `device` is the type of device that they are on.
    """
    handles: list[Any] = []
    contexts: list[Any] = []

    def enter(module: nn.Module, *_: Any) -> None:
        del module
        contexts.append(torch.autocast(device, torch.bfloat16))
        contexts[-1].__enter__()

    def leave(module: nn.Module, inputs: Any, output: Any) -> Any:
        del module, inputs
        contexts.pop().__exit__(None, None, None)
        return _in_float32(output)

    for module in modules:
        handles.append(module.register_forward_pre_hook(enter))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_float32(value: Any) -> Any:
    """The floating point tensors in what a module returned, in float32."""
    if isinstance(value, Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, Batch):
        parts = {field.name: _in_float32(getattr(value, field.name)) for field in fields(value)}
        return replace(value, **parts)
    if isinstance(value, tuple):
        items = [_in_float32(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    return value


def _submodule(model: MatchingModel, name: str) -> nn.Module:
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name not in modules:
        raise InputError(f"autocast names {name!r}, no part of the model. {nearest(name, modules)}")
    return modules[name]

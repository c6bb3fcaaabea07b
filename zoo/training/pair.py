"""A model and its loss in training, some of it in low precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..errors import InputError
from ..interfaces import Loss
from ..model import MatchingModel
from ..processes import Processes
from ..scoring.two_pass import selection
from ..spelling import nearest
from .comparing import Comparison
from .data import TrainingBatch
from .engine import OptimWrapper
from .gathering import ALONE, sum_gradients, summed
from .nonfinite import NotFiniteError
from .shards import is_shared


class TrainedPair(nn.Module):
    """A model and its loss: what the Runner steps. The loss may have parameters of its own.

    processes:  those who train it together
    autocast:   parts of the model that compute in `dtype`, by name; "all" of it
    gather:     whether they divide one batch, so that negatives come from all of them; if not,
                each has a batch of its own, and the loss is the mean of theirs
    accumulate: in how many pieces a process goes through its share, for want of memory
    """

    def __init__(
        self,
        model: MatchingModel,
        loss: Loss,
        autocast: Sequence[str] = (),
        *,
        dtype: torch.dtype = torch.bfloat16,
        processes: Processes = ALONE,
        gather: bool = True,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.low_precision, self.dtype = _parts(model, autocast), dtype
        self.processes, self.gather = processes, gather
        among = processes if gather else ALONE
        self.compare = Comparison(model, accumulate, among, self._precision, processes)
        self.answer: Callable[[NotFiniteError], None] = _raise
        self.lowered = False

    def forward(self, batch: TrainingBatch) -> Tensor:
        """The loss of a batch: a scalar."""
        similarity = self.compare(batch, selection(self.loss, batch.pairs))
        levels = {name: level.float() for name, level in similarity.levels.items()}
        scores = similarity.scores.float()
        return self.loss(replace(similarity, scores=scores, levels=levels), batch.pairs)

    def train_step(self, batch: TrainingBatch, optim_wrapper: OptimWrapper) -> dict[str, float]:
        """One update of the weights, or none where a number is not finite: see `answer`."""
        try:
            loss = self._learn(batch, optim_wrapper)
        except NotFiniteError as fault:
            self.answer(fault)
            loss = math.nan
        optim_wrapper.zero_grad()
        return {"loss": loss, "overflows": optim_wrapper.overflows}

    def _learn(self, batch: TrainingBatch, optim_wrapper: OptimWrapper) -> float:
        value = self(batch.to(self.model.device)) / self.processes.count
        loss = self._of_all(value)
        if not math.isfinite(loss):
            raise NotFiniteError("loss", loss)
        optim_wrapper.backward(value)
        if self.processes.count > 1:
            sum_gradients(one for one in self.parameters() if not is_shared(one))
        optim_wrapper.step()
        return loss

    def _of_all(self, value: Tensor) -> float:
        """The loss of the step, of which each has a part; where they gather, an equal one."""
        if self.gather or self.processes.count == 1:
            return value.item() * self.processes.count
        return summed(value.detach()).item()

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Low precision, entered once: a comparison asks for it, and each piece within it."""
        if self.lowered:
            yield
            return
        # What a first pass through a piece has cast, a second one would not cast again.
        once, kind = self.compare.pieces == 1, self.model.device.type
        self.lowered = True
        try:
            with autocast(self.low_precision, kind, self.dtype, remember=once):
                yield
        finally:
            self.lowered = False


def _raise(fault: NotFiniteError) -> None:
    raise fault


@contextmanager
def autocast(
    modules: Sequence[nn.Module],
    device: str,
    dtype: torch.dtype = torch.bfloat16,
    *,
    remember: bool = True,
) -> Iterator[None]:
    """Run these modules in low precision where it is safe, and return float32 from each.

    `device` is the type of device that they are on; `remember` keeps weights that were cast.
    """
    handles: list[Any] = []
    contexts: list[Any] = []

    def enter(module: nn.Module, *_: Any) -> None:
        del module
        contexts.append(torch.autocast(device, dtype, cache_enabled=remember))
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


def _parts(model: MatchingModel, names: Sequence[str]) -> list[nn.Module]:
    if names == "all":
        return list(model.children())
    return [_submodule(model, name) for name in names]


def _submodule(model: MatchingModel, name: str) -> nn.Module:
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name not in modules:
        raise InputError(f"autocast names {name!r}, no part of the model. {nearest(name, modules)}")
    return modules[name]

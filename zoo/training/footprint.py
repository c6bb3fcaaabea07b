"""How much memory a training step takes: counted where that can be, else estimated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from .data import TrainingBatch
from .pair import TrainedPair
from .samples import Sample

if TYPE_CHECKING:
    from .run import Run

SIZES = (8, 16, 32)
"""Items of the small batches from which a large one is estimated."""
HOW = (
    "Weights, gradients, optimiser and average are counted. Activations are what the forward pass "
    "keeps for the backward pass, {how}; the peak of a step is somewhat higher, for what lives "
    "shortly is not in it."
)


@dataclass(frozen=True)
class Footprint:
    """Bytes of a step.

    activations: the batch, and what the forward pass keeps for the backward pass
    """

    weights: int
    gradients: int
    optimizer: int
    average: int
    activations: int
    how: str

    @property
    def total(self) -> int:
        """All together."""
        return self.weights + self.gradients + self.optimizer + self.average + self.activations

    def to_json(self) -> dict[str, Any]:
        """As plain values, with the total."""
        return asdict(self) | {"total": self.total}


def footprint(
    run: Run, samples: Sequence[Sample], collate: Callable[[Sequence[Sample]], TrainingBatch]
) -> Footprint:
    """The memory of a step of a run on a batch of these samples. The model learns from some."""
    pair, optimizer = run.pair, run.runner.optim_wrapper.optimizer
    pieces = run.recipe["accumulate"]
    activations, how = _activations(pair, samples, collate, pieces)
    learned = [one for group in optimizer.param_groups for one in group["params"]]
    for parameter in learned:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = [one for values in optimizer.state.values() for one in values.values()]
    return Footprint(
        weights=_bytes([*pair.parameters(), *pair.buffers()]),
        gradients=_bytes(learned),
        optimizer=_bytes(one for one in state if isinstance(one, Tensor)),
        average=_bytes(run.average.tensors.values()) if run.average else 0,
        activations=activations,
        how=HOW.format(how=how),
    )


def _activations(
    pair: TrainedPair,
    samples: Sequence[Sample],
    collate: Callable[[Sequence[Sample]], TrainingBatch],
    pieces: int,
) -> tuple[int, str]:
    """Bytes for the whole batch, or for a piece of it, and how they were found.

    What is of items grows with the batch, what is of pairs with its square: three small batches
    tell both, and what is of neither.
    """
    pair.compare.pieces = 1
    whole = len(samples)
    if whole <= SIZES[-1] and pieces == 1:
        return kept_bytes(pair, collate(samples)), "counted in a step on real data"
    sizes = [size for size in SIZES if size <= whole] or [whole]
    kept = [kept_bytes(pair, collate(samples[:size])) for size in sizes]
    powers = range(len(sizes))
    terms = np.linalg.solve([[size**power for power in powers] for size in sizes], kept)
    share = whole / pieces
    told = f"estimated from steps of {', '.join(map(str, sizes))} items of real data"
    if pieces > 1:
        told += f", for one of {pieces} pieces"
    return round(sum(term * share**power for power, term in enumerate(terms))), told


def kept_bytes(pair: TrainedPair, batch: TrainingBatch) -> int:
    """What a forward pass keeps beside the weights, each storage once, and the batch itself."""
    batch = batch.to(pair.model.device)
    own = {_place(one) for one in (*pair.parameters(), *pair.buffers())}
    kept = {_place(one): one.untyped_storage().nbytes() for one in _tensors(batch)}

    def keep(tensor: Tensor) -> Tensor:
        if _place(tensor) not in own:
            kept[_place(tensor)] = tensor.untyped_storage().nbytes()
        return tensor

    pair.train()
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = pair(batch)
    size = sum(kept.values())
    del loss  # until here what it kept is alive, and no two have one place
    return size


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if not is_dataclass(value):
        return []
    return [one for field in fields(value) for one in _tensors(getattr(value, field.name))]


def _bytes(tensors: Iterable[Tensor | nn.Parameter]) -> int:
    return sum(one.nbytes for one in tensors)

"""How much memory a training step takes: counted where that can be, else estimated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from .data import TrainingBatch
from .pair import TrainedPair
from .run import Run
from .samples import Sample
from .sharding import divided

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
    run: Run,
    samples: Sequence[Sample],
    collate: Callable[[Sequence[Sample]], TrainingBatch],
    processes: int = 1,
    strategy: Mapping[str, Any] | None = None,
) -> Footprint:
    """The memory of a step of a run on a batch of these samples, for one of so many processes.

    The model learns from some.
    """
    pair, optimizer = run.pair, run.runner.optim_wrapper.optimizer
    activations, how = _activations(pair, samples, collate, run.recipe["accumulate"], processes)
    learned = [one for group in optimizer.param_groups for one in group["params"]]
    for parameter in learned:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    shares = Shares(run, processes, strategy)
    names = dict(run.model.named_parameters())
    mean = run.average.tensors if run.average else {}
    return Footprint(
        weights=shares.at_once(pair.parameters()) + _bytes(pair.buffers()),
        gradients=shares.of_layer(learned),
        optimizer=sum(
            shares.held(one, of=parameter if one.ndim else None)
            for parameter, values in optimizer.state.items()
            for one in values.values()
            if isinstance(one, Tensor)
        ),
        average=sum(shares.held(one, of=names.get(name)) for name, one in mean.items()),
        activations=activations,
        how=HOW.format(how=how) + (shares.how if shares.groups else ""),
    )


class Shares:
    """What of a run's weights each process has where a strategy divides them."""

    how = (
        " The encoders' weights, gradients, moments and averages are divided; whole ones of a "
        "layer are there while it computes."
    )

    def __init__(self, run: Run, processes: int, strategy: Mapping[str, Any] | None) -> None:
        used = strategy if processes > 1 else None
        self.groups = divided(run.model, run.loss, used) if used else []
        self.kept = used is not None and not used["reshard_after_forward"]
        self.members = {one for group in self.groups for one in group}
        self.processes = processes

    def held(self, tensor: Tensor, of: nn.Parameter | None) -> int:
        """Bytes of what has the shape of a parameter, between two steps."""
        return -(-tensor.nbytes // self.processes) if of in self.members else tensor.nbytes

    def of_layer(self, parameters: Iterable[nn.Parameter]) -> int:
        """Bytes of these, with whole ones of the largest group."""
        some = set(parameters)
        largest = max((_bytes(some.intersection(group)) for group in self.groups), default=0)
        return sum(self.held(one, of=one) for one in some) + largest

    def at_once(self, parameters: Iterable[nn.Parameter]) -> int:
        """Bytes of weights in a step: whole ones of a layer are there, or of all that are kept."""
        some = set(parameters)
        if not self.kept:
            return self.of_layer(some)
        return sum(self.held(one, of=one) for one in some) + _bytes(self.members)


def _activations(
    pair: TrainedPair,
    samples: Sequence[Sample],
    collate: Callable[[Sequence[Sample]], TrainingBatch],
    pieces: int,
    processes: int,
) -> tuple[int, str]:
    """Bytes for the whole batch, or for what is gone through at once, and how they were found.

    What is of items grows with the batch, what is of pairs with its square: three small batches
    tell both, and what is of neither. A process compares its images with the texts of all.
    """
    pair.compare.pieces = 1
    whole = len(samples)
    if whole <= SIZES[-1] and pieces == processes == 1:
        return kept_bytes(pair, collate(samples)), "counted in a step on real data"
    sizes = [size for size in SIZES if size <= whole] or [whole]
    kept = [kept_bytes(pair, collate(samples[:size])) for size in sizes]
    powers = range(len(sizes))
    terms = np.linalg.solve([[size**power for power in powers] for size in sizes], kept)
    items = whole / pieces / processes
    shares = (1, items, items * whole / pieces)
    told = f"estimated from steps of {', '.join(map(str, sizes))} items of real data"
    if pieces > 1:
        told += f", for one of {pieces} pieces"
    if processes > 1:
        told += f", for one of {processes} processes"
    return round(sum(term * share for term, share in zip(terms, shares, strict=False))), told


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

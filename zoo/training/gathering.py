"""What processes exchange in a step: encodings with their gradient, and the gradients of weights.

All here follow one rule: the loss of the step is the sum of what the processes compute, so the
gradient of a tensor that several processes use is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from ..batch import Batch
from ..errors import DataError
from ..processes import Processes, lost_told

BatchT = TypeVar("BatchT", bound=Batch)
ALONE = Processes()
# As torch calls it from 2.13 on, and before.
REDUCE_SCATTER: Any = getattr(
    distributed, "reduce_scatter_single", distributed.reduce_scatter_tensor
)
BUCKET = 1 << 24
"""How many numbers are summed over the processes at once: 64 MB of float32."""


def shares(total: int, parts: int) -> list[int]:
    """How many of `total` items each of some consecutive parts has.

    >>> shares(5, 3)
    [2, 2, 1]
    """
    return [total // parts + (part < total % parts) for part in range(parts)]


def gather_batch(batch: BatchT, counts: Sequence[int], processes: Processes) -> BatchT:
    """The items of all processes as one batch, shorter ones padded with zeros (masks with False).

    Process p gives its first `counts[p]` rows; the gradient of each goes back to whose it is.
    Raises `DataError` where processes have other fields than this one.
    """
    tensors = batch.tensors()
    shapes = _common_shapes(tensors, processes)
    gathered = {
        path: gather_rows(_padded(tensor, shapes[path]), counts) for path, tensor in tensors.items()
    }
    return _rebuilt(batch, gathered)


def gather_rows(tensor: Tensor, counts: Sequence[int]) -> Tensor:
    """The first `counts[p]` rows of the tensor of each process p, one below the other.

    Tensors are alike in all axes but the first.
    """
    most = max(*counts, 1)
    missing = most - len(tensor)
    alike = tensor[:most]
    if missing > 0:
        alike = nn.functional.pad(alike, (0, 0) * (tensor.ndim - 1) + (0, missing))
    if tensor.is_floating_point():
        blocks: Tensor = _Gathered.apply(alike)  # type: ignore[no-untyped-call]
    elif tensor.dtype == torch.bool:  # not every backend sends bits
        blocks = _gathered(alike.to(torch.uint8)).bool()
    else:
        blocks = _gathered(alike)
    return torch.cat([block[:count] for block, count in zip(blocks, counts, strict=True)])


def summed(tensor: Tensor) -> Tensor:
    """The sum of the tensors of all processes, with its gradient."""
    total: Tensor = _Summed.apply(tensor)  # type: ignore[no-untyped-call]
    return total


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes. One that no process has stays absent."""
    learning = [one for one in parameters if one.requires_grad]
    if not learning:
        return
    present = torch.tensor([one.grad is not None for one in learning], dtype=torch.int32)
    present = present.to(learning[0].device)
    with talking():
        distributed.all_reduce(present, distributed.ReduceOp.MAX)
    having = [one for one, is_there in zip(learning, present.tolist(), strict=True) if is_there]
    for bucket in _buckets(having):
        _sum_bucket([_gradient(one) for one in bucket])


def share_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrite the tensors of every process with those of the first."""
    with talking():
        for tensor in tensors:
            content = tensor.detach().contiguous()
            if content.dtype == torch.bool:
                content = content.to(torch.uint8)
            distributed.broadcast(content, 0)
            tensor.detach().copy_(content)


def talking() -> AbstractContextManager[None]:
    """Within, what goes wrong between processes of a run is a `LostError`."""
    then = "; given once more, with --resume, the command goes on from the newest checkpoint."
    return lost_told("Another process of this run", then)


class _Gathered(torch.autograd.Function):
    """The tensor of each process: (processes, ...)."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        del ctx
        return _gathered(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        number = distributed.get_rank()
        with talking():
            if gradient.is_cuda:  # gloo has no such sum
                own = torch.empty_like(gradient[number])
                REDUCE_SCATTER(own, gradient.contiguous())
                return own
            total = gradient.clone(memory_format=torch.contiguous_format)
            distributed.all_reduce(total)
            return total[number]


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        del ctx
        return _total(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        return _total(gradient)


def _gathered(tensor: Tensor) -> Tensor:
    blocks = tensor.new_empty(distributed.get_world_size(), *tensor.shape)
    with talking():
        distributed.all_gather(list(blocks), tensor.contiguous())
    return blocks


def _total(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    with talking():
        distributed.all_reduce(total)
    return total


def _common_shapes(tensors: Mapping[str, Tensor], processes: Processes) -> dict[str, list[int]]:
    """The largest shape of an item on any process, by field."""
    own = {path: list(tensor.shape[1:]) for path, tensor in tensors.items()}
    everyone = processes.everyones(own)
    for number, theirs in enumerate(everyone):
        if {path: len(shape) for path, shape in theirs.items()} != {
            path: len(shape) for path, shape in own.items()
        }:
            raise DataError(
                f"Process {number} encoded items with the fields {', '.join(theirs)}, process "
                f"{processes.number} with {', '.join(own)}. An encoder must fill the same fields "
                "for any items; until then set gather=False, or train in one process."
            )
    return {
        path: [max(sizes) for sizes in zip(*(theirs[path] for theirs in everyone), strict=True)]
        for path in own
    }


def _padded(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    missing = [want - have for want, have in zip(shape, tensor.shape[1:], strict=True)]
    if not any(missing):
        return tensor
    return nn.functional.pad(tensor, [width for size in reversed(missing) for width in (0, size)])


def _rebuilt(batch: BatchT, tensors: Mapping[str, Tensor], prefix: str = "") -> BatchT:
    changes: dict[str, Any] = {}
    for field in fields(batch):
        value, path = getattr(batch, field.name), prefix + field.name
        if isinstance(value, Batch):
            changes[field.name] = _rebuilt(value, tensors, f"{path}.")
        elif value is not None:
            changes[field.name] = tensors[path]
    return replace(batch, **changes)


def _buckets(parameters: Sequence[nn.Parameter]) -> Iterable[list[nn.Parameter]]:
    """Consecutive parameters of one type, `BUCKET` numbers or one parameter at most."""
    bucket: list[nn.Parameter] = []
    for parameter in parameters:
        full = sum(one.numel() for one in bucket) + parameter.numel() > BUCKET
        if bucket and (full or bucket[0].dtype != parameter.dtype):
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _sum_bucket(gradients: Sequence[Tensor]) -> None:
    flat = torch.cat([one.reshape(-1) for one in gradients])
    with talking():
        distributed.all_reduce(flat)
    sizes = [one.numel() for one in gradients]
    for gradient, total in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(total.view_as(gradient))

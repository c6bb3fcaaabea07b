"""Tensors of which each process has a share: putting them together, and taking them apart.

torch calls such a tensor a DTensor; `sharding` makes parameters of that kind. All here leaves
other tensors as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..errors import InputError
from ..processes import Processes
from .gathering import talking


def is_shared(tensor: Tensor) -> bool:
    """Whether this process has only a share of it."""
    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """The shares of all processes as one tensor; all of them must call it."""
    if not isinstance(tensor, DTensor):
        return tensor
    with talking(), torch.no_grad():
        return tensor.full_tensor()


def whole_on_first(value: Any, processes: Processes) -> Any:
    """The value with all tensors in it whole, on the first process; None in their place elsewhere.

    They come one by one to the memory of the processor, so that no process has all at once but
    the first. All of them must call it.
    """
    if isinstance(value, Mapping):
        return {key: whole_on_first(one, processes) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(whole_on_first(one, processes) for one in value)
    if not isinstance(value, DTensor):
        return value
    put_together = whole(value)
    return put_together.cpu() if processes.first else None


def share_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Of a whole tensor what this process has of one like it."""
    if not isinstance(like, DTensor):
        return tensor
    place: Any = like.device_mesh, like.placements
    return distribute_tensor(tensor.to(like.device), *place, src_data_rank=None)


def shares_of(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`share_of` each, by name; one that nothing is like stays whole."""
    return {name: share_of(one, like.get(name, one)) for name, one in tensors.items()}


def shares_of_moments(state: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The saved state of an optimiser, with the shares that this process has of its parameters."""
    parameters = [one for group in optimizer.param_groups for one in group["params"]]

    def share(value: Any, parameter: Tensor) -> Any:
        alike = isinstance(value, Tensor) and value.shape == parameter.shape
        return share_of(value, parameter) if alike else value

    kept = {
        place: {key: share(one, parameters[place]) for key, one in values.items()}
        for place, values in state["state"].items()
    }
    return {**state, "state": kept}


def by_kind(tensors: Iterable[Tensor]) -> list[list[Tensor]]:
    """Tensors that are whole, and those that are shared, where there are any of a kind: torch does
    not compute with both at once.
    """
    kinds: dict[bool, list[Tensor]] = {}
    for one in tensors:
        kinds.setdefault(is_shared(one), []).append(one)
    return [kinds[kind] for kind in sorted(kinds)]


@torch.no_grad()
def clip_gradients(
    parameters: Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> None:
    """As `nn.utils.clip_grad_norm_`, by the norm of all whole gradients together.

    Raises `RuntimeError` for a norm that is not finite, where that is asked for.
    """
    kinds = by_kind(one for one in parameters if one.grad is not None)
    if not kinds:
        return
    found = []
    for kind in kinds:
        gradients = [one.grad for one in kind if one.grad is not None]
        found.append(whole(nn.utils.get_total_norm(gradients, norm_type, foreach=foreach)))
    total = found[0] if len(found) == 1 else torch.linalg.vector_norm(torch.stack(found), norm_type)
    if error_if_nonfinite and not total.isfinite():
        raise RuntimeError(f"the norm of the gradient is {total.item()}")
    for kind in kinds:
        nn.utils.clip_grads_with_norm_(kind, max_norm, total, foreach)


@contextmanager
def dividing(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within, an optimiser that cannot update shared parameters is told as an `InputError`."""
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in ("DTensor", "Sharding propagation")):
            raise
        raise _indivisible(optimizer, f"fails ({str(error).splitlines()[0][:200]})") from error


def check_moments(optimizer: torch.optim.Optimizer) -> None:
    """Raise `InputError` where an optimiser remembers of a shared parameter what has other shapes.

    Such memories could be saved, and not be taken apart again.
    """
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if not is_shared(parameter) or not isinstance(value, Tensor) or not value.ndim:
                continue
            if not is_shared(value) or value.shape != parameter.shape:
                shapes = f"of shape {tuple(value.shape)} for {tuple(parameter.shape)}"
                raise _indivisible(optimizer, f"remembers {name!r} {shapes}")


def _indivisible(optimizer: torch.optim.Optimizer, fault: str) -> InputError:
    return InputError(
        f"The optimiser {type(optimizer).__name__} {fault}, where a strategy has divided the "
        "weights. Take another, such as AdamW or SGD, or leave strategy out."
    )

"""A model whose encoders are divided among processes, by torch's `fully_shard`.

Each process has a share of every weight, of its gradient and of what the optimiser remembers of it;
the weights of a layer are put together while it computes. Only the encoders and the extractor are
divided: their parts of a step are the same calls on every process, while an aligner may be called
for other pairs, or for none, and is small, as the loss is.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, distributed, nn

from ..errors import InputError
from ..interfaces import Loss
from ..model import MatchingModel
from ..spelling import nearest
from .gathering import REDUCE_SCATTER, talking
from .shards import is_shared, whole

Gathered = Callable[[], AbstractContextManager[MatchingModel]]
"""Gives the model with whole weights, on every process, while a block runs."""

PARTS = ("extractor", "image_encoder", "text_encoder")
# As torch calls it from 2.13 on, and before.
ALL_GATHER: Any = getattr(distributed, "all_gather_single", distributed.all_gather_into_tensor)
LEAST = 1 << 18
"""A layer of fewer numbers goes with what is around it: a message of its own would not pay."""


def shard(model: MatchingModel, loss: Loss, settings: Mapping[str, Any]) -> Gathered:
    """Divide the weights of a model's encoders among all processes, which have the same ones.

    Names stay. `settings` are a recipe's `strategy`. Single numbers, and what is used in two
    places, stay whole. Raises `InputError` for a torch that cannot do it, and for layers that the
    model does not have.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    if not hasattr(FSDPModule, "set_custom_reduce_scatter"):
        raise InputError(
            f"The recipe has a strategy, and fully_shard of torch {torch.__version__} cannot be "
            "told to add gradients up. Install a newer torch, or set strategy=None."
        )
    hollow = _hollow(model)
    mesh = init_device_mesh(model.device.type, (distributed.get_world_size(),))
    units = _units(model, settings["layers"])
    stays = _kept_whole(units, model, loss)
    for module in units:
        unit: Any = fully_shard(
            module,
            mesh=mesh,
            reshard_after_forward=settings["reshard_after_forward"],
            ignored_params=stays,
        )
        unit.set_custom_all_gather(_Gathering())
        unit.set_custom_reduce_scatter(_Summing())

    @contextmanager
    def gathered() -> Iterator[MatchingModel]:
        tensors = {name: whole(one).detach() for name, one in model.state_dict().items()}
        hollow.load_state_dict(tensors, assign=True)
        del tensors
        try:
            yield hollow
        finally:
            _empty(hollow)

    return gathered


def divided(
    model: MatchingModel, loss: Loss, settings: Mapping[str, Any]
) -> list[list[nn.Parameter]]:
    """The parameters that `shard` would divide: of each group that is put together at once."""
    units = _units(model, settings["layers"])
    seen = _kept_whole(units, model, loss)
    groups = []
    for unit in units:
        groups.append([one for one in unit.parameters() if one not in seen])
        seen.update(groups[-1])
    return groups


def layers_of(part: nn.Module) -> dict[str, nn.Module]:
    """The layers of a part by name: members, all of one kind and made of others, of a list.

    So `nn.ModuleList` and `nn.Sequential` hold the blocks of a transformer, or of a convolutional
    network; a list of linear maps is no list of layers.
    """
    found: dict[str, nn.Module] = {}
    for name, module in part.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or len(module) < 2:
            continue
        members = dict(module.named_children())
        compound = all(list(one.children()) for one in members.values())
        if compound and len({type(one) for one in members.values()}) == 1:
            found |= {f"{name}.{own}": one for own, one in members.items() if _size(one) >= LEAST}
    return found


def described(model: nn.Module) -> str:
    """How a model is divided, in words."""
    from torch.distributed.fsdp import FSDPModule

    units = sum(isinstance(one, FSDPModule) for one in model.modules())
    held = sum(_own(one).numel() for one in model.parameters())
    return (
        f"strategy: {units} groups of weights are divided; this process holds {held:,} of "
        f"{_size(model):,} numbers"
    )


def _units(model: MatchingModel, layers: list[str] | None) -> list[nn.Module]:
    """What is divided as one, inner modules before those around them."""
    parts = {name: getattr(model, name) for name in PARTS if getattr(model, name) is not None}
    found: dict[str, nn.Module] = {}
    for name, part in parts.items():
        if _size(part):
            found |= {name: part} | {f"{name}.{own}": one for own, one in layers_of(part).items()}
    if layers is not None:
        found = {name: one for name, one in found.items() if name in parts}
        for pattern in layers:
            found |= _fitting(model, pattern)
    chosen = set(found.values())
    return [one for one in reversed(list(model.modules())) if one in chosen]


def _fitting(model: MatchingModel, pattern: str) -> dict[str, nn.Module]:
    """The modules whose names fit a pattern, in which a * stands for what is between two dots."""
    names = {
        name: one
        for name, one in model.named_modules()
        if name.split(".")[0] in PARTS and _size(one) and not isinstance(one, nn.ModuleList)
    }
    depth = pattern.count(".")
    fitting = {
        name: one
        for name, one in names.items()
        if name.count(".") == depth and fnmatchcase(name, pattern)
    }
    if not fitting:
        raise InputError(
            f"strategy.layers has {pattern!r}, and no module of an encoder is called so. "
            f"{nearest(pattern, names)}"
        )
    return fitting


def _kept_whole(units: Sequence[nn.Module], *users: nn.Module) -> set[nn.Parameter]:
    """Parameters without an axis, which cannot be divided, and those that not one unit has."""
    unit_of = {module: unit for unit in reversed(units) for module in unit.modules()}
    having: defaultdict[nn.Parameter, set[nn.Module | None]] = defaultdict(set)
    for user in users:
        for module in user.modules():
            for parameter in module.parameters(recurse=False):
                having[parameter].add(unit_of.get(module))
    return {one for one, found in having.items() if one.ndim == 0 or len(found) > 1}


def _size(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def _own(tensor: Tensor) -> Tensor:
    own: Any = tensor
    return own.to_local() if is_shared(tensor) else tensor


def _hollow(model: MatchingModel) -> MatchingModel:
    """A copy with the same buffers, and parameters that have no memory."""
    known: dict[int, Any] = {id(one): one for one in model.buffers()}
    known |= {id(one): _memoryless(one) for one in model.parameters()}
    return copy.deepcopy(model, known)


def _empty(model: nn.Module) -> None:
    tensors = {name: _memoryless(one) for name, one in model.named_parameters()}
    model.load_state_dict(tensors, strict=False, assign=True)


def _memoryless(parameter: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)


class _Memory:
    """Where torch puts what is sent."""

    def allocate(self, size: Any, *, dtype: torch.dtype, device: torch.device) -> Tensor:
        return torch.empty(*size, dtype=dtype, device=device)


class _Gathering(_Memory):
    """As torch does it; a process that is lost is told as everywhere."""

    def __call__(
        self, output_tensor: Tensor, input_tensor: Tensor, group: Any, async_op: bool = False
    ) -> Any:
        with talking():
            return ALL_GATHER(output_tensor, input_tensor, group, async_op)


class _Summing(_Memory):
    """The sum of the gradients, for the loss is the sum of what processes compute; torch would
    take the mean.
    """

    def __call__(
        self,
        output_tensor: Tensor,
        input_tensor: Tensor,
        group: Any,
        op: Any,
        async_op: bool = False,
    ) -> Any:
        del op
        total = distributed.ReduceOp.SUM
        with talking():
            return REDUCE_SCATTER(output_tensor, input_tensor, total, group, async_op)

"""A running mean of the weights, which usually retrieves better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from .shards import share_of


class Average:
    """Exponential mean of what learns in a module.

    Each update moves the mean by 1 - min(momentum, (1 + n) / (10 + n)) towards the weights, n the
    updates so far, so that the first weights are soon forgotten. All else, parameters that are
    fixed and buffers, is copied: a mean of equal numbers may differ in its bits (-0 becomes 0).
    """

    def __init__(self, module: nn.Module, momentum: float) -> None:
        self.module, self.momentum, self.updates = module, momentum, 0
        self.learning = {name for name, one in module.named_parameters() if one.requires_grad}
        self.tensors = {name: one.detach().clone() for name, one in module.state_dict().items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the mean."""
        momentum = min(self.momentum, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        for name, now in self.module.state_dict().items():
            if name in self.learning:
                self.tensors[name].lerp_(now, 1 - momentum)
            else:
                self.tensors[name].copy_(now)

    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Go on from a mean that was saved."""
        self.updates = updates
        for name, tensor in self.tensors.items():
            tensor.copy_(share_of(tensors[name], tensor))

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the module has the mean weights; afterwards its own again."""
        own = {name: one.detach().clone() for name, one in self.module.state_dict().items()}
        self.module.load_state_dict(self.tensors)
        try:
            yield
        finally:
            self.module.load_state_dict(own)


def averaged(average: Average | None) -> AbstractContextManager[None]:
    """Within the block the module has its mean weights, if there is a mean."""
    return average.applied() if average else nullcontext()

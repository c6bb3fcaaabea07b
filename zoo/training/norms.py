"""Batch normalisation over the batch of all processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..ops import in_full
from .gathering import summed


class SharedBatchNorm(nn.BatchNorm1d):
    """`nn.BatchNorm1d` whose statistics in training are of the items of all processes together.

    With the same gradient as one process has. torch's own SyncBatchNorm needs CUDA.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The items with mean 0 and variance 1 in each channel, scaled and moved as learned."""
        if not self.training:
            return super().forward(input)
        full, axes = in_full(input), [0, *range(2, input.ndim)]
        own = full.new_tensor([full.numel() / full.shape[1]])
        total = summed(torch.cat([full.sum(axes), own]))
        count = total[-1].detach()
        mean = _by_channel(total[:-1] / count, full)
        variance = summed((full - mean).square().sum(axes)) / count
        if self.track_running_stats:
            self._follow(mean.flatten(), variance * count / (count - 1).clamp(min=1))
        output = (full - mean) * _by_channel((variance + self.eps).rsqrt(), full)
        if self.affine:
            output = output * _by_channel(self.weight, full) + _by_channel(self.bias, full)
        return output.to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def share_norms(module: nn.Module) -> None:
    """Let every batch norm in a module look at the items of all; names and weights stay."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm1d:
                setattr(parent, name, _shared(child))


def _shared(norm: nn.BatchNorm1d) -> SharedBatchNorm:
    settings: dict[str, Any] = {"momentum": norm.momentum, "affine": norm.affine}
    shared = SharedBatchNorm(
        norm.num_features, norm.eps, track_running_stats=norm.track_running_stats, **settings
    )
    shared._parameters.update(norm._parameters)
    shared._buffers.update(norm._buffers)
    return shared.train(norm.training)


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (like.ndim - 2))

"""Parts of a model that training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import InputError
from ..spelling import nearest
from .data import TrainingBatch
from .engine import Hook, ZooRunner


def freeze(pair: nn.Module, patterns: Sequence[str]) -> None:
    """Take the parameters whose names fit a pattern (`image_encoder.*`) out of training.

    Names are those of the model, and `loss.` and those of the loss. Raises `InputError` for a
    pattern that fits nothing, with the nearest, and where nothing is left to be trained.
    """
    named = [(name.removeprefix("model."), one) for name, one in pair.named_parameters()]
    for pattern in patterns:
        fitting = [one for name, one in named if fnmatchcase(name, pattern)]
        if not fitting:
            known = dict.fromkeys(_patterns(name for name, _ in named))
            raise InputError(
                f"freeze has {pattern!r}, and no parameter is called so. {nearest(pattern, known)}"
            )
        for parameter in fitting:
            parameter.requires_grad_(False)
    if not any(one.requires_grad for _, one in named):
        raise InputError(
            f"Nothing is left to be trained: freeze is {list(patterns)}, and the model has no "
            "other parameters that learn. Take something out of freeze."
        )


class FreezeHook(Hook):  # type: ignore[misc]
    """Keeps the statistics of frozen batch norms: they normalise as in an evaluation."""

    priority = "HIGH"

    def __init__(self, pair: nn.Module, patterns: Sequence[str]) -> None:
        self.norms = [
            module
            for name, module in pair.named_modules()
            if isinstance(module, _BatchNorm)
            and any(
                fnmatchcase(f"{name.removeprefix('model.')}.running_mean", one) for one in patterns
            )
        ]

    def before_train_iter(
        self, runner: ZooRunner, batch_idx: int, data_batch: TrainingBatch | None = None
    ) -> None:
        """Set them anew: whoever measures the model puts all of it back into training."""
        del runner, batch_idx, data_batch
        for norm in self.norms:
            norm.eval()


def _patterns(names: Iterable[str]) -> Iterator[str]:
    """Each name, and what fits all below each of its parts."""
    for name in names:
        parts = name.split(".")
        yield from (".".join(parts[:depth]) + ".*" for depth in range(1, len(parts)))
        yield name

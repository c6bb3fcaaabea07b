"""The MMEngine Runner as the zoo uses it: its loop, schedules and hooks; none of its files.

MMEngine's own checkpoints are not atomic, cannot be read back by a current torch, and execute
text on resume, so `Runner.load_or_resume` is replaced and its CheckpointHook left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import InputError, ZooError

with warnings.catch_warnings():
    # torch says so of its own torch.distributed.optim, which MMEngine imports.
    warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
    from mmengine.config import Config
    from mmengine.hooks import Hook
    from mmengine.optim import OptimWrapper
    from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
    from mmengine.runner import Runner
    from mmengine.visualization import (
        MLflowVisBackend,
        TensorboardVisBackend,
        Visualizer,
        WandbVisBackend,
    )

__all__ = [
    "OPTIMIZERS",
    "OPTIM_WRAPPERS",
    "OPTIM_WRAPPER_CONSTRUCTORS",
    "Config",
    "Hook",
    "MLflowVisBackend",
    "OptimWrapper",
    "TensorboardVisBackend",
    "WandbVisBackend",
    "ZooRunner",
]


class ZooRunner(Runner):  # type: ignore[misc]
    """A Runner that starts through `restore` and writes nothing of its own."""

    _train_loop: Any
    optim_wrapper: Any
    param_schedulers: Any

    def __init__(self, *, restore: Callable[[ZooRunner], None], **settings: Any) -> None:
        self.restore = restore
        super().__init__(**settings)
        with suppress(FileNotFoundError):  # another process was quicker
            Path(self.log_dir).rmdir()  # made by MMEngine for its log, which is not kept

    def load_or_resume(self) -> None:
        """Put the run where its checkpoint left it; called once everything is built."""
        self.restore(self)

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """The model as it is: MMEngine would move it to whatever accelerator it finds."""
        del model_wrapper_cfg
        return model

    def prepare(self) -> None:
        """Build loop, optimiser and schedules, as `train` does before it begins."""
        self._train_loop = self.build_train_loop(self._train_loop)
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)

    def build_train_loop(self, loop: Any) -> Any:
        """As MMEngine builds it; what it refuses is an `InputError`."""
        with _refused("train_cfg"):
            return super().build_train_loop(loop)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """As MMEngine builds it; what it refuses is an `InputError`."""
        with _refused("optim_wrapper"):
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """As MMEngine builds it; what it refuses is an `InputError`."""
        with _refused("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def place(self, epoch: int, iteration: int) -> None:
        """Set the position of the training loop."""
        self.train_loop._epoch, self.train_loop._iter = epoch, iteration

    def build_logger(self, *_: Any, **__: Any) -> Any:
        """A logger without a file: the zoo keeps its own log."""
        from mmengine.logging import MMLogger

        return MMLogger.get_instance(self._experiment_name, log_level="ERROR")

    def build_visualizer(self, *_: Any) -> Any:
        """A visualizer without a store."""
        return Visualizer.get_instance(self._experiment_name)

    def dump_config(self) -> None:
        """Nothing: run.json holds the recipe."""

    def _log_env(self, *_: Any) -> None:
        """Nothing: run.json holds the versions, and collecting them here takes seconds."""


@contextmanager
def _refused(key: str) -> Iterator[None]:
    try:
        yield
    except ZooError:
        raise
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError) as error:
        raise InputError(
            f"The recipe's {key} cannot be used ({type(error).__name__}: {error}). "
            f"Write {key} as MMEngine's documentation shows it."
        ) from error

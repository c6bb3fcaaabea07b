"""The MMEngine Runner as the zoo uses it: its loop, schedules and hooks; none of its files.

MMEngine's own checkpoints are not atomic, cannot be read back by a current torch, and execute
text on resume, so `Runner.load_or_resume` is replaced and its CheckpointHook left out.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Batch
from ..errors import DataError, InputError, ZooError
from ..interfaces import Loss, Similarity
from ..model import MatchingModel
from .data import TrainingBatch
from .recipe import suggest

with warnings.catch_warnings():
    # torch says so of its own torch.distributed.optim, which MMEngine imports.
    warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is", DeprecationWarning)
    from mmengine.hooks import Hook
    from mmengine.optim import OptimWrapper
    from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
    from mmengine.runner import Runner
    from mmengine.visualization import Visualizer

__all__ = ["Hook", "TrainedPair", "ZooRunner"]


class TrainedPair(nn.Module):
    """A model and its loss: what the Runner steps. The loss may have parameters of its own."""

    def __init__(self, model: MatchingModel, loss: Loss, autocast: Sequence[str] = ()) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.low_precision = [_submodule(model, name) for name in autocast]

    def forward(self, batch: TrainingBatch) -> Tensor:
        """The loss of a batch: a scalar."""
        with _autocast(self.low_precision):
            similarity = self.model(batch.images, batch.texts)
        levels = {name: level.float() for name, level in similarity.levels.items()}
        return self.loss(Similarity(similarity.scores.float(), levels), batch.pairs)

    def train_step(self, batch: TrainingBatch, optim_wrapper: OptimWrapper) -> dict[str, float]:
        """One update of the weights. Raises `DataError` when the loss is not finite."""
        value = self(batch.to(self.model.device))
        loss = value.item()
        if not math.isfinite(loss):
            raise DataError(_diverged("loss", loss, optim_wrapper.inner_count))
        optim_wrapper.update_params(value)
        return {"loss": loss}


@OPTIM_WRAPPERS.register_module()
class FiniteOptimWrapper(OptimWrapper):  # type: ignore[misc]
    """Clips the gradient to a norm and refuses one that is not finite."""

    def step(self, **options: Any) -> None:
        """Update the weights. Raises `DataError` when the gradient is not finite."""
        settings = self.clip_grad_kwargs or {"max_norm": math.inf}
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        try:
            nn.utils.clip_grad_norm_(parameters, error_if_nonfinite=True, **settings)
        except RuntimeError as error:
            raise DataError(
                _diverged("norm of the gradient", math.nan, self.inner_count - 1)
            ) from error
        self.optimizer.step(**options)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupByPrefix:
    """Optimiser groups by the beginning of a parameter's name.

    `paramwise_cfg` maps a prefix ("extractor", "text_encoder.bert") to `lr_mult` and
    `decay_mult`; the longest prefix that fits counts. `flat_decay_mult` is for parameters with
    one axis (biases, scales), and multiplies.
    """

    def __init__(
        self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None
    ) -> None:
        self.settings = dict(optim_wrapper_cfg)
        self.optimizer = dict(self.settings.pop("optimizer"))
        self.prefixes = dict(paramwise_cfg or {})
        self.flat_decay = float(self.prefixes.pop("flat_decay_mult", 1.0))

    def __call__(self, pair: TrainedPair) -> OptimWrapper:
        """The optimiser of every parameter of the model and the loss that is to be trained."""
        named = [(n.removeprefix("model."), p) for n, p in pair.named_parameters()]
        for prefix in self.prefixes:
            if not any(_under(name, prefix) for name, _ in named):
                parts = sorted({".".join(name.split(".")[:2]) for name, _ in named})
                parts += sorted({name.split(".")[0] for name, _ in named})
                raise InputError(
                    f"optim_wrapper.paramwise_cfg names {prefix!r}, and no parameter's name "
                    f"begins so. {suggest(prefix, parts)}"
                )
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in named:
            if parameter.requires_grad:
                groups.setdefault(self._multipliers(name, parameter), []).append(parameter)
        optimizer = OPTIMIZERS.build(self.optimizer | {"params": self._options(groups)})
        return OPTIM_WRAPPERS.build(
            {"type": "FiniteOptimWrapper", "optimizer": optimizer} | self.settings
        )

    def _multipliers(self, name: str, parameter: Tensor) -> tuple[float, float]:
        fitting = [prefix for prefix in self.prefixes if _under(name, prefix)]
        settings = self.prefixes[max(fitting, key=len)] if fitting else {}
        flat = self.flat_decay if parameter.ndim <= 1 else 1.0
        return float(settings.get("lr_mult", 1.0)), float(settings.get("decay_mult", 1.0)) * flat

    def _options(self, groups: Mapping[tuple[float, float], list[Tensor]]) -> list[dict[str, Any]]:
        rate, decay = self.optimizer["lr"], self.optimizer.get("weight_decay")
        options = []
        for (rate_factor, decay_factor), parameters in groups.items():
            option: dict[str, Any] = {"params": parameters, "lr": rate * rate_factor}
            if decay is not None:
                option["weight_decay"] = decay * decay_factor
            options.append(option)
        return options


class ZooRunner(Runner):  # type: ignore[misc]
    """A Runner that starts through `restore` and writes nothing of its own."""

    def __init__(self, *, restore: Callable[[ZooRunner], None], **settings: Any) -> None:
        self.restore = restore
        super().__init__(**settings)
        Path(self.log_dir).rmdir()  # made by MMEngine for its log, which is not kept

    def load_or_resume(self) -> None:
        """Put the run where its checkpoint left it; called once everything is built."""
        self.restore(self)

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


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def _diverged(what: str, found: float, iteration: int) -> str:
    return (
        f"The {what} is {found} at iteration {iteration}, so training stopped before it could "
        "spoil the weights. Lower the learning rate or the gradient clip (--set "
        "optim_wrapper.optimizer.lr=...), or look for broken features, and start again."
    )


def _submodule(model: MatchingModel, name: str) -> nn.Module:
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name not in modules:
        raise InputError(f"autocast names {name!r}, no part of the model. {suggest(name, modules)}")
    return modules[name]


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


@contextmanager
def _autocast(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Run these modules in bfloat16 where it is safe, and return float32 from each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    handles: list[Any] = []
    contexts: list[Any] = []

    def enter(module: nn.Module, *_: Any) -> None:
        del module
        contexts.append(torch.autocast(device, torch.bfloat16))
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

"""The optimiser: groups by name, clipped gradients, and an end where one is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..spelling import nearest
from .engine import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS, OptimWrapper
from .nonfinite import NotFiniteError
from .shards import by_kind, clip_gradients, dividing, is_shared, whole

FIRST_SCALE = 2.0**16
LEAST_SCALE = 1.0
"""Below this number the loss would be made smaller to be large enough."""


@OPTIM_WRAPPERS.register_module()
class FiniteOptimWrapper(OptimWrapper):  # type: ignore[misc]
    """Clips the gradient to a norm and refuses one that is not finite.

    scaled_on: the kind of device where parts of the model compute in float16. Small gradients would
               be 0 there: the loss is multiplied by a large number, and the gradient divided by it.
    overflows: how often a gradient was too large for that, which costs one update and halves the
               number
    """

    def __init__(self, *, scaled_on: str | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.scaler = SharedScaler(scaled_on, FIRST_SCALE) if scaled_on else None
        self.overflows = 0

    def backward(self, loss: Tensor, **options: Any) -> None:
        """Add up the gradients."""
        super().backward(loss if self.scaler is None else self.scaler.scale(loss), **options)

    def step(self, **options: Any) -> None:
        """Update the weights. Raises `NotFiniteError` when the gradient is not finite."""
        if self.scaler is not None:
            self._step_scaled(self.scaler)
            return
        try:
            self._clip(error_if_nonfinite=True)
        except RuntimeError as error:
            raise NotFiniteError("norm of the gradient", math.nan) from error
        with dividing(self.optimizer):
            self.optimizer.step(**options)

    def _clip(self, **settings: Any) -> None:
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        clip_gradients(parameters, **settings, **(self.clip_grad_kwargs or {"max_norm": math.inf}))

    def _step_scaled(self, scaler: torch.amp.GradScaler) -> None:
        before = scaler.get_scale()
        scaler.unscale_(self.optimizer)
        self._clip()
        with dividing(self.optimizer):
            scaler.step(self.optimizer)  # or not, where the gradient was not finite
        scaler.update()
        if scaler.get_scale() < before:
            self.overflows += 1
            if scaler.get_scale() < LEAST_SCALE:  # then it was not too large, but no number
                raise NotFiniteError("norm of the gradient", math.nan)

    def state_dict(self) -> dict[str, Any]:
        """As the optimiser's, with the scale of the loss."""
        scale = self.scaler.state_dict() if self.scaler else {}
        return {**super().state_dict(), "loss_scale": scale, "overflows": self.overflows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what was saved."""
        state = dict(state_dict)
        scale, self.overflows = state.pop("loss_scale", {}), state.pop("overflows", 0)
        if self.scaler is not None and scale:
            self.scaler.load_state_dict(scale)
        super().load_state_dict(state)


class SharedScaler(torch.amp.GradScaler):
    """As torch's, also where processes have shares of some gradients: those go by themselves, and
    one that is not finite is found by all.
    """

    def _unscale_grads_(
        self, optimizer: Any, *settings: Any, **named: Any
    ) -> dict[torch.device, Tensor]:
        found: dict[torch.device, Tensor] = {}
        parameters = [one for group in optimizer.param_groups for one in group["params"]]
        for alike in by_kind(parameters):
            part: Any = SimpleNamespace(param_groups=[{"params": alike}])
            for device, one in super()._unscale_grads_(part, *settings, **named).items():
                found[device] = torch.maximum(found.get(device, one), whole(one))
        return found


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
        _check(self.settings)
        self.optimizer = dict(self.settings.pop("optimizer"))
        self.prefixes = dict(paramwise_cfg or {})
        self.flat_decay = float(self.prefixes.pop("flat_decay_mult", 1.0))

    def __call__(self, pair: nn.Module) -> OptimWrapper:
        """The optimiser of every parameter of the model and the loss that is to be trained."""
        named = [(n.removeprefix("model."), p) for n, p in pair.named_parameters()]
        for prefix in self.prefixes:
            if not any(_under(name, prefix) for name, _ in named):
                parts = sorted({".".join(name.split(".")[:2]) for name, _ in named})
                parts += sorted({name.split(".")[0] for name, _ in named})
                raise InputError(
                    f"optim_wrapper.paramwise_cfg names {prefix!r}, and no parameter's name "
                    f"begins so. {nearest(prefix, parts)}"
                )
        groups: dict[tuple[float, float, bool], list[Tensor]] = {}
        for name, parameter in named:
            if parameter.requires_grad:  # those of a group are updated at once: all of one kind
                kind = (*self._multipliers(name, parameter), is_shared(parameter))
                groups.setdefault(kind, []).append(parameter)
        optimizer = OPTIMIZERS.build(self.optimizer | {"params": self._options(groups)})
        return OPTIM_WRAPPERS.build(
            {"type": "FiniteOptimWrapper", "optimizer": optimizer} | self.settings
        )

    def _multipliers(self, name: str, parameter: Tensor) -> tuple[float, float]:
        fitting = [prefix for prefix in self.prefixes if _under(name, prefix)]
        settings = self.prefixes[max(fitting, key=len)] if fitting else {}
        flat = self.flat_decay if parameter.ndim <= 1 else 1.0
        return float(settings.get("lr_mult", 1.0)), float(settings.get("decay_mult", 1.0)) * flat

    def _options(
        self, groups: Mapping[tuple[float, float, bool], list[Tensor]]
    ) -> list[dict[str, Any]]:
        rate, decay = self.optimizer["lr"], self.optimizer.get("weight_decay")
        options = []
        for (rate_factor, decay_factor, _), parameters in groups.items():
            option: dict[str, Any] = {"params": parameters, "lr": rate * rate_factor}
            if decay is not None:
                option["weight_decay"] = decay * decay_factor
            options.append(option)
        return options


def _check(settings: Mapping[str, Any]) -> None:
    if "type" in settings:
        raise InputError(
            f"optim_wrapper.type is {settings['type']!r}, and the zoo has one kind of its own. "
            "Leave it out; for low precision name the parts in autocast."
        )
    if settings.get("clip_grad") and "max_norm" not in settings["clip_grad"]:
        raise InputError(
            f"optim_wrapper.clip_grad is {settings['clip_grad']!r}, and gradients are clipped by "
            "their norm. Write clip_grad=dict(max_norm=2.0)."
        )


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")

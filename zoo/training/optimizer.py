"""The optimiser: groups by name, clipped gradients, and an end where one is not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..spelling import nearest
from .engine import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS, OptimWrapper
from .nonfinite import NotFiniteError


@OPTIM_WRAPPERS.register_module()
class FiniteOptimWrapper(OptimWrapper):  # type: ignore[misc]
    """Clips the gradient to a norm and refuses one that is not finite."""

    def step(self, **options: Any) -> None:
        """Update the weights. Raises `NotFiniteError` when the gradient is not finite."""
        settings = self.clip_grad_kwargs or {"max_norm": math.inf}
        parameters = [one for group in self.optimizer.param_groups for one in group["params"]]
        try:
            nn.utils.clip_grad_norm_(parameters, error_if_nonfinite=True, **settings)
        except RuntimeError as error:
            raise NotFiniteError("norm of the gradient", math.nan) from error
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

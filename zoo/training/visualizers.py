"""Where a run's figures are shown beside its log: TensorBoard, Weights & Biases, MLflow.

MMEngine's backends do the work; here they are named, checked, and kept from ending a run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..spelling import nearest
from .engine import Config, MLflowVisBackend, TensorboardVisBackend, WandbVisBackend
from .overrides import flatten

PACKAGES = {
    "tensorboard": "torch.utils.tensorboard",
    "wandb": "wandb",
    "mlflow": "mlflow",
}
"""What each name needs to import."""


class Visualizers:
    """The backends that a recipe names; `add` gives all of them the same figures.

    Each is "tensorboard", "wandb" or "mlflow", or a dict with that as its `type` and options: those
    of `wandb.init`, or of MMEngine's MLflowVisBackend (`tracking_uri`, `exp_name`, ...). Raises
    `InputError`, before anything is trained, for other names and for a package that is missing.
    One that fails later is left out, with a word: the run goes on.
    """

    def __init__(
        self, named: Sequence[str | Mapping[str, Any]], folder: Path, warn: Callable[[str], None]
    ) -> None:
        self.settings = [{"type": one} if isinstance(one, str) else dict(one) for one in named]
        for one in self.settings:
            _check(str(one.get("type")))
        self.folder, self.warn = folder, warn
        self.backends: dict[str, Any] = {}

    def begin(self, recipe: Mapping[str, Any], run: str) -> None:
        """Connect, as a run of that name, and tell its settings."""
        known = Config({**recipe, "work_dir": str(self.folder.parent)})
        for one in self.settings:
            self.backends[one["type"]] = _backend(dict(one), self.folder, run)
        self._each(lambda backend: backend.add_config(known))

    def add(self, figures: Mapping[str, Any], step: int) -> None:
        """Show the numbers among some figures, nested ones by their dotted names."""
        numbers = {
            key: value
            for key, value in flatten(figures).items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        self._each(lambda backend: backend.add_scalars({**numbers, "iteration": step}, step=step))

    def close(self) -> None:
        """Send what is not sent yet."""
        self._each(_close)
        self.backends.clear()

    def _each(self, act: Callable[[Any], object]) -> None:
        for name, backend in list(self.backends.items()):
            try:
                act(backend)
            except Exception as error:  # noqa: BLE001 - a service that fails costs no training
                del self.backends[name]
                self.warn(
                    f"{name} failed ({type(error).__name__}: {error}) and is shown nothing more; "
                    "log.jsonl has all figures."
                )


def _check(name: str) -> None:
    if name not in PACKAGES:
        raise InputError(
            f"visualizers names {name!r}, which the zoo does not know. {nearest(name, PACKAGES)}"
        )
    try:
        importlib.import_module(PACKAGES[name])
    except ImportError as error:
        raise InputError(
            f"visualizers names {name!r}, and its package cannot be imported ({error}). Install "
            f"it: pip install {name}; or take it out of visualizers."
        ) from error


def _backend(settings: dict[str, Any], folder: Path, run: str) -> Any:
    name = settings.pop("type")
    place = str(folder / name)
    if name == "tensorboard":
        return TensorboardVisBackend(place)
    if name == "wandb":  # which goes on with the run of that id
        own = {"project": "itm-zoo", "name": run, "id": run, "resume": "allow"}
        return WandbVisBackend(
            place,
            init_kwargs={**own, "allow_val_change": True, **settings},
            define_metric_cfg=[{"name": "*", "step_metric": "iteration"}],
        )
    return MLflowVisBackend(place, **{"run_name": run, **settings})


def _close(backend: Any) -> None:
    """As the backend does it; MMEngine's for W&B calls what that no longer has."""
    if isinstance(backend, WandbVisBackend):
        backend.experiment.finish()
    else:
        backend.close()

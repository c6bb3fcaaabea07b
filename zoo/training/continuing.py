"""Going on with a run: exactly as it began, or with other settings where that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..errors import InputError
from .overrides import differences
from .settings import checked
from .shards import shares_of, shares_of_moments

Resume = Literal["exact", "loose"]
KEPT = ("method", "plugin", "model", "vocabulary", "initial_weights", "freeze")
"""Settings that no run can change on the way: they say which model it trains, and from where."""
FREE = "model.scoring."
SHOWN = 6


def resume_mode(asked: bool | str | None) -> Resume | None:
    """How a run is to go on, None for a new run. Raises `InputError` for an unknown way."""
    if asked in (False, None):
        return None
    if asked in (True, "exact"):
        return "exact"
    if asked == "loose":
        return "loose"
    raise InputError(f"resume is {asked!r}, and runs go on 'exact' or 'loose'. Choose one of them.")


def what_changed(
    began: Mapping[str, Any], asked: Mapping[str, Any], where: Path, resume: Resume
) -> list[str]:
    """What differs between how the run in `where` began and what is asked of it, one line each.

    Both have `recipe`, `data` and `processes`. Raises `InputError` for any difference on an exact
    resume, and on a loose one for those that would make it a run of another model.
    """
    before = checked(began["recipe"], where)
    del before["ablations"]
    data = asked["data"]
    lines = differences(before, asked["recipe"])
    lines += [
        f"data of {name}: fingerprint was {was[:12]}, is {data.get(name, 'none')[:12]}"
        for name, was in began["data"].items()
        if data.get(name) != was
    ]
    if began.get("processes", 1) != asked.get("processes", 1):
        lines.append(
            f"processes: were {began.get('processes', 1)}, are {asked.get('processes', 1)}"
        )
    if lines and resume == "exact":
        raise InputError(
            f"The run in {where} began with other settings ({'; '.join(lines[:SHOWN])}), "
            "and a resumed run must end as if it had never stopped. Give the same settings, "
            "go on with these all the same (--resume loose), or start a new run in another "
            "--work-dir."
        )
    other = [line for line in lines if _is_kept(line)]
    if other:
        raise InputError(
            f"The run in {where} trains another model or began otherwise ({'; '.join(other)}), and "
            "--resume loose changes how a model is trained, not which. Give these as they were, or "
            "start a new run in another --work-dir, from this one's model (--from)."
        )
    return lines


def _is_kept(line: str) -> bool:
    """Whether a line is of a setting that stays, or of a file that the recipe or a user named."""
    key = line.partition(":")[0].removeprefix("data of ")
    if line.startswith("data of "):
        return "." in key or key == "parent"
    return any(key == name or key.startswith(f"{name}.") for name in KEPT) and not (
        key.startswith(FREE)
    )


def parameter_names(pair: nn.Module, optimizer: torch.optim.Optimizer) -> list[str]:
    """Names of the trained parameters in the order in which the optimiser counts them."""
    names = {id(parameter): name for name, parameter in pair.named_parameters()}
    return [names[id(one)] for group in optimizer.param_groups for one in group["params"]]


def take_moments(
    optimizer: torch.optim.Optimizer,
    names: Sequence[str],
    saved: Mapping[str, Any],
    saved_names: Sequence[str],
) -> None:
    """Give an optimiser what a saved one of its kind remembers of each parameter, by name.

    Rates, decays and groups stay the new ones. A parameter that is new begins without a memory.
    """
    remembered = {name: saved["state"].get(place) for place, name in enumerate(saved_names)}
    state = optimizer.state_dict()
    state["state"] = {
        place: remembered[name]
        for place, name in enumerate(names)
        if remembered.get(name) is not None
    }
    optimizer.load_state_dict(shares_of_moments(state, optimizer))


def take_weights(pair: nn.Module, saved: Mapping[str, torch.Tensor], same_loss: bool) -> None:
    """The weights of a checkpoint; a loss of another type begins with its own."""
    weights = pair.state_dict()
    own = {name: one for name, one in weights.items() if name.startswith("loss.")}
    kept = {name: one for name, one in saved.items() if same_loss or not name.startswith("loss.")}
    try:
        kept = shares_of(kept, weights)
        pair.load_state_dict(kept if same_loss else {**own, **kept})
    except RuntimeError as error:
        raise InputError(
            f"The weights of the checkpoint do not fit the model or the loss of the recipe "
            f"({error}). Give the settings that the run began with, or start a new run."
        ) from error


def new_place(state: Mapping[str, Any], length: int, items: int) -> tuple[int, int]:
    """Epoch and iteration of a checkpoint where an epoch has `length` batches of `items` each.

    Within an epoch, at most the items of one batch are seen again, and none is left out.
    """
    done = min(int(state.get("seen", 0)) // items, length)
    return state["epoch"], state["epoch"] * length + done

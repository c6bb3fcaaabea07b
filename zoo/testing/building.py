"""Checks of how a model is made: from plain values and text files, and again from what it saved."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from .. import components
from ..config import read_config
from ..interfaces import Component, Loss
from ..loading.weights import load_folder
from ..model import MatchingModel, build_model
from ..plugins.discovery import component_table
from .comparing import encoded
from .subjects import Subject, built
from .training import trained
from .verdicts import Fault


def check_built_from_json(subject: Subject) -> None:
    """The model is made of JSON values and of its own text files, twice alike."""
    for kind, part in [*subject.parts.items(), ("loss", subject.loss_part)]:
        _check_defaults(kind, str(part["type"]))
    model = built(subject)
    own = text_files_of(model)
    again = build_model(read_config(subject.config.to_json(), "config.json"), own)
    ours, theirs = (_shapes(one) for one in (model, again))
    if ours != theirs:
        names = sorted(ours.items() ^ theirs.items())
        raise Fault(
            f"Built again from its config.json and text files, the model has other weights: "
            f"{names[0][0]}.",
            "Let the constructor's arguments alone decide what is built, and `files` give every "
            "text that it was built from.",
        )
    components.build("loss", json.loads(json.dumps(subject.loss_part)))


def text_files_of(model: MatchingModel) -> dict[str, str]:
    """The text files that its parts say they are built from."""
    parts: tuple[Component, ...] = (model.image_encoder, model.text_encoder, model.aligner)
    return {name: text for part in parts for name, text in part.files().items()}


def check_saved(subject: Subject) -> None:
    """A trained model scores the same, to the last bit, when it was saved and loaded strictly."""
    _check_hidden(subject)
    model, loss = trained(subject)
    with TemporaryDirectory() as place, torch.no_grad():
        again = load_folder(model.save(Path(place) / "model"))
        first = model.aligner(*encoded(model, subject)).scores
        second = again.aligner(*encoded(again, subject)).scores
    if not torch.equal(first, second):
        raise Fault(
            f"Saved and loaded, the model scores otherwise, by up to "
            f"{(first - second).abs().max():.2g}.",
            "Keep whatever decides a score in parameters, in persistent buffers or in the "
            "constructor's arguments.",
        )
    subject.loss().load_state_dict(_through_safetensors(loss), strict=True)


def _check_hidden(subject: Subject) -> None:
    """No tensor outside of the state decides anything: none is drawn or learned."""
    first, other = (_hidden(subject.model(seed), subject.loss()) for seed in (3, 4))
    model, loss = trained(subject)
    after = _hidden(model, loss)
    for name, tensor in _hidden(*_fresh(subject)).items():
        drawn = name in first and not torch.equal(first[name], other[name])
        learned = name not in after or not torch.equal(tensor, after[name])
        if drawn or learned:
            raise Fault(
                f"{name} {'is drawn at random' if drawn else 'changes in training'} and is not "
                "saved: it is neither a parameter nor a persistent buffer.",
                "Register it: self.register_buffer(name, tensor).",
            )


def _fresh(subject: Subject) -> tuple[MatchingModel, Loss]:
    return subject.model(), subject.loss()


def _hidden(model: MatchingModel, loss: Loss) -> dict[str, Tensor]:
    """Tensors of numbers that lie in modules and not in their state, by name."""
    both = nn.ModuleDict({"model": model, "loss": loss})
    return {
        f"{name}.{key}".removeprefix("model.").replace("loss.", "the loss's ", 1): value.clone()
        for name, module in both.named_modules()
        for key, value in _tensors_of(module)
    }


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    saved = module.state_dict(keep_vars=True)
    for key, value in [*vars(module).items(), *module.named_buffers(recurse=False)]:
        if isinstance(value, Tensor) and value.is_floating_point() and key not in saved:
            yield key, value.detach()


def _through_safetensors(module: nn.Module) -> dict[str, Tensor]:
    from safetensors.torch import load, save

    state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    return load(save(state)) if state else {}


def _check_defaults(kind: str, name: str) -> None:
    component: Any = component_table().resolve(kind, name)
    for argument in inspect.signature(component).parameters.values():
        if argument.default is not argument.empty and not _is_plain(argument.default):
            raise Fault(
                f"{kind} {name!r} has the argument {argument.name!r} with the default "
                f"{argument.default!r}, which JSON cannot say.",
                "Take a number, a text, a list or a dict, and look up what it stands for inside.",
            )


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value, default=dict)  # of a mapping that cannot be changed
    except (TypeError, ValueError):
        return False
    return True


def _shapes(model: MatchingModel) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}

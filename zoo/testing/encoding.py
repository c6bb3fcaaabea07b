"""Checks of the encoders: what an item becomes depends on that item alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..interfaces import Encoder
from ..model import MatchingModel
from .samples import CAPTIONS, OTHERS, cut, distance, one_image, sample_images, spoiled
from .subjects import Subject, built
from .verdicts import Fault

ALONE = (
    "Let no item see its batch: no batch norm, no attention or mean over the first axis "
    "(torch's attention wants batch_first=True), and padding left out by the mask."
)


class Side(NamedTuple):
    """An encoder, the items that it is tried on, and each of them alone."""

    what: str
    encoder: Encoder[Any, Any]
    items: Any
    singles: list[Any]
    others: Any
    """As many items of the same lengths, the first one the same."""


def sides(model: MatchingModel, subject: Subject) -> Iterator[Side]:
    """Images and texts."""
    images = sample_images(subject.feature_dim)
    new = sample_images(subject.feature_dim, seed=1).features
    others = replace(images, features=torch.cat([images.features[:1], new[1:]]))
    alone = [one_image(images, row) for row in range(len(images))]
    yield Side("Image", model.image_encoder, images, alone, others)
    yield Side("Text", model.text_encoder, CAPTIONS, [[text] for text in CAPTIONS], OTHERS)


@torch.no_grad()
def check_alone(subject: Subject) -> None:
    """An item encodes the same alone and in company, among long ones and short ones."""
    for side in sides(built(subject), subject):
        together = side.encoder(side.encoder.prepare(side.items))
        for row, single in enumerate(side.singles):
            alone = side.encoder(side.encoder.prepare(single))
            company = cut(together[row : row + 1], alone)
            where, off = distance(company.tensors(), alone.tensors())
            if off:
                raise Fault(
                    f"{side.what} {row} of {len(side.singles)} encodes differently alone and in "
                    f"company: {where} is off by up to {off:.2g} where 0 is wanted.",
                    ALONE,
                )


@torch.no_grad()
def check_company(subject: Subject) -> None:
    """In training, too, an item's encoding does not change with the items beside it."""
    for side in sides(built(subject).train(), subject):
        if side.encoder.mixes_in_training:
            continue
        first = _seeded(side.encoder, side.encoder.prepare(side.items))[:1]
        again = _seeded(side.encoder, side.encoder.prepare(side.others))[:1]
        where, off = distance(cut(again, first).tensors(), first.tensors())
        if off:
            raise Fault(
                f"In training, {side.what.lower()} 0 encodes differently when the items beside it "
                f"change: {where} is off by up to {off:.2g} where 0 is wanted.",
                f"{ALONE} If the paper has batch norm, say so in the encoder's class: "
                "mixes_in_training = True.",
            )


@torch.no_grad()
def check_input_padding(subject: Subject) -> None:
    """What stands at padding of a prepared batch changes no encoding."""
    for side in sides(built(subject), subject):
        prepared = side.encoder.prepare(side.items)
        clean, dirty = side.encoder(prepared), side.encoder(spoiled(prepared))
        for row, single in enumerate(side.singles):
            alone = side.encoder(side.encoder.prepare(single))
            real, found = (cut(one[row : row + 1], alone) for one in (clean, dirty))
            where, off = distance(found.tensors(), real.tensors())
            if off:
                raise Fault(
                    f"{side.what} {row} encodes differently when other numbers stand at padding: "
                    f"{where} is off by up to {off:.2g} where 0 is wanted.",
                    "Leave padding out by the mask before a maximum, a softmax or a sum: "
                    "values.masked_fill(~mask, -inf) or 0.",
                )


@torch.no_grad()
def check_repeatable(subject: Subject) -> None:
    """The same input gives the same encodings and scores again, and the same seed the model."""
    model, encoded = built(subject), []
    for side in sides(model, subject):
        prepared = side.encoder.prepare(side.items)
        first, again = side.encoder(prepared), side.encoder(prepared)
        encoded.append(first)
        _same(
            first,
            again,
            f"Encoding the same {side.what.lower()}s twice gives other numbers in evaluation mode",
            "Let dropout and noise depend on self.training, and draw no random number otherwise.",
        )
        twice = side.encoder.prepare(side.items)
        _same(
            prepared,
            twice,
            f"Preparing the same {side.what.lower()}s twice without noise gives other tensors",
            "Draw random numbers in `prepare` from `noise` alone, and none where it is None.",
        )
        first, again = (side.encoder.prepare(side.items, _noise(len(prepared))) for _ in range(2))
        _same(
            first,
            again,
            f"Preparing the same {side.what.lower()}s twice with one noise gives other tensors",
            "Draw random numbers in `prepare` from `noise` alone, a generator an item.",
        )
    first, again = (model.aligner(*encoded).scores for _ in range(2))
    if not _equal(first, again):
        raise Fault(
            f"Scoring the same block twice gives other numbers, by up to "
            f"{(first - again).abs().max():.2g}.",
            "Draw no random number where a score is made.",
        )
    _same_weights(subject)


@torch.no_grad()
def check_untouched(subject: Subject) -> None:
    """Neither encoders nor aligner write to what they are given."""
    model = built(subject)
    encoded = []
    for side in sides(model, subject):
        if isinstance(side.items, Batch):
            _unchanged(side.items, side.encoder.prepare, f"Raw {side.what.lower()}")
        prepared = side.encoder.prepare(side.items)
        _unchanged(prepared, lambda batch: encoded.append(side.encoder(batch)), side.what)  # noqa: B023
    images, texts = encoded
    _unchanged(images, lambda batch: model.aligner(batch, texts), "Encoded image")
    _unchanged(texts, lambda batch: model.aligner(images, batch), "Encoded text")


def _unchanged(batch: Batch, use: Callable[[Batch], Any], what: str) -> None:
    before = {name: tensor.clone() for name, tensor in batch.tensors().items()}
    use(batch)
    for name, tensor in batch.tensors().items():
        if not torch.equal(tensor, before[name]):
            raise Fault(
                f"{what}s are changed by being used: {name} is another tensor afterwards.",
                "Work on a copy: no in-place operation (add_, masked_fill_, x[mask] = 0) on what "
                "was passed in.",
            )


def _seeded(encoder: Encoder[Any, Any], batch: Batch) -> Batch:
    torch.manual_seed(1)
    encoded: Batch = encoder(batch)
    return encoded


def _noise(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(row) for row in range(count)]


def _same(first: Batch, again: Batch, found: str, remedy: str) -> None:
    wanted, there = first.tensors(), again.tensors()
    for name, tensor in wanted.items():
        if not _equal(there[name], tensor):
            where, off = distance({name: there[name]}, {name: tensor})
            raise Fault(f"{found}: {where or name} is off by up to {off:.2g}.", remedy)


def _equal(first: Tensor, again: Tensor) -> bool:
    """To the last bit; NaN equals NaN, since another check asks for finite scores."""
    return torch.equal(first.nan_to_num(), again.nan_to_num())


def _same_weights(subject: Subject) -> None:
    first, again = (subject.model(seed=3).state_dict() for _ in range(2))
    differing = [name for name, tensor in first.items() if not torch.equal(tensor, again[name])]
    if differing:
        raise Fault(
            f"Built twice with one seed, the model begins with other weights in {differing[0]}.",
            "Draw initial weights from torch's global generator, which the seed sets.",
        )

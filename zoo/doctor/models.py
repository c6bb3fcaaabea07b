"""Which models can read a data set."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..catalogue.cards import Card
from ..data.features import FeatureSource
from ..loading.models import info, list_models

OWN = "grid"
"""The kind of features that `zoo extract` makes from pictures with a bundled extractor."""


@dataclass(frozen=True)
class Reading:
    """Whether a model reads the data, and why or why not."""

    model: str
    status: str
    fits: bool
    why: str


def readings(source: FeatureSource | None, *, pictures: bool) -> list[Reading]:
    """One for each model of the registry, those of plugins too, sorted by name."""
    return [_reading(card, source, pictures) for card in _cards()]


def _cards() -> Iterable[Card]:
    return map(info, list_models())


def _reading(card: Card, source: FeatureSource | None, pictures: bool) -> Reading:
    if source is None:
        fits, why = _from_pictures(card, pictures)
    else:
        fits, why = _from_features(card, source)
        if not fits and pictures and card.features.kind == OWN:
            fits, why = _from_pictures(card, pictures)
    return Reading(card.name, card.status_here, fits, why)


def _from_features(card: Card, source: FeatureSource) -> tuple[bool, str]:
    wanted = card.features
    if wanted.dim != source.dim:
        return False, f"reads {wanted.kind} features of {wanted.dim} dimensions, not {source.dim}"
    if wanted.boxes and not source.has_boxes:
        return False, "needs region boxes, and these features have none"
    other = "" if wanted.regions == source.regions else f", trained with {wanted.regions} regions"
    return True, f"reads the features, if they are {wanted.kind} ones{other}"


def _from_pictures(card: Card, pictures: bool) -> tuple[bool, str]:
    if pictures and card.features.kind == OWN:
        return True, "reads the pictures (zoo extract makes features of them, once)"
    return False, f"needs {card.features.kind} features, and there are none"

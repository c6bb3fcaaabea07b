"""The scales at which images and texts are compared, and the record of an item at each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zoo.batch import Batch, Fragments
from zoo.errors import InputError
from zoo.options import check_choice

SCALES = ("words", "phrases", "relations")


@dataclass(frozen=True)
class MultiScale(Batch):
    """The fragments of an image or a text at each scale; None where a scale is off.

    words:     each word, and the regions as words see them
    phrases:   each object with its attributes, and the regions in the light of the others
    relations: each phrase with those that it is related to, and the regions once more
    """

    words: Fragments | None = None
    phrases: Fragments | None = None
    relations: Fragments | None = None

    def at(self, scale: str) -> Fragments:
        """The fragments at a scale. Raises `InputError` where the encoder left it out."""
        fragments: Fragments | None = getattr(self, scale)
        if fragments is None:
            raise InputError(
                f"The aligner weighs {scale}, and an encoder left them out. "
                "Add the scale to both encoders' scales, or take it out of the aligner's weights."
            )
        return fragments


def checked_scales(scales: Sequence[str]) -> tuple[str, ...]:
    """The scales in their order. Raises `InputError` for none, and for an unknown one."""
    for scale in scales:
        check_choice("A scale", scale, SCALES)
    if not scales:
        raise InputError(f"There are no scales. Use at least one of {', '.join(SCALES)}.")
    return tuple(scale for scale in SCALES if scale in scales)


def needs_phrases(scales: Sequence[str]) -> bool:
    """Relations are between phrases, so they need those too."""
    return "phrases" in scales or "relations" in scales

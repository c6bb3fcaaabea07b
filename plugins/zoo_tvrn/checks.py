"""What TVRN refuses, and in which words."""

from __future__ import annotations

from torch import Tensor

from zoo.batch import Regions
from zoo.errors import InputError


def check_boxes(regions: Regions) -> None:
    """Raise `InputError` unless each region has a box."""
    if regions.boxes is None:
        raise InputError(
            "TVRN compares the boxes of an image's regions, and these regions have none. Give "
            "features with boxes, or build the model with threshold=None or "
            "region_context='content'."
        )
    if regions.boxes.shape != (*regions.mask.shape, 4):
        raise InputError(
            f"The boxes have the shape {tuple(regions.boxes.shape)} where "
            f"{(*regions.mask.shape, 4)} is wanted. Give x1 y1 x2 y2 for each region."
        )


def check_slots(mask: Tensor, slots: int) -> None:
    """Raise `InputError` unless every image has just the tokens that a batch norm counts."""
    if mask.shape[1] != slots or not mask.all():
        raise InputError(
            "compat='release' reads exactly 36 regions an image, since its batch norm counts them, "
            "and an image here has others. Use compat='clean'."
        )


def check_doubled(doubled: bool, text_context: str) -> None:
    """Raise `InputError` where the second of two readings is asked for without the first."""
    if not doubled:
        raise InputError(
            f"doubled is False and text_context is {text_context!r}, whose second reading goes "
            "on from the first. Use text_context 'none', or leave doubled as it is."
        )


def check_first(text_context: str, compat: str) -> None:
    """Raise `InputError` where scores would depend on company, and nobody asked for that."""
    if text_context == "first" and compat != "release":
        raise InputError(
            "text_context is 'first', which gives all images of a block the context of its "
            "first one, so that a pair's score depends on its company. Use 'pair', or "
            "compat='release' to score a released checkpoint."
        )


def check_parts(text_context: str, expands: bool, given: tuple[bool, bool]) -> None:
    """Raise `InputError` unless both encoders prepared what the aligner expands, or neither did.

    given: whether the texts can be expanded, and whether the images have what expands them
    """
    if expands != given[0] or expands > given[1]:
        raise InputError(
            f"The aligner's text_context is {text_context!r}, and an encoder was built for "
            "another. Give image encoder, text encoder and aligner the same text_context."
        )

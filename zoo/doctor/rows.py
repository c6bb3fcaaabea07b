"""Rows: how many there are, whether ids lead to pictures, and whether splits keep apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from ..data.layouts import Listing
from .finding import Finding, some
from .known import COUNTS, WITHOUT_RESTVAL

INSIDE = {"test", "testall"}
"""COCO's "test" is the first fifth of its "testall"."""


def check_counts(listing: Listing, split: str) -> Iterator[Finding]:
    """As many images and captions as the field has in that split."""
    images, captions = len(listing.image_ids), len(listing.captions)
    found = f"{images:,} images with {captions:,} captions ({_each(listing)} an image)"
    known = COUNTS.get((listing.name, split))
    if known is None or (images, captions) in known:
        also = "" if known is None else f", as {listing.name} is known to have"
        yield Finding("fine", "counts", split, f"{found}{also}.")
        return
    forgotten = listing.name == "coco" and split == "train" and images == WITHOUT_RESTVAL
    reason = ' That is train without "restval".' if forgotten else ""
    wanted = " or ".join(f"{some_images:,} with {texts:,}" for some_images, texts in known)
    yield Finding(
        "problem",
        "counts",
        split,
        f"{found}, where {listing.name} has {wanted}.{reason}",
        "Fetch the files again: numbers from these cannot be compared with published ones. "
        f"If a part is meant, give its folder a name without {listing.name!r}.",
    )


def check_mapping(listing: Listing, mapping: Mapping[str, str], split: str) -> Iterator[Finding]:
    """Every id leads to a file name."""
    lost = [image for image in listing.image_ids if image not in mapping]
    if lost:
        yield Finding(
            "problem",
            "ids",
            split,
            f"Ids that id_mapping.json does not know: {some(lost, len(lost))}.",
            "Fetch the ids and the mapping of one source: ids of COCO are its image ids, those "
            "of Flickr30K the imgid of Karpathy's file.",
        )
    else:
        yield Finding("fine", "ids", split, "Every id has a file name in id_mapping.json.")


def check_pictures(pictures: Sequence[Path], split: str) -> Iterator[Finding]:
    """Pictures, where they lie beside the captions; none is opened, and none may be empty."""
    empty = [path.name for path in pictures if path.stat().st_size == 0]
    if empty:
        yield Finding(
            "problem",
            "pictures",
            split,
            f"Pictures without a byte: {some(empty, len(empty))}.",
            "Fetch them again.",
        )
    else:
        yield Finding("fine", "pictures", split, f"{len(pictures):,} pictures are there.")


def check_apart(listings: Mapping[str, Listing]) -> Iterator[Finding]:
    """No image is in two splits."""
    for (one, first), (other, second) in combinations(listings.items(), 2):
        if {one, other} == INSIDE:
            continue
        shared = sorted(set(first.image_ids) & set(second.image_ids))
        if shared:
            yield Finding(
                "problem",
                "splits",
                f"{one}, {other}",
                f"Images that both splits have: {some(shared, len(shared))}.",
                "Fetch the ids again: a model would be measured on what it was trained on.",
            )


def _each(listing: Listing) -> str:
    """How many captions an image has.

    >>> from types import SimpleNamespace
    >>> _each(SimpleNamespace(pairs=np.array([[0, 0], [0, 1], [1, 2]]), image_ids=("a", "b")))
    '1 to 2'
    """
    counts = np.bincount(listing.pairs[:, 0], minlength=len(listing.image_ids))
    least, most = counts.min(), counts.max()
    return f"{least}" if least == most else f"{least} to {most}"

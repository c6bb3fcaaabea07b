"""Layouts in which captions lie on disk: which picture has which captions, split by split."""

from .layout import Found, Layout
from .listing import Listing, PairRows, first_images
from .recognition import LAYOUTS, recognise
from .splits import canonical_split

__all__ = [
    "LAYOUTS",
    "Found",
    "Layout",
    "Listing",
    "PairRows",
    "canonical_split",
    "first_images",
    "recognise",
]

"""Layouts in which captions lie on disk: which picture has which captions, split by split."""

from .layout import Found, Layout
from .listing import Listing, first_images
from .recognition import canonical_split, read_listing, recognise

__all__ = [
    "Found",
    "Layout",
    "Listing",
    "canonical_split",
    "first_images",
    "read_listing",
    "recognise",
]

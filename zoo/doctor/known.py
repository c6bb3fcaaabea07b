"""What is known of the field's data sets: how many rows, and which vocabularies."""

from __future__ import annotations

from collections.abc import Mapping

Counts = tuple[int, int]
"""Images and captions."""

COUNTS: Mapping[tuple[str, str], tuple[Counts, ...]] = {
    ("coco", "train"): ((113_287, 566_435), (113_287, 566_747)),
    ("coco", "dev"): ((1_000, 5_000), (5_000, 25_000), (5_000, 25_010)),
    ("coco", "test"): ((1_000, 5_000), (5_000, 25_000), (5_000, 25_010)),
    ("coco", "testall"): ((5_000, 25_000), (5_000, 25_010)),
    ("f30k", "train"): ((29_000, 145_000),),
    ("f30k", "dev"): ((1_014, 5_070), (1_000, 5_000)),
    ("f30k", "test"): ((1_000, 5_000),),
    ("f8k", "train"): ((6_000, 30_000),),
    ("f8k", "dev"): ((1_000, 5_000),),
    ("f8k", "test"): ((1_000, 5_000),),
}
"""By data set and split. Karpathy's files keep a sixth and seventh caption, which SCAN's cut."""

WITHOUT_RESTVAL = 82_783
"""Images of COCO's train split where the 30,504 of "restval" were forgotten."""

VOCABULARIES: Mapping[str, str] = {
    "87fa35923a0290235a9f8b45137ceb3ca26f4ddc99e4760e23f963da9dc74b83": "coco",
    "5d2471692f81c73d1c2084e1972fd9e00963afb08f3611473398124e6901ed1e": "f30k",
}
"""The data set of each vocabulary that SCAN published, by the fingerprint of its words."""

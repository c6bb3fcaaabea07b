"""What a paper says of a model beside what was measured of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .tables import Table
from .trust import HEADERS

PROTOCOLS = {"1k": "f30k-1k", "5k": "coco-5k", "5 folds of 1k": "coco-1k"}
"""How the registry writes a paper's protocol, and its name in `zoo.protocols`."""


def claims_table(
    title: str, rows: Iterable[tuple[Mapping[str, Any], Mapping[str, float]]]
) -> Table:
    """Of each result of a paper and the figures measured under its protocol: both, and how far off.

    >>> paper = {"protocol": "1k", "metrics": dict.fromkeys(HEADERS, 80.0)}
    >>> claims_table("", [(paper, dict.fromkeys(HEADERS, 79.5))]).rows[2][-1]
    '-0.5'
    """
    lines = []
    for paper, measured in rows:
        printed = paper["metrics"]
        lines += [
            ("paper", paper["protocol"], *(f"{printed[figure]:.1f}" for figure in HEADERS)),
            ("measured", "", *(f"{measured[figure]:.1f}" for figure in HEADERS)),
            ("", "", *(f"{measured[figure] - printed[figure]:+.1f}" for figure in HEADERS)),
        ]
    return Table(title, ("", "protocol", *HEADERS.values()), lines, tuple(HEADERS.values()))

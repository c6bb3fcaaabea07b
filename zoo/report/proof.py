"""What a measurement must tell of itself before a table shows it as measured.

A figure that somebody typed has no command, data or weights that give it again; one that was
changed afterwards does not add up any more.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .recalls import RECALLS, WAYS

ROUNDING = 0.04  # of six figures and their sum, each to two decimals
HEX = r"[0-9a-f]{64}"
KIND = ("dataset", "split", "protocol", "row")
TOLD = {
    "command": r"zoo \w+ .+|\S+\.py( .*)?",  # of the command line, or a program that trains
    "date": r"\d{4}-\d{2}-\d{2}",
    "data_fingerprint": HEX,
    "model_sha256": HEX,
}
"""What a row has, and in which form, from which its figures can be measured again."""


def proven(rows: Sequence[Mapping[str, Any]], place: Path) -> Sequence[Mapping[str, Any]]:
    """The rows, read at a place.

    Raises `DataError` for one that nobody can measure again, and for rows that would count as runs
    of several seeds but are none.
    """
    for row in rows:
        faults = unproven(row)
        if faults:
            raise DataError(
                f"{place} has a row of {row['dataset']} {row['split']} (seed {row.get('seed')}) "
                f"that does not count as measured: {'; '.join(faults)}. Measure it again: "
                f"zoo evaluate MODEL --data PATH --split {row['split']} --save-results"
            )
    if faults := mixed(rows):
        raise DataError(
            f"{place} has rows that cannot stand in one line of a table: {'; '.join(faults)}. "
            "Leave the rows that were measured, one for each seed, all on the same data."
        )
    return rows


def mixed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What keeps rows of one kind from being runs of different seeds on the same data, in words.

    A kind is a data set, split and protocol, and in an ablation its row. The mean over a run that
    is there twice, or over runs on different data, would be of nothing.
    """
    kinds: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(tuple(row.get(key) for key in KIND), []).append(row)
    faults = []
    for kind, alike in kinds.items():
        words = " ".join(str(part) for part in kind if part is not None)
        for key in ("seed", "model_sha256"):
            if len({row.get(key) for row in alike}) < len(alike):
                faults.append(f"{words} has several rows of one {key}")
        if len({row["data_fingerprint"] for row in alike}) > 1:
            faults.append(f"{words} has rows of more than one data_fingerprint")
    return faults


def unproven(row: Mapping[str, Any]) -> list[str]:
    """What keeps a row from being a measurement, in words; nothing for a sound one.

    >>> metrics = dict.fromkeys(("i2t_r1", "i2t_r5", "i2t_r10"), 50.0)
    >>> metrics |= dict.fromkeys(("t2i_r1", "t2i_r5", "t2i_r10"), 40.0)
    >>> unproven({"metrics": metrics | {"rsum": 300.0}})[0]
    'rsum is 300.00, but its six parts sum to 270.00'
    """
    metrics = row["metrics"]
    total = sum(metrics[f"{way}_{at}"] for way in WAYS for at in RECALLS)
    faults = []
    if not math.isfinite(total) or not abs(total - metrics["rsum"]) <= ROUNDING:
        faults.append(f"rsum is {metrics['rsum']:.2f}, but its six parts sum to {total:.2f}")
    for way in WAYS:
        recalls = [metrics[f"{way}_{at}"] for at in RECALLS]
        if recalls != sorted(recalls) or recalls[0] < 0 or recalls[-1] > 100:
            faults.append(f"{way} recalls {recalls} fall or are no percent")
    if row.get("ties", "against") != "against":
        faults.append(f"ties are {row['ties']!r} and not against the match")
    for key, form in TOLD.items():
        if not re.fullmatch(form, str(row.get(key, ""))):
            faults.append(f"{key} is {row.get(key)!r}")
    return faults


def strangers(rows: Sequence[Mapping[str, Any]], own_sha256: str) -> list[str]:
    """What in a folder's results speaks of weights that are neither its own nor of another seed.

    own_sha256: of the weights that lie in the folder
    """
    seeds = {row.get("model_sha256"): row.get("seed") for row in rows}
    faults = [] if own_sha256 in seeds else ["no row is of the weights that lie here"]
    others: dict[Any, list[str]] = {}
    for sha256, seed in seeds.items():
        others.setdefault(seed, []).append(str(sha256)[:12])
    faults += [
        f"seed {seed} has rows of different weights: {', '.join(found)}"
        for seed, found in others.items()
        if len(found) > 1
    ]
    return faults

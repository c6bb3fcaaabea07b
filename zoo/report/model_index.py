"""Measurements in the front matter of a card, as the Hub reads them (`model-index`).

Only what we measured of these very weights stands there: whoever reads it takes each figure for
the model's own. What papers report is told in the card's text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .recalls import RECALLS, WAYS

TASK = {"type": "image-text-retrieval", "name": "Image-text retrieval"}
DATASETS = {"coco": "MS COCO", "f30k": "Flickr30K", "f8k": "Flickr8k"}


def model_index(name: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One model with a result for each row, in the form of the Hub; nothing without rows.

    The protocol is the data set's `config`, so that the Hub keeps rows of a split apart.
    """
    if not rows:
        return []
    return [{"name": name, "results": [_result(row) for row in rows]}]


def _result(row: Mapping[str, Any]) -> dict[str, Any]:
    dataset = str(row["dataset"])
    named = [
        {"type": "recall", "name": f"{words} R@{at[1:]}", "value": row["metrics"][f"{way}_{at}"]}
        for way, words in WAYS.items()
        for at in RECALLS
    ]
    return {
        "task": TASK.copy(),
        "dataset": {
            "type": dataset,
            "name": DATASETS.get(dataset, dataset),
            "config": str(row["protocol"]),
            "split": str(row["split"]),
        },
        "metrics": [*named, {"type": "rsum", "name": "rsum", "value": row["metrics"]["rsum"]}],
    }

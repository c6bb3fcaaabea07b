"""One HTML file that shows how a model retrieves: figures, ranks, and what goes wrong.

It needs no other file and no network: style, script and small pictures are inside, and it forbids
the browser to fetch anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..evaluation.statistics import Interval, intervals
from ..metrics import Rows
from ..protocols import Protocol, folds_of, measure
from ..scores import SavedScores, listing_fingerprint
from .charts import DEEPEST, even, rank_bars, rank_shares, recall_curve, recall_lines
from .failures import Fold, find_failures
from .gallery import Gallery
from .markup import element
from .recalls import RECALLS, WAYS

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..evaluation.measuring import Evaluation

FAILURES = 12
LEVEL = 0.95
TIES = {
    "against": "a candidate that scores like the match outranks it",
    "legacy": "among equal scores the highest number ranks first, as in the field's programs",
}
UNKNOWN = "not recorded"
NOTE = (
    "R@K: the percentage of queries that find one of their matches among the first K; rsum: their "
    f"sum. Below each, its {100 * LEVEL:.0f} % bootstrap interval over images with their "
    "captions: where it may well lie for other queries of this kind. Ranks count from 1."
)


def report_page(
    saved: SavedScores,
    evaluation: Evaluation,
    *,
    protocol: Protocol | None = None,
    dataset: Dataset | None = None,
    failures: int = FAILURES,
) -> str:
    """The page of scores on disk, measured under a protocol.

    evaluation: of these scores under this protocol, as `evaluate_scores` gives it
    dataset:    where captions and pictures come from; without one, ids stand in their place
    failures:   how many of the worst queries and of the near misses to show, each way

    Raises `DataError` for a data set with other images or captions than were scored.
    """
    if dataset is not None:
        _check_listing(saved, dataset)
    protocol, ties = protocol or Protocol(), evaluation.ties
    measured = measure(saved.scores, saved.pairs, protocol, ties, dataset=evaluation.dataset)
    parts = folds_of(protocol, saved.pairs, saved.index.shape)
    folds = [Fold(*part, ranks) for part, ranks in zip(parts, measured.ranks, strict=True)]
    found = find_failures(saved.scores, folds, ties, failures)
    style, script = _resource("page.css"), _resource("page.js")
    facts, known = _facts(saved, evaluation), intervals(measured.ranks, level=LEVEL)
    return Template(_resource("page.html")).substitute(
        title=escape(
            f"{saved.index.model or 'A model'} on {evaluation.dataset} {evaluation.split}"
        ),
        lead=_lead(evaluation, known["rsum"]),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        metrics=_metrics(evaluation.metrics, known),
        metrics_note=NOTE,
        charts=_charts(folds),
        facts=element(
            "dl", *(element("dt", escape(k)) + element("dd", escape(v)) for k, v in facts.items())
        ),
        failures=Gallery(saved.index.image_ids, dataset).cards(found),
        footer=escape(f"Made by zoo report from the scores of {evaluation.date or UNKNOWN}."),
    )


def _check_listing(saved: SavedScores, dataset: Dataset) -> None:
    own = listing_fingerprint(dataset.image_ids, dataset.captions, dataset.pairs)
    if own != saved.index.listing:
        raise DataError(
            f"{dataset.name} {dataset.split} is not what was scored in {saved.folder}: other "
            "images, captions, or another order of them. Give the data set that the scores are "
            "of, or none."
        )


def _lead(evaluation: Evaluation, rsum: Interval) -> str:
    figure = element("b", f"{evaluation.metrics['rsum']:.1f}")
    between = f"({rsum.low:.1f} to {rsum.high:.1f})"
    return f"rsum {figure} {between}, {escape(evaluation.protocol)}"


def _metrics(metrics: Mapping[str, float], known: Mapping[str, Interval]) -> str:
    heads = ["", *(f"R@{at[1:]}" for at in RECALLS), "median rank", "mean rank"]
    rows = []
    for way, words in WAYS.items():
        cells = [
            element("td", f"{metrics[name]:.1f}", _between(known[name]))
            for name in (f"{way}_{at}" for at in RECALLS)
        ]
        cells += [element("td", f"{metrics[f'{way}_{mean}']:.1f}") for mean in ("medr", "meanr")]
        rows.append(element("tr", element("th", words, scope="row"), *cells))
    head = element("tr", *(element("th", name or " ", scope="col") for name in heads))
    table = element("table", element("thead", head), element("tbody", *rows))
    return element("div", table, class_="scroll")


def _between(interval: Interval) -> str:
    return element("small", f"{interval.low:.1f} to {interval.high:.1f}")


def _charts(folds: list[Fold]) -> str:
    ranks: dict[str, list[Rows]] = {
        "i2t": [fold.ranks.images for fold in folds],
        "t2i": [fold.ranks.texts for fold in folds],
    }
    among = {
        "i2t": max(len(fold.columns) for fold in folds),
        "t2i": max(len(fold.rows) for fold in folds),
    }
    shares = {way: rank_shares(_joined(ranks[way]), among[way]) for way in WAYS}
    top = even(max(max(each.values()) for each in shares.values()))
    deepest = min(DEEPEST, *among.values())
    curves = {way: recall_curve(ranks[way], deepest) for way in WAYS}
    drawn = [
        _figure(f"Queries by rank: {WAYS[way]} (%)", rank_bars(way, shares[way], top))
        for way in WAYS
    ]
    drawn.append(_figure("R@K for every K (%)", recall_lines(curves), class_="wide"))
    return element("div", *drawn, class_="charts")


def _figure(words: str, drawing: str, **attributes: object) -> str:
    return element("figure", element("figcaption", words), drawing, **attributes)


def _joined(ranks: list[Rows]) -> Rows:
    import numpy as np

    return np.concatenate(ranks)


def _facts(saved: SavedScores, evaluation: Evaluation) -> dict[str, str]:
    """Everything that the figures depend on, in words."""
    index = saved.index
    known: dict[str, Any] = {
        "model": index.model,
        "weights (sha256)": index.model_sha256,
        "data set": evaluation.dataset,
        "split": evaluation.split,
        "epoch chosen on": evaluation.selection,
        "protocol": f"{evaluation.protocol_name}: {evaluation.protocol}",
        "images": f"{evaluation.images:,}",
        "captions": f"{evaluation.captions:,}",
        "ties": f"{evaluation.ties}: {TIES[evaluation.ties]}",
        "computed in": evaluation.dtype,
        "seed of the training": evaluation.seed,
        "data fingerprint": evaluation.data_fingerprint,
        "code": evaluation.code,
        "device": evaluation.measured_on or evaluation.device,
        "date": evaluation.date,
    }
    return {name: UNKNOWN if value in (None, "") else str(value) for name, value in known.items()}


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """By which a browser knows the one style or script that the page allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

"""CxC and ECCV Caption: retrieval on COCO's 5K test split where more is known to belong together.

COCO says of a caption that it describes the one picture it was written for, though it may describe
others as well. Crisscrossed Captions (Parekh et al., EACL 2021) and ECCV Caption (Chun et al., ECCV
2022) asked people which others; both are read from the installed package `eccv_caption`, of
which only the data are used.

R@K is that a query finds any of its matches among the first K. R-Precision is the share of matches
among the first R, R being how many matches the query has. mAP@R is the mean over the places
1..R of the precision there, nothing where the place holds no match (Musgrave, Belongie and Lim, A
metric learning reality check, ECCV 2020). All are means over queries, in percent, and ties count
against the match.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, InputError
from .coco_ids import Joined

Rows = NDArray[np.int64]
Matches = Mapping[int, Sequence[int]]
"""The ids of what belongs to a query, by the query's id."""

METRICS = ("r1", "r5", "r10", "rprecision", "map_at_r")
BLOCK = 512  # queries read at once


@dataclass(frozen=True)
class ExtendedCaptions:
    """What the package knows, by COCO's ids.

    captions: the captions of each image in the package's order, which is that of their ids
    matches:  of "cxc" and "eccv", for an image ("i2t") and for a caption ("t2i")
    """

    captions: Mapping[int, tuple[int, ...]]
    matches: Mapping[str, Mapping[str, Matches]]

    @classmethod
    def read(cls) -> ExtendedCaptions:
        """From the installed package. Raises `InputError` where there is none."""
        found = find_spec("eccv_caption")
        if found is None or found.origin is None:
            raise InputError(
                "The package eccv_caption, which has the matches of CxC and ECCV Caption, is not "
                "installed. Install it: pip install 'itm-zoo[eccv]'"
            )
        folder = Path(found.origin).parent / "data"
        try:
            described = _read_matches(folder / "original_caption_to_image.json")
            captions: dict[int, list[int]] = {}
            for caption in np.load(folder / "coco_test_ids.npy", allow_pickle=False).tolist():
                captions.setdefault(described[caption][0], []).append(caption)
            files = {"i2t": "image_to_caption", "t2i": "caption_to_image"}
            matches = {
                source: {
                    way: _read_matches(folder / f"{source}_{name}.json")
                    for way, name in files.items()
                }
                for source in ("cxc", "eccv")
            }
        except (OSError, ValueError, LookupError) as error:
            raise DataError(
                f"{folder} does not hold the files that eccv_caption 0.1 has "
                f"({type(error).__name__}: {error}). Install it again: pip install 'itm-zoo[eccv]'"
            ) from error
        return cls({image: tuple(ids) for image, ids in captions.items()}, matches)


def extended_report(
    scores: Any, known: ExtendedCaptions, joined: Joined
) -> dict[str, dict[str, float]]:
    """The metrics of "cxc" and "eccv" over scores (images, captions), which may be a map of a file.

    `i2t_r1` and so on with the names of `METRICS`. Queries are the images or captions that the
    source asked about; candidates are all captions that were joined, or all images.
    """
    ways = {
        "i2t": (scores, joined.images, joined.captions),
        "t2i": (scores.T, joined.captions, joined.images),
    }
    report: dict[str, dict[str, float]] = {}
    for source, matches in known.matches.items():
        report[source] = {}
        for way, (matrix, queries, candidates) in ways.items():
            figures = retrieval_metrics(matrix, matches[way], queries, candidates)
            report[source] |= {f"{way}_{name}": value for name, value in figures.items()}
    return report


def retrieval_metrics(
    scores: Any, matches: Matches, queries: Mapping[int, int], candidates: Mapping[int, int]
) -> dict[str, float]:
    """The mean of `METRICS` over queries, in percent.

    scores:     (queries, candidates)
    queries:    the row of each query by its id; those without matches are not asked
    candidates: the column of each candidate by its id; other columns are left out

    A match that is no candidate counts as one that was never found. Raises `DataError` for a query
    of `matches` that has no row, or that has no match among the candidates.
    """
    columns = np.array(list(candidates.values()))
    places = {column: place for place, column in enumerate(columns.tolist())}
    asked = sorted((_row(query, queries), set(ids)) for query, ids in matches.items())
    figures = []
    for start in range(0, len(asked), BLOCK):
        some = asked[start : start + BLOCK]
        rows = np.array([row for row, _ in some])
        block = np.asarray(scores[rows])[:, columns]
        if not np.isfinite(block).all():
            raise InputError(
                "Some of the scores are NaN or infinite. A metric over them would be wrong: find "
                "the item whose features or text give them."
            )
        for line, (row, ids) in zip(block, some, strict=True):
            there = [places[candidates[one]] for one in ids if one in candidates]
            if not there:
                raise DataError(
                    f"None of the {len(ids)} matches of the query in row {row} is a candidate. "
                    "Give scores of the whole split."
                )
            figures.append(_query_metrics(match_places(line, there), len(ids)))
    means: list[float] = (100 * np.mean(figures, 0)).tolist()
    return dict(zip(METRICS, means, strict=True))


def match_places(scores: NDArray[Any], matches: Sequence[int]) -> Rows:
    """Where each match stands among the candidates, 0 is best: (matches,), best first.

    `scores` are (candidates,). Among equal scores, matches stand last.

    >>> match_places(np.array([0.9, 0.5, 0.5, 0.1]), [0, 2, 3]).tolist()
    [0, 2, 3]
    """
    own = np.sort(scores[list(matches)])[::-1]
    ahead = (scores >= own[:, None]).sum(1) - (own >= own[:, None]).sum(1)
    places: Rows = ahead + np.arange(len(own))
    return places


def _query_metrics(places: Rows, count: int) -> tuple[float, ...]:
    """`METRICS` of one query whose matches, `count` in all, stand at `places`, best first."""
    recalls = (float(places[0] < k) for k in (1, 5, 10))
    precisions = (np.arange(len(places)) + 1) / (places + 1)
    inside = places < count
    return (*recalls, inside.sum() / count, precisions[inside].sum() / count)


def _read_matches(path: Path) -> dict[int, list[int]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return {int(query): [int(one) for one in found] for query, found in content.items()}


def _row(query: int, queries: Mapping[int, int]) -> int:
    try:
        return queries[query]
    except KeyError:
        raise DataError(
            f"The id {query}, which is asked about, is not among the {len(queries):,} that the "
            "scores have. Give scores of COCO's whole 5K test split (testall)."
        ) from None

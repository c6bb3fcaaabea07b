"""How well a model retrieves, over a whole split: the figures, and what they were measured on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..bars import Advance
from ..device import device_words
from ..errors import DataError, InputError
from ..metrics import Share, Ties
from ..processes import Processes
from ..protocols import Measured, Protocol, folds_of, measure
from ..scores import IDENTITY, HeldScores, SavedScores, ScoresIndex
from ..version import code_version
from .encoding import ALONE, readable
from .split_scores import (
    Precision,
    model_dtype,
    score_in_blocks,
    scores_index,
    usable_precision,
)

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..model import MatchingModel


@dataclass(frozen=True)
class Evaluation:
    """One measurement: the figures, and everything needed to make them again.

    protocol:         what was ranked against what, with the counts of images and captions
    protocol_name:    what the field calls it ("coco-1k"), "own" where it has no name
    metrics:          R@1, R@5, R@10 both ways in percent, their sum, median and mean ranks
    ties:             "against": a candidate that scores like the match outranks it; "legacy": as
                      the field's programs have it
    selection:        the split on which the epoch of the weights was chosen, or "none: last epoch";
                      None where their training did not record it
    seed:             of the training, likewise
    data_fingerprint: of ids, captions, their map and the pictures or features
    dtype:            that the model computed in; scores are float32
    precision:        how pairs were scored: "exact" has the ranks of "float32" (`Precision`)
    code:             the version, and the commit where there is one, that scored
    seconds:          encoding and scoring, wall clock; None where an evaluation was interrupted
    scoring_seconds:  of that, scoring all pairs of encoded images and captions
    measured_on:      what computed it, for the times to mean something
    parameters:       of the model without its extractor, and all of them
    """

    dataset: str
    split: str
    protocol: str
    images: int
    captions: int
    metrics: dict[str, float]
    data_fingerprint: str
    protocol_name: str = "own"
    ties: Ties = "against"
    selection: str | None = None
    seed: int | None = None
    dtype: str = "float32"
    precision: Precision = "float32"
    code: str = ""
    device: str = "cpu"
    torch_version: str = torch.__version__
    date: str = ""
    seconds: float | None = 0.0
    scoring_seconds: float | None = None
    measured_on: str = ""
    parameters: int | None = None
    parameters_with_extractor: int | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values, figures to two decimals; seed and selection where they are known."""
        values = asdict(self)
        values["metrics"] = {name: round(value, 2) for name, value in self.metrics.items()}
        for name, places in (("seconds", 1), ("scoring_seconds", 2)):
            if values[name] is not None:
                values[name] = round(values[name], places)
        unknown = {name for name in ("selection", "seed") if values[name] is None}
        return {name: value for name, value in values.items() if name not in unknown}


def evaluate(
    model: MatchingModel,
    dataset: Dataset,
    *,
    protocol: Protocol | None = None,
    ties: Ties = "against",
    precision: Precision | None = None,
    save_scores: str | Path | None = None,
    model_sha256: str = "",
    facts: Mapping[str, Any] | None = None,
    advance: Advance | None = None,
    processes: Processes = ALONE,
) -> Evaluation:
    """Measure R@K both ways on one split; without a protocol, all images against all captions.

    `precision` is "exact", which has the ranks of float32 in less time where the method and the
    machine allow it, or "float32". Scores that are saved are float32, since a file of them may be
    averaged with others, and measured against other matches.

    With `save_scores`, the scores are written to that folder as they are made, and not kept in
    memory; an evaluation that was killed goes on from the images that are done, and
    `evaluate_scores` measures the folder again without model and data. `facts` are what the
    training told (seed, selection, ...); they go with the scores, as `model_sha256` does. The
    images are read as `readable` says, with its errors.

    Several `processes` (`zoo.processes.joined_processes`) share the images and the captions, and
    each yields the measurement that one would, to the last bit; `save_scores` is then a folder that
    all of them can write to. Raises `DataError` where they would not score the same.

    >>> evaluate(model, dataset, protocol=choose_protocol("coco-1k"))  # doctest: +SKIP
    """
    if save_scores is not None and precision == "exact":
        raise InputError(
            "Scores that are saved, or shown on a page, are float32, and the precision that was "
            "given is exact. Leave the precision out, or save no scores, or make no page."
        )
    dataset = readable(model, dataset)
    shape = len(dataset.image_ids), len(dataset.captions)
    folds_of(protocol or Protocol(), dataset.pairs, shape)  # errors come before the work
    told = {**(facts or {}), **_model_facts(model, processes)}
    if save_scores is not None or processes.count > 1:
        index = scores_index(model, dataset, model_sha256)
        _check_alike(index, processes)
    if save_scores is not None:
        place = Path(save_scores)
        saved = processes.once(lambda: SavedScores.create(place, index, dataset.pairs))
        if not saved.complete:
            _tell(saved, told, processes)
            _tell(saved, _fill(saved, model, dataset, "float32", advance, processes), processes)
        return processes.once(lambda: evaluate_scores(saved, protocol=protocol, ties=ties))
    held = HeldScores(shape)
    told |= _fill(held, model, dataset, precision or "exact", advance, processes)
    share = Share(held.here, lambda values: np.add.reduce(processes.everyones(values)))
    measured = measure(
        held.scores, dataset.pairs, protocol, ties, dataset=dataset.name, share=share
    )
    return _evaluation(dataset.name, dataset.split, dataset.fingerprint, measured, ties, told)


def evaluate_scores(
    saved: SavedScores, *, protocol: Protocol | None = None, ties: Ties = "against"
) -> Evaluation:
    """Measure scores on disk, under any protocol, without the model and the data.

    Its date and its times are of when the scores were made.

    >>> evaluate_scores(SavedScores.open("scores"), ties="legacy")     # doctest: +SKIP
    """
    index = saved.index
    measured = measure(saved.scores, saved.pairs, protocol, ties, dataset=index.dataset)
    told = {"seconds": None, **index.facts, "dtype": index.dtype, "code": index.code}
    return _evaluation(index.dataset, index.split, index.data_fingerprint, measured, ties, told)


def _evaluation(
    dataset: str,
    split: str,
    fingerprint: str,
    measured: Measured,
    ties: Ties,
    told: Mapping[str, Any],
) -> Evaluation:
    known = {field.name for field in fields(Evaluation)}
    return Evaluation(
        dataset=dataset,
        split=split,
        protocol=measured.words,
        images=measured.images,
        captions=measured.captions,
        metrics=measured.metrics,
        data_fingerprint=fingerprint,
        protocol_name=measured.name,
        ties=ties,
        **{name: value for name, value in told.items() if name in known},
    )


def _fill(
    scores: HeldScores | SavedScores,
    model: MatchingModel,
    dataset: Dataset,
    precision: Precision,
    advance: Advance | None,
    processes: Processes,
) -> dict[str, Any]:
    """Score what is not scored yet; the times are those of all images, or unknown."""
    whole, started, scoring = scores.rows_done == 0, time.monotonic(), 0.0
    for part in score_in_blocks(
        model,
        dataset,
        done=scores.rows_done,
        precision=precision,
        advance=advance,
        processes=processes,
    ):
        scores.put(part.first, part.rows)
        scoring += part.seconds
        if isinstance(scores, SavedScores):
            processes.wait()  # the others' rows are there
        if processes.first or not isinstance(scores, SavedScores):
            scores.count(part.done)
    longest = max(processes.everyones(scoring))
    return {
        "seconds": time.monotonic() - started if whole else None,
        "scoring_seconds": longest if whole else None,
        "date": datetime.now(UTC).date().isoformat(),
        "precision": usable_precision(model, precision),
    }


def _tell(saved: SavedScores, facts: Mapping[str, Any], processes: Processes) -> None:
    processes.once(lambda: saved.tell(facts))


def _check_alike(index: ScoresIndex, processes: Processes) -> None:
    """Raise `DataError`, in all processes, where one would score another model or other data."""
    first, *others = processes.everyones({name: getattr(index, name) for name in IDENTITY})
    for number, other in enumerate(others, 1):
        if differing := [name for name in IDENTITY if other[name] != first[name]]:
            raise DataError(
                f"Process {number} of {processes.count} has another {' and '.join(differing)} than "
                "process 0. Give all of them the same command, the same files and the same version "
                "of the zoo."
            )


def _model_facts(model: MatchingModel, processes: Processes) -> dict[str, Any]:
    shared = f", in each of {processes.count} processes" if processes.count > 1 else ""
    extracting = sum(map(Tensor.numel, model.extractor.parameters())) if model.extractor else 0
    parameters = sum(map(Tensor.numel, model.parameters()))
    return {
        "device": str(model.device),
        "torch_version": torch.__version__,
        "measured_on": device_words(model.device) + shared,
        "parameters": parameters - extracting,
        "parameters_with_extractor": parameters,
        "dtype": model_dtype(model),
        "code": code_version(),
    }

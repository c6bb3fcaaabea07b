"""`zoo ensemble`: several models as one."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .matching import Device
from .outputs import check_writable, write_json
from .scored import Data, Features, Folds, Places, ProtocolName, Split, Ties, names_of, scored
from .screen import progress, show

if TYPE_CHECKING:
    from ..evaluation.ensembles import Ensemble
    from ..scores import SavedScores


def ensemble(
    context: typer.Context,
    places: Places,
    data: Data = None,
    split: Split = None,
    features: Features = None,
    weights: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="How much each counts; alike without.")
    ] = None,
    standardise: Annotated[
        bool, typer.Option("--standardise", help="First give each matrix mean 0 and deviation 1.")
    ] = False,
    protocol: ProtocolName = "auto",
    folds: Folds = None,
    ties: Annotated[Ties, typer.Option(help="As in zoo evaluate.")] = Ties.AGAINST,
    save_scores: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Keep the scores of the ensemble there.")
    ] = None,
    device: Device = "cpu",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the record as JSON.")
    ] = None,
) -> None:
    """Measure the mean of several models' scores on one split, beside each of them.

    Example: zoo ensemble mfa-f8k mssan-f8k --data flickr8k --features flickr8k/features
    """
    from ..evaluation.ensembles import Ensemble
    from ..evaluation.measuring import evaluate_scores
    from ..protocols import choose_protocol
    from ..report.tables import evaluation_facts
    from ..report.trust import figures_table
    from ..version import __version__

    if json_file is not None:
        check_writable(json_file, "--json")
    if save_scores is not None:
        check_writable(save_scores, "--save-scores", "folder")
    chosen, shares = choose_protocol(protocol, folds=folds), _weights(weights)
    with (
        scored(places, data, split, features, device) as parts,
        TemporaryDirectory(prefix="zoo-ensemble-") as aside,
    ):
        joined = Ensemble(parts, shares, standardise)
        saved = _save(joined, save_scores or Path(aside) / "scores")
        *alone, evaluation = (
            evaluate_scores(one, protocol=chosen, ties=ties.value) for one in (*parts, saved)
        )
    rows = [
        (name, one.metrics)
        for name, one in zip([*names_of(places), "ensemble"], [*alone, evaluation], strict=True)
    ]
    title = f"{joined.name} on {evaluation.dataset} {evaluation.split}, {evaluation.protocol}"
    weighed = ", ".join(f"{share:.4g}" for share in joined.shares)
    made = f"weights: {weighed}; {'standardised' if standardise else 'scores as they are'}"
    show(figures_table(title, rows), made, evaluation_facts(evaluation))
    if json_file is not None:
        record = {
            "model": joined.name,
            "ensemble": joined.index().facts["ensemble"],
            **evaluation.to_json(),
        }
        ran = {"command": shlex.join(["zoo", *context.obj.arguments]), "zoo_version": __version__}
        write_json(json_file, {**record, **ran})


def _weights(given: str | None) -> list[float] | None:
    if given is None:
        return None
    try:
        return [float(weight) for weight in given.split(",")]
    except ValueError:
        raise InputError(
            f"--weights is {given!r}. Give a number for each model, such as 1,2."
        ) from None


def _save(joined: Ensemble, folder: Path) -> SavedScores:
    """Write the scores of an ensemble; what is there of them already stays."""
    from ..scores import SavedScores

    saved = SavedScores.create(folder, joined.index(), joined.parts[0].pairs)
    saved.tell({"date": datetime.now(UTC).date().isoformat()})
    images = len(saved.index.image_ids)
    with progress() as advance:
        for rows in joined.blocks(saved.rows_done):
            saved.append(rows)
            advance("ensemble", len(rows), images)
    return saved

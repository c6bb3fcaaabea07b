"""`zoo extended`: CxC and ECCV Caption."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError, InputError
from .outputs import check_writable, write_json
from .scored import Data
from .screen import show

if TYPE_CHECKING:
    from ..scores import SavedScores


def extended(
    context: typer.Context,
    scores: Annotated[
        Path, typer.Argument(help="Folder of `zoo evaluate --save-scores` on COCO's testall.")
    ],
    data: Data = None,
    annotations: Annotated[
        Path | None,
        typer.Option(help="captions_val2014.json: captions are told by text; needs --data."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the record as JSON.")
    ] = None,
) -> None:
    """Measure with the matches that people found beyond COCO's own: CxC and ECCV Caption.

    Example: zoo extended scores/chan-coco
    """
    from ..evaluation.coco_ids import join, read_annotations
    from ..evaluation.extended import ExtendedCaptions, extended_report
    from ..report.trust import extended_table
    from ..scores import SavedScores
    from ..version import __version__

    if json_file is not None:
        check_writable(json_file, "--json")
    if (data is None) != (annotations is None):
        raise InputError(
            "The texts of captions are compared with COCO's. Give both --data and --annotations, "
            "or neither."
        )
    known, saved = ExtendedCaptions.read(), SavedScores.open(scores)
    texts = None if data is None else _captions(data, saved)
    spoken = None if annotations is None else read_annotations(annotations)
    joined = join(known.captions, saved.index.image_ids, saved.pairs, texts, spoken)
    report = extended_report(saved.scores, known, joined)
    title = f"{saved.index.model} on {saved.index.dataset} {saved.index.split}"
    show(extended_table(title, report), f"captions told {joined.how}; ties: against")
    if json_file is not None:
        told = saved.index.model_dump(include={"model", "model_sha256", "dataset", "split"})
        ran = {"command": shlex.join(["zoo", *context.obj.arguments]), "zoo_version": __version__}
        made = {"data_fingerprint": saved.index.data_fingerprint, "code": saved.index.code}
        how = {"captions_told": joined.how, "ties": "against", "metrics": report}
        write_json(json_file, {**told, **made, **how, **ran})


def _captions(data: Path, saved: SavedScores) -> tuple[str, ...]:
    """The captions that were scored. Raises `DataError` for a folder with others."""
    import numpy as np

    from ..data.dataset import open_dataset
    from ..scores import listing_fingerprint

    dataset = open_dataset(data, saved.index.split)
    listing = listing_fingerprint(dataset.image_ids, dataset.captions, np.asarray(dataset.pairs))
    if listing != saved.index.listing:
        raise DataError(
            f"{data} has other images or captions than {saved.folder} holds scores of. Give the "
            "folder that was evaluated."
        )
    return dataset.captions

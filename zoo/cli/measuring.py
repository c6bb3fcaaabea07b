"""`zoo evaluate`: how well a model retrieves, on a whole split."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .matching import Device
from .names import complete_model, load_model, model_folder
from .outputs import check_writable
from .screen import note, progress, show

if TYPE_CHECKING:
    from ..evaluation import Evaluation


def evaluate(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=complete_model,
            help="A registered name, a model folder, or local-dir:PATH.",
        ),
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder of the data set.")],
    split: Annotated[str, typer.Option(help="Which split: test, dev, ...")] = "test",
    features: Annotated[
        Path | None, typer.Option(help="A store that `zoo extract` made, in place of pictures.")
    ] = None,
    device: Device = "cpu",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the record as JSON.")
    ] = None,
    save_results: Annotated[
        bool, typer.Option("--save-results", help="Put the record into the model's folder.")
    ] = False,
) -> None:
    """Measure R@K both ways, all images of a split against all its captions.

    Example: zoo evaluate chan-f8k --data flickr8k --split test --json out.json
    """
    from ..data.dataset import open_dataset
    from ..evaluation import evaluate as measure
    from ..report.tables import evaluation_table

    if json_file is not None:
        check_writable(json_file, "--json")
    if save_results:
        check_writable(model_folder(model), "MODEL", "folder")
    dataset = open_dataset(data, split, features=features)
    loaded = load_model(model, device)
    with progress() as advance:
        evaluation = measure(loaded, dataset, advance=advance)
    name = loaded.config.name if loaded.config else model
    title = f"{name} on {evaluation.dataset} {evaluation.split}, {evaluation.protocol}"
    show(evaluation_table(title, evaluation.metrics), f"rsum {evaluation.metrics['rsum']:.2f}")
    record = _record(name, model_folder(model), evaluation, context.obj.arguments)
    if json_file is not None:
        _write(json_file, record)
    if save_results:
        _save(model_folder(model), name, record)


def _record(
    name: str, folder: Path, evaluation: Evaluation, arguments: Sequence[str]
) -> dict[str, Any]:
    """The measurement, with what it takes to make it again."""
    from ..files import sha256
    from ..saving import WEIGHTS
    from ..version import __version__

    return {
        "model": name,
        **evaluation.to_json(),
        "model_sha256": sha256(folder / WEIGHTS),
        "command": shlex.join(["zoo", *arguments]),
        "zoo_version": __version__,
    }


def _write(path: Path, record: dict[str, Any]) -> None:
    from ..files import write_atomically

    write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())


def _save(folder: Path, name: str, record: dict[str, Any]) -> None:
    """Put the measurement into results.json, with the seed of the training, and redo the card."""
    from ..loading import info, list_models
    from ..report.card import write_card
    from ..report.results import add_result, read_results

    seeds = [row["seed"] for row in read_results(folder) if "seed" in row]
    add_result(folder, {**record, "seed": seeds[0] if seeds else None})
    card = info(name) if name in list_models() else None
    if card is not None and card.folder is not None and card.folder.resolve() == folder.resolve():
        write_card(folder, load_as=name, license=card.license)
    else:
        write_card(folder)
    note(f"{folder / 'results.json'} and README.md are up to date.")

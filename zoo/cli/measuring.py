"""`zoo evaluate`: how well a model retrieves, on a whole split."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
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
    into: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Put the record into the results of this model, which the same recipe made "
            "with another seed.",
        ),
    ] = None,
) -> None:
    """Measure R@K both ways, all images of a split against all its captions.

    Example: zoo evaluate chan-f8k --data flickr8k --split test --json out.json
    """
    from ..data.dataset import open_dataset
    from ..evaluation import evaluate as measure
    from ..report.tables import evaluation_table

    if json_file is not None:
        check_writable(json_file, "--json")
    folder = model_folder(model)
    if save_results:
        check_writable(folder, "MODEL", "folder")
    if into is not None:
        check_writable(model_folder(into), "--into", "folder")
        _check_alike(folder, model_folder(into))
    dataset = open_dataset(data, split, features=features)
    loaded = load_model(model, device)
    with progress() as advance:
        evaluation = measure(loaded, dataset, advance=advance)
    name = loaded.config.name if loaded.config else model
    title = f"{name} on {evaluation.dataset} {evaluation.split}, {evaluation.protocol}"
    show(evaluation_table(title, evaluation.metrics), f"rsum {evaluation.metrics['rsum']:.2f}")
    record = _record(name, folder, evaluation, context.obj.arguments)
    places = [folder] if save_results else []
    places += [model_folder(into)] if into is not None else []
    if json_file is not None:
        _write(json_file, record)
    for place in places:
        _save(place, record)


def _record(
    name: str, folder: Path, evaluation: Evaluation, arguments: Sequence[str]
) -> dict[str, Any]:
    """The measurement, with what it takes to make it again and what its training told."""
    from ..files import sha256
    from ..report.results import training_facts
    from ..saving import WEIGHTS
    from ..version import __version__

    return {
        "model": name,
        **evaluation.to_json(),
        "model_sha256": sha256(folder / WEIGHTS),
        "command": shlex.join(["zoo", *arguments]),
        "zoo_version": __version__,
        **training_facts(folder),
    }


def _write(path: Path, record: dict[str, Any]) -> None:
    from ..files import write_atomically

    write_atomically(path, (json.dumps(record, indent=2) + "\n").encode())


def _check_alike(measured: Path, into: Path) -> None:
    """Raise `InputError` where two model folders were not made of the same parts."""
    from ..weights import read_folder_config

    parts = ("image_encoder", "text_encoder", "aligner", "extractor", "features")
    ours, theirs = read_folder_config(measured), read_folder_config(into)
    other = [part for part in parts if getattr(ours, part) != getattr(theirs, part)]
    if other:
        raise InputError(
            f"{measured} is not the model of {into} with another seed: {' and '.join(other)} are "
            "not the same. Leave out --into, or name the model that it belongs to."
        )


def _save(folder: Path, record: dict[str, Any]) -> None:
    """Put the measurement into results.json, and make the card anew."""
    from ..loading import info, list_models
    from ..report.card import write_card
    from ..report.results import add_result
    from ..weights import read_folder_config

    add_result(folder, record)
    name = read_folder_config(folder).name
    card = info(name) if name in list_models() else None
    if card is not None and card.folder is not None and card.folder.resolve() == folder.resolve():
        write_card(folder, load_as=name, license=card.license)
    else:
        write_card(folder)
    note(f"{folder / 'results.json'} and README.md are up to date.")

"""`zoo evaluate`: how well a model retrieves, on a whole split."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import InputError
from ..workers import is_worker, run_workers
from .matching import Device
from .names import complete_model, model_folder
from .outputs import check_writable, write_json
from .scored import TEST, Precision, Split, Ties, check_split
from .screen import note, progress, show

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..evaluation.measuring import Evaluation
    from ..model import MatchingModel
    from ..processes import Processes
    from ..protocols import Protocol


def evaluate(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            autocompletion=complete_model,
            help="A registered name, a model folder, or local-dir:PATH; not needed with --scores.",
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the data set.")] = None,
    split: Split = None,
    features: Annotated[
        Path | None, typer.Option(help="A store that `zoo extract` made, in place of pictures.")
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="auto (all there is), f8k, f30k-1k, coco-5k or coco-1k.")
    ] = "auto",
    folds: Annotated[
        int | None, typer.Option(min=1, help="Consecutive parts of the images; metrics are means.")
    ] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many images of the split.")
    ] = None,
    captions: Annotated[
        str | None,
        typer.Option(metavar="N|all", help="Only the first N captions of each image, or all."),
    ] = None,
    ties: Annotated[
        Ties, typer.Option(help="Whether ties count against the match, or as in legacy programs.")
    ] = Ties.AGAINST,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="exact has the ranks of float32, sooner where method and machine allow it.",
            show_default="exact; float32 where scores are kept",
        ),
    ] = None,
    save_scores: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write all scores there; a killed run goes on."),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Measure saved scores again, without model and data."),
    ] = None,
    device: Device = "cpu",
    nproc: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Share the work among so many processes here. Those that torchrun or srun "
            "started share it without.",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a page with ranks and what goes wrong."),
    ] = None,
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
    if nproc is not None and nproc > 1 and not is_worker():
        _check_shareable(scores, save_scores, report)
        run_workers(context.obj.arguments, nproc)
        return
    from ..data.dataset import open_dataset
    from ..loading.weights import load_folder
    from ..processes import joined_processes, own_device
    from ..protocols import choose_protocol
    from ..report.tables import evaluation_facts, evaluation_table
    from ..version import __version__
    from .reporting import kept_scores, write_report

    chosen = choose_protocol(protocol, folds=folds, images=images, captions=_captions(captions))
    folder = None if model is None else model_folder(model)
    places = _places(folder, save_results, into, ties)
    for path, option in ((json_file, "--json"), (report, "--report")):
        if path is not None:
            check_writable(path, option)
    if scores is not None:
        if data is not None or features is not None or save_scores is not None:
            raise InputError(
                "Saved scores need no data. Give --scores, or MODEL with --data and --save-scores."
            )
        if precision is Precision.EXACT:
            raise InputError("Saved scores are not scored again. Leave --precision exact out.")
        evaluation, model_facts = _measure_saved(scores, split, folder, chosen, ties)
        if report is not None:
            write_report(report, scores, evaluation, chosen)
    elif model is None or folder is None or data is None:
        raise InputError("There is nothing to measure. Give MODEL and --data, or --scores FOLDER.")
    else:
        if save_scores is not None:
            check_writable(save_scores, "--save-scores", "folder")
        dataset = open_dataset(data, split or TEST, features=features)
        with joined_processes(device) as processes:
            if processes.count > 1:
                _check_shareable(scores, save_scores, report)
            loaded = load_folder(folder, device=own_device(device, processes))
            with kept_scores(save_scores, report) as place:
                evaluation, model_facts = _measure(
                    loaded, folder, dataset, chosen, ties, place, precision, processes
                )
                if report is not None and place is not None and processes.first:
                    write_report(report, place, evaluation, chosen, dataset)
        if not processes.first:
            return
    name = model_facts["model"] or model
    title = f"{name} on {evaluation.dataset} {evaluation.split}, {evaluation.protocol}"
    rsum = f"rsum {evaluation.metrics['rsum']:.2f}"
    show(evaluation_table(title, evaluation.metrics), rsum, evaluation_facts(evaluation))
    record = {**model_facts, "model": name, **evaluation.to_json()} | {
        "command": shlex.join(["zoo", *context.obj.arguments]),
        "zoo_version": __version__,
    }
    if json_file is not None:
        write_json(json_file, record)
    for place in places:
        _save(place, record)


def _captions(given: str | None) -> int | Literal["all"] | None:
    if given is None or given == "all":
        return given  # type: ignore[return-value]
    if given.isdecimal() and int(given) > 0:
        return int(given)
    raise InputError(f"--captions is {given!r}. Give a number from 1 on, or all.")


def _check_shareable(scores: Path | None, kept: Path | None, report: Path | None) -> None:
    """Raise `InputError` for what several processes cannot share."""
    if scores is not None:
        raise InputError("Saved scores are measured by one process. Leave --nproc out.")
    if report is not None and kept is None:
        raise InputError(
            "Several processes make a page of scores that all of them write. Say where these are "
            "kept with --save-scores FOLDER, or make the page with one process."
        )


def _places(folder: Path | None, save_results: bool, into: str | None, ties: Ties) -> list[Path]:
    """The model folders that shall get the record. Raises `InputError` for those that must not."""
    if not save_results and into is None:
        return []
    if folder is None or ties is not Ties.AGAINST:
        raise InputError(
            "Results of a model need its MODEL and ties against the match. Name the model and "
            "leave out --ties legacy, or write the record elsewhere: --json FILE."
        )
    places = []
    if save_results:
        check_writable(folder, "MODEL", "folder")
        places.append(folder)
    if into is not None:
        place = model_folder(into)
        check_writable(place, "--into", "folder")
        _check_alike(folder, place)
        places.append(place)
    return places


def _measure(
    model: MatchingModel,
    folder: Path,
    dataset: Dataset,
    protocol: Protocol,
    ties: Ties,
    save_scores: Path | None,
    precision: Precision | None,
    processes: Processes,
) -> tuple[Evaluation, dict[str, Any]]:
    """The measurement, and what is known of the weights in the model's folder."""
    from ..evaluation.measuring import evaluate as measure
    from ..files import sha256
    from ..model_folders.saving import WEIGHTS
    from ..report.results import training_facts

    weights, training = sha256(folder / WEIGHTS), training_facts(folder)
    with progress() if processes.first else nullcontext() as advance:
        evaluation = measure(
            model,
            dataset,
            protocol=protocol,
            ties=ties.value,
            precision=precision.value if precision else None,
            save_scores=save_scores,
            model_sha256=weights,
            facts=training,
            advance=advance,
            processes=processes,
        )
    name = model.config.name if model.config else ""
    return evaluation, {"model": name, "model_sha256": weights, **training}


def _measure_saved(
    scores: Path, split: str | None, folder: Path | None, protocol: Protocol, ties: Ties
) -> tuple[Evaluation, dict[str, Any]]:
    """As `_measure`, of scores on disk; a model's folder, and a split, must be theirs if given."""
    from ..evaluation.measuring import evaluate_scores
    from ..files import sha256
    from ..model_folders.saving import WEIGHTS
    from ..report.results import TRAINED
    from ..scores import SavedScores

    saved = SavedScores.open(scores)
    check_split(saved, split)
    index = saved.index
    if folder is not None and sha256(folder / WEIGHTS) != index.model_sha256:
        raise InputError(
            f"{scores} holds scores of {index.model or 'a model'} with other weights than those in "
            f"{folder}. Leave MODEL out, or score with it: zoo evaluate MODEL --data PATH "
            "--save-scores FOLDER"
        )
    training = {name: index.facts[name] for name in TRAINED if name in index.facts}
    evaluation = evaluate_scores(saved, protocol=protocol, ties=ties.value)
    return evaluation, {"model": index.model, "model_sha256": index.model_sha256, **training}


def _check_alike(measured: Path, into: Path) -> None:
    """Raise `InputError` where two model folders were not made of the same parts."""
    from ..model_folders.folder import read_folder_config

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
    from ..loading.models import info, list_models
    from ..model_folders.folder import read_folder_config
    from ..report.card import write_card
    from ..report.results import add_result

    add_result(folder, record)
    name = read_folder_config(folder).name
    card = info(name) if name in list_models() else None
    if card is not None and card.folder is not None and card.folder.resolve() == folder.resolve():
        write_card(folder, load_as=name, license=card.license)
    else:
        write_card(folder)
    note(f"{folder / 'results.json'} and README.md are up to date.")

"""`zoo import`: a checkpoint that another program saved becomes a model folder."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from .matching import Device
from .naming import Force, give_name
from .outputs import check_writable
from .screen import note, progress, show

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..importers import Conversion

Claim: TypeAlias = "tuple[Dataset, list[dict[str, Any]]]"
"""A split, and the results that a paper reports on it."""

LICENSE = (
    "Under which licence it may be used and passed on, the checkpoint does not say: ask those who "
    "made it before you publish the model."
)


def complete_method() -> list[str]:
    """The methods that have an importer; typer keeps those that begin as the word does."""
    from ..plugins.discovery import component_table

    return component_table().names("importer")


def import_model(
    context: typer.Context,
    method: Annotated[
        str,
        typer.Argument(
            autocompletion=complete_method,
            help="Whose it is: chan, tvrn, sgraf, vse-infty, or what a plugin adds (zoo plugins).",
        ),
    ],
    checkpoint: Annotated[Path, typer.Argument(help="What the method's own program saved.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model.")],
    vocab: Annotated[
        Path | None,
        typer.Option("--vocab", help="Words or word pieces, where the checkpoint brings none."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Register the model under this name, such as chan-coco."),
    ] = None,
    force: Force = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of the data set, to measure it against the paper."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="Region features, if not beside the data.")
    ] = None,
    device: Device = "cpu",
) -> None:
    """Turn a checkpoint of another program into a model folder. Nothing in it is run.

    Example: zoo import chan model_best.pth -o my-chan --data data/f30k
    """
    from ..errors import InputError
    from ..importers import import_checkpoint
    from ..loading.own_names import check_free
    from ..report.card import write_card

    if features is not None and data is None:
        raise InputError("--features was given without --data. Give both, to measure the model.")
    check_writable(output, "-o", "folder")
    if name is not None:
        check_free(name, force=force)
    converted = import_checkpoint(method, checkpoint, vocabulary=vocab, name=name)
    claims = [] if data is None else _claims(converted.imported.card, data, features)
    converted.model.save(output)
    write_card(output)
    for line in _told(converted):
        note(line)
    for claim in claims:
        _measure(converted, output, claim, device, shlex.join(["zoo", *context.obj.arguments]))
        write_card(output)
    if name is not None:
        give_name(output, name, force=force)
    typer.echo(output)


def _told(converted: Conversion) -> list[str]:
    """What a person should know of the import."""
    checkpoint, imported = converted.checkpoint, converted.imported
    facts = {"epoch": checkpoint.epoch, "best rsum on its dev split": checkpoint.best_rsum}
    noted = [f"{what} {value:g}" for what, value in facts.items() if value is not None]
    own = [f"The checkpoint says of itself: {', '.join(noted)}."] if noted else []
    return [*own, *imported.account.summary(), *imported.notes, LICENSE]


def _claims(card: str | None, data: Path, features: Path | None) -> list[Claim]:
    """What the paper reports of a registered model, split by split; the test split without it."""
    from ..data.dataset import open_dataset
    from ..loading.models import info, list_models
    from ..report.results import paper_results

    rows = paper_results(info(card)) if card in list_models() else []
    splits = dict.fromkeys(row["split"] for row in rows) or ["test"]
    found = {split: open_dataset(data, split, features=features) for split in splits}
    claims = [
        (one, [row for row in rows if row["split"] == split and _may_be(one.name, row["dataset"])])
        for split, one in found.items()
    ]
    if not any(papers for _, papers in claims):
        name = next(iter(found.values())).name
        note(f"No paper's result of such a model is known on {name}, to hold it against.")
    return claims


def _may_be(name: str, dataset: str) -> bool:
    """Whether data of that name are of a data set; a folder may be called anything."""
    from ..report.model_index import DATASETS

    return name == dataset or name not in DATASETS


def _measure(converted: Conversion, folder: Path, claim: Claim, device: str, command: str) -> None:
    """Measure the model on a split under each protocol of its paper, and show both."""
    from ..device import usable_device
    from ..evaluation.measuring import evaluate, evaluate_scores
    from ..files import sha256
    from ..model_folders.saving import WEIGHTS
    from ..protocols import PROTOCOLS, Protocol
    from ..report.claims import PROTOCOLS as CALLED
    from ..report.claims import claims_table
    from ..report.results import add_result
    from ..scores import SavedScores
    from ..version import __version__

    dataset, papers = claim
    protocols = [PROTOCOLS[CALLED[paper["protocol"]]] for paper in papers] or [Protocol()]
    model, weights = converted.model.to(usable_device(device)), sha256(folder / WEIGHTS)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".scores.") as kept:
        with progress() as advance:
            evaluate(
                model,
                dataset,
                protocol=protocols[0],
                save_scores=kept,
                model_sha256=weights,
                advance=advance,
            )
        saved = SavedScores.open(Path(kept))
        measured = [evaluate_scores(saved, protocol=protocol) for protocol in protocols]
    facts = {"command": command, "zoo_version": __version__}
    for one in measured:
        record = {"model_sha256": weights, "model": saved.index.model, **one.to_json(), **facts}
        add_result(folder, record)
        show(f"{one.dataset} {one.split}, {one.protocol}: rsum {one.metrics['rsum']:.2f}")
    if papers:
        found = zip(papers, (one.metrics for one in measured), strict=True)
        show(claims_table(f"{converted.imported.card}, and what its paper reports", found))

"""`zoo import`: a checkpoint that another program saved becomes a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .outputs import check_writable
from .screen import note

if TYPE_CHECKING:
    from ..importers import Conversion


def complete_method() -> list[str]:
    """The methods that have an importer; typer keeps those that begin as the word does."""
    from ..plugins import component_table

    return component_table().names("importer")


def import_model(
    method: Annotated[
        str, typer.Argument(autocompletion=complete_method, help="Such as chan; it must match.")
    ],
    checkpoint: Annotated[Path, typer.Argument(help="What the method's own program saved.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the model.")],
    vocab: Annotated[
        Path | None,
        typer.Option("--vocab", help="Words or word pieces, where the checkpoint has none."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What the model is called in its folder.")
    ] = None,
) -> None:
    """Turn a checkpoint of another program into a model folder. Nothing in it is run.

    Example: zoo import chan model_best.pth -o my-chan
    """
    from ..importers import import_checkpoint

    check_writable(output, "-o", "folder")
    converted = import_checkpoint(method, checkpoint, vocabulary=vocab, name=name)
    converted.model.save(output)
    for line in _told(converted):
        note(line)
    typer.echo(output)


def _told(converted: Conversion) -> list[str]:
    """What a person should know of the import."""
    checkpoint, imported = converted.checkpoint, converted.imported
    noted = [
        f"{what} {value:g}"
        for what, value in (
            ("saved after epoch", checkpoint.epoch),
            ("best rsum on its dev split", checkpoint.best_rsum),
        )
        if value is not None
    ]
    return [
        *([f"By its own account: {', '.join(noted)}."] if noted else []),
        *imported.account.summary(),
        *imported.notes,
        "Who made the checkpoint says under which licence it may be used and passed on, and it "
        "does not say so itself: ask its source before you publish the model.",
    ]

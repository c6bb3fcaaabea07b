"""`zoo register`, `zoo unregister` and `zoo join`: models of one's own, by name and as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .names import complete_model, model_folder
from .outputs import check_writable
from .screen import note

if TYPE_CHECKING:
    from ..catalogue.cards import Card

Force = Annotated[
    bool, typer.Option("--force", help="Also in place of a model whose weights there are.")
]


def register(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the model, kept there.")],
    name: Annotated[str, typer.Option("--name", help="Such as chan-coco, or chan-coco.mine.")],
    force: Force = False,
) -> None:
    """Give a model folder a name, so that every command and zoo.load know it by that.

    Example: zoo register runs/chan-coco/model --name chan-coco
    """
    from ..loading.weights import load_folder

    load_folder(folder)
    give_name(folder, name, force=force)


def give_name(folder: Path, name: str, *, force: bool = False) -> None:
    """Register a model folder that is known to be sound, and say what the name stands for now."""
    from ..loading.own_names import own_file, register

    before = register(folder, name, force=force)
    told = "" if before is None else f", in place of {_described(before)}"
    note(f"{before.name if before else name} is now the model in {folder}{told} ({own_file()}).")


def unregister(
    name: Annotated[
        str, typer.Argument(autocompletion=complete_model, help="That `zoo register` gave.")
    ],
) -> None:
    """Give up a name of one's own; the model's folder stays where it is."""
    from ..loading.own_names import unregister

    note(f"{name} is given up; the model stays in {unregister(name)}.")


def join(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL MODEL...",
            autocompletion=complete_model,
            help="Registered names or model folders.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the joined model.")],
    name: Annotated[
        str | None, typer.Option("--name", help="What it is called in its folder.")
    ] = None,
) -> None:
    """Make one model of several, whose scores are the mean of theirs.

    Example: zoo join runs/sgr/model runs/saf/model -o tvrn-both
    """
    from ..model_folders.joining import join_folders

    check_writable(output, "-o", "folder")
    join_folders([model_folder(model) for model in models], output, name or output.resolve().name)
    typer.echo(output)


def _described(card: Card) -> str:
    if card.origin is not None:
        return f"the one in {card.folder}"
    if card.members:
        return f"the mean of {' and '.join(card.members)}"
    return f"the {card.status} one"

"""`zoo train`: a run from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .screen import show


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name, such as chan-f8k, or a .py file.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder of the data set.")],
    work_dir: Annotated[
        Path | None,
        typer.Option("--work-dir", help="Folder of the run.", show_default="runs/RECIPE"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in that folder.")
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of the recipe."),
    ] = None,
    features: Annotated[
        Path | None, typer.Option("--features", help="A store that `zoo extract` made.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to compute: cpu, cuda, ...", show_default="cuda if there is one, else cpu"
        ),
    ] = None,
) -> None:
    """Train a model; the best epoch on dev becomes the model folder WORK_DIR/model.

    Example: zoo train chan-f8k --data flickr8k --work-dir runs/f8k --set seed=1
    """
    from ..report.card import write_card
    from ..training import train as run

    work_dir = work_dir or Path("runs") / Path(recipe).name.removesuffix(".py")
    folder = run(
        recipe,
        data,
        work_dir,
        resume=resume,
        overrides=settings or [],
        features=features,
        device=device,
    )
    write_card(folder)
    show(str(folder))

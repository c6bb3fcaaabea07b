"""`zoo runs`: runs of training beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .outputs import check_writable
from .screen import note, show, show_json


def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A run's folder, or one above several.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="All that is known, as JSON.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw loss and rsum on dev: a .png, .svg or .pdf."),
    ] = None,
) -> None:
    """Show the runs in a folder: state, epoch, best rsum on dev, time, and what they differ in.

    Example: zoo runs runs --figure curves.png
    """
    from ..report.curves import FORMATS
    from ..report.runs import find_runs, runs_json, runs_table

    if figure is not None:
        check_writable(figure, "--figure")
        if figure.suffix.removeprefix(".").lower() not in FORMATS:
            raise InputError(
                f"--figure is {figure}, and a figure is drawn as {', '.join(FORMATS)}. Give a "
                "name that ends so."
            )
    found = find_runs(folder)
    if as_json:
        show_json(runs_json(found))
    else:
        show(runs_table(found, folder))
    if figure is not None:
        from ..files import write_atomically
        from ..report.curves import draw_curves

        kind = figure.suffix.removeprefix(".").lower()
        write_atomically(figure, draw_curves(found, folder, kind))
        note(f"figure: {figure}")

"""`zoo results`: what was measured of several models, or reported by papers, also in a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .names import complete_model
from .outputs import check_writable
from .screen import note, show, show_json
from .tabling import Request


def results(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAMES|FOLDERS]...",
            autocompletion=complete_model,
            help="Models; all bundled ones if none is given. With --write or --check: files.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Only what was measured on it: f8k, f30k, coco.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which split: test, dev, ...")] = "test",
    ablation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The results.json of `zoo ablate`, in place of models."),
    ] = None,
    leaderboard: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What papers report, in place of what we measured."),
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="Of a leaderboard: f30k-1k, coco-1k or coco-5k.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.svg", help="Draw the leaderboard into it.")
    ] = None,
    short: Annotated[bool, typer.Option("--short", help="Fewer columns.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Renew the tables in the files that are given.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a file given is not up to date.")
    ] = False,
) -> None:
    """Compare what we measured of models: mean and standard deviation over seeds, sizes, times.

    A file that --write renews has a line <!-- zoo results OPTIONS --> and a line <!-- end -->;
    paths in the options are looked for beside the file and in the folders above it.

    Example: zoo results --dataset f8k --split test
    """
    from .documents import renew

    if write and check:
        raise InputError("--write renews files and --check leaves them. Give one of the two.")
    if write or check:
        renew(list(map(Path, places or ())), write=write)
        return
    request = Request(places or (), dataset, split, ablation, short, leaderboard, protocol, figure)
    request.check()
    if figure is not None:
        _draw(request, figure)
    elif markdown:
        show(request.markdown())
    elif as_json:
        show_json(request.plain())
    else:
        _show(request)


def _draw(request: Request, path: Path) -> None:
    from ..files import write_atomically

    check_writable(path, "--figure")
    write_atomically(path, request.drawing().encode())
    note(f"The drawing is in {path}.")


def _show(request: Request) -> None:
    tables = request.tables()
    show(*tables)
    if not any(table.rows for table in tables):
        note(f"Nothing was measured on {request.dataset or 'any data set'} {request.split}.")

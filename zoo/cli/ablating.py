"""`zoo ablate`: variants of a recipe, trained and measured alike."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .outputs import check_writable
from .screen import note, show, show_json

if TYPE_CHECKING:
    from ..training.ablation import Ablation


def ablate(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name, such as chan-f8k, or a .py file.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder of the data set.")],
    work_dir: Annotated[Path, typer.Option("--work-dir", help="Folder of all the runs.")],
    features: Annotated[
        Path | None, typer.Option("--features", help="A store that `zoo extract` made.")
    ] = None,
    rows: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only these rows.", show_default="all, and full"),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="1,2", help="Seeds.", show_default="the recipe's")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(help="Measured at the end; repeat.", show_default="dev")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting in every row."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where to compute: cpu, cuda, ...", show_default="cuda if there is one, else cpu"
        ),
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write the results as JSON.")
    ] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the table.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check every row and list the runs, no more.")
    ] = False,
) -> None:
    """Train the rows of a recipe's `ablations`, and the recipe as it is, and compare them.

    Runs that are finished stay, interrupted ones go on; a second process with the same words takes
    runs that the first does not. WORK_DIR/results.json has every measurement.

    Example: zoo ablate shan-f8k --data flickr8k --work-dir runs/ablation --seeds 1,2,3
    """
    for option, file in (("--json", json_file), ("--markdown", markdown_file)):
        if file is not None and str(file) != "-":
            check_writable(Path(file), option)
    check_writable(work_dir, "--work-dir", "folder")
    from ..training import Ablation

    ablation = Ablation(
        recipe,
        data,
        work_dir,
        rows=rows.split(",") if rows else (),
        seeds=_numbers(seeds),
        splits=split or (),
        overrides=settings or (),
        features=features,
        device=device,
    )
    if dry_run:
        _list_trials(ablation)
        return
    on_terminal = sys.stdout.isatty() and json_file != "-"
    failed = ablation.run((lambda: _show_tables(ablation)) if on_terminal else (lambda: None))
    _write(ablation, json_file, markdown_file)
    if failed:
        note(f"error: {len(failed)} of {len(ablation.trials)} runs failed.")
        for one in failed:
            note(f"  {one['row']}, seed {one['seed']}: {one['error']}")
        raise typer.Exit(1)


def _numbers(seeds: str | None) -> list[int]:
    try:
        return [int(seed) for seed in seeds.split(",")] if seeds else []
    except ValueError as error:
        raise InputError(
            f"--seeds is {seeds!r}, and whole numbers are wanted. Write them as in 2022,2023."
        ) from error


def _list_trials(ablation: Ablation) -> None:
    from ..report.tables import Table

    rows = [
        (
            trial.row,
            str(trial.seed),
            trial.words,
            trial.folder.state(),
        )
        for trial in ablation.trials
    ]
    show(Table("", ("row", "seed", "what it sets", "run"), rows))


def _show_tables(ablation: Ablation) -> None:
    from ..report.comparison import AblationResults

    if ablation.record.path.exists():
        show(*AblationResults.read(ablation.record.path).tables())


def _write(ablation: Ablation, json_file: str | None, markdown_file: Path | None) -> None:
    from ..files import write_atomically
    from ..report.comparison import AblationResults, ablation_markdown

    content: dict[str, Any] = ablation.record.read()
    if json_file == "-":
        show_json(content)
    else:
        _show_tables(ablation)
        if json_file is not None:
            write_atomically(Path(json_file), (json.dumps(content, indent=2) + "\n").encode())
    if markdown_file is not None:
        text = ablation_markdown(AblationResults.read(ablation.record.path))
        write_atomically(markdown_file, (text + "\n").encode())

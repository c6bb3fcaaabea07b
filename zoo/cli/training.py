"""`zoo train`: a run from a recipe."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..errors import InputError
from .screen import show, show_json


class TrainCommand(TyperCommand):
    """A command whose `--resume` needs no value, and takes "loose", after a blank or a =."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As any command; a lone `--resume` is `--resume exact`."""
        given = []
        for place, one in enumerate(args):
            lone = one == "--resume" and args[place + 1 : place + 2] not in (["loose"], ["exact"])
            given.append("--resume=exact" if lone else one)
        return super().parse_args(ctx, given)


class LauncherName(StrEnum):
    """Who starts the processes of a run."""

    none = "none"
    pytorch = "pytorch"
    slurm = "slurm"


def train(
    context: typer.Context,
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A name, such as chan-f8k, or a .py file.")
    ],
    data: Annotated[Path, typer.Option("--data", help="Folder of the data set.")],
    work_dir: Annotated[
        Path | None,
        typer.Option("--work-dir", help="Folder of the run.", show_default="runs/RECIPE"),
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="NAME|DIR", help="Begin with a model's weights and vocabulary."
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[loose]",
            help="Go on with the run in that folder; loose: with other settings or data.",
        ),
    ] = None,
    requeue: Annotated[
        bool,
        typer.Option(
            "--requeue",
            help="Asked to stop, save and queue the job of SLURM again; implies --resume.",
        ),
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
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show model, memory, steps, rate and data; write nothing."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: as JSON.")] = False,
    launcher: Annotated[
        LauncherName,
        typer.Option(
            help="pytorch: start several processes here; slurm: srun has started them.",
        ),
    ] = LauncherName.none,
    nproc: Annotated[
        int | None,
        typer.Option(min=1, help="Start so many processes here.", show_default="one for each GPU"),
    ] = None,
    max_restarts: Annotated[
        int,
        typer.Option(
            min=0, help="With pytorch: how often all start again from the newest checkpoint."
        ),
    ] = 3,
    timeout: Annotated[
        float,
        typer.Option(min=1, metavar="SECONDS", help="How long processes wait for each other."),
    ] = 1800,
) -> None:
    """Train a model; the best epoch on dev becomes the model folder WORK_DIR/model.

    Several processes train one model on batches that they share, to the same weights as one.

    Example: zoo train chan-f8k --data flickr8k --work-dir runs/f8k --set seed=1

    Example: zoo train chan-coco --data coco --nproc 8
    """
    work_dir = work_dir or Path("runs") / Path(recipe).name.removesuffix(".py")
    if as_json and not dry_run:
        raise InputError(
            "--json was given without --dry-run, and a run has its figures in WORK_DIR/log.jsonl. "
            "Give both, or neither; `zoo runs WORK_DIR --json` tells of a run."
        )
    if dry_run:
        _plan(
            recipe,
            data,
            work_dir,
            as_json=as_json,
            parent=parent,
            overrides=settings or [],
            features=features,
            device=device,
            processes=nproc or 1,
        )
        return
    from ..training.launching import count_of, launch, launched, verdict_left

    launcher = _launcher(launcher, nproc)
    if launcher is LauncherName.pytorch and not launched():
        raise typer.Exit(launch(context.obj.arguments, count_of(nproc), max_restarts, timeout))
    with verdict_left():
        from ..report.card import write_card
        from ..training import train as run
        from ..training.continuing import resume_mode
        from ..training.launchers import named_processes

        folder = run(
            recipe,
            data,
            work_dir,
            resume=resume_mode(resume) or False,
            requeue=requeue,
            parent=parent,
            overrides=settings or [],
            features=features,
            device=device,
            launcher=launcher.value,
            seconds=timeout,
        )
        if named_processes(launcher.value).first:
            write_card(folder)
            show(str(folder))


def _launcher(launcher: LauncherName, nproc: int | None) -> LauncherName:
    """Who starts the processes: a number of them is enough to ask for torchrun."""
    if nproc is not None and launcher is LauncherName.slurm:
        raise InputError(
            f"The launcher is slurm, which has started the processes, and --nproc is {nproc}. "
            f"Leave it out, and set their number in the job: #SBATCH --ntasks={nproc}."
        )
    return launcher if nproc is None else LauncherName.pytorch


def _plan(recipe: str, data: Path, work_dir: Path, *, as_json: bool, **options: Any) -> None:
    from ..training import plan
    from .planning import plan_tables

    made = plan(recipe, data, work_dir, **options)
    if as_json:
        show_json(made.to_json())
    else:
        show(*plan_tables(made))

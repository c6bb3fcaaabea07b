"""`zoo results`: what was measured of several models, side by side, also in a document."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from ..errors import InputError
from .names import complete_model, model_folder
from .screen import note, show, show_json

if TYPE_CHECKING:
    from ..report.summary import Summary


@dataclass(frozen=True)
class Request:
    """What a table shall show: the options that a marker in a document may have."""

    places: Sequence[str] = ()
    dataset: str | None = None
    split: str = "test"
    ablation: Path | None = None
    short: bool = False

    def summaries(self) -> list[Summary]:
        """A line for each model: those that are named, or all that lie here."""
        from ..loading import info, list_models
        from ..report.comparison import label, summaries

        names = self.places or [
            name for name in list_models(status="bundled") if info(name).is_here
        ]
        folders = {label(name): model_folder(name) for name in names}
        return summaries(folders, self.dataset, self.split)

    def markdown(self) -> str:
        """The table, or the tables of an ablation, in Markdown."""
        from ..report.comparison import AblationResults, ablation_markdown, comparison_table

        if self.ablation is not None:
            return ablation_markdown(AblationResults.read(self.ablation))
        return comparison_table(self.summaries(), short=self.short).to_markdown()


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
    if write or check:
        _renew(list(map(Path, places or ())), write=write)
        return
    request = Request(places or (), dataset, split, ablation, short)
    if markdown:
        show(request.markdown())
    elif as_json:
        show_json(_plain(request))
    else:
        _show(request)


def _show(request: Request) -> None:
    from ..report.comparison import AblationResults, comparison_table, overrides_table

    if request.ablation is not None:
        read = AblationResults.read(request.ablation)
        show(*read.tables(), overrides_table(read))
        return
    found = request.summaries()
    show(comparison_table(found, short=request.short))
    if not found:
        note(f"Nothing was measured on {request.dataset or 'any data set'} {request.split}.")


def _plain(request: Request) -> object:
    from ..report.results import read_rows

    if request.ablation is not None:
        return read_rows(request.ablation)
    return [summary.to_json() for summary in request.summaries()]


def _renew(files: Sequence[Path], *, write: bool) -> None:
    """Make the marked text of each file anew; only compare it unless `write`."""
    from ..files import write_atomically
    from ..report.markers import renewed

    if not files:
        raise InputError("No file was given. Name those with markers: zoo results --write FILE.")
    outdated = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is no text ({error}). Give Markdown files.") from error
        new = renewed(text, file, lambda command, file=file: render(command, file))  # type: ignore[misc]
        if new != text:
            outdated.append(file)
            if write:
                write_atomically(file, new.encode())
    if write:
        note(f"{len(outdated)} of {len(files)} files changed.")
    elif outdated:
        names = " ".join(map(str, outdated))
        note(f"Not up to date: {names}. Renew with: zoo results --write {names}")
        raise typer.Exit(1)


def render(command: str, file: Path) -> str:
    """The Markdown that a marker's command gives; `file` is where it stands."""
    parser = _MarkerParser(prog=f"{file}: <!-- {command} -->", add_help=False, allow_abbrev=False)
    parser.add_argument("places", nargs="*")
    parser.add_argument("--dataset")
    parser.add_argument("--split", default="test")
    parser.add_argument("--ablation")
    parser.add_argument("--short", action="store_true")
    given = parser.parse_args(shlex.split(command)[2:])
    given.ablation = given.ablation and _above(file, given.ablation)
    given.places = [str(_above(file, place)) if "/" in place else place for place in given.places]
    return Request(**vars(given)).markdown()


class _MarkerParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}. Correct the marker.")


def _above(file: Path, path: str) -> Path:
    """A path as seen from the file's folder, or from one above it."""
    for folder in file.resolve().parents:
        if (folder / path).exists():
            return folder / path
    raise InputError(
        f"{file} names {path}, which is neither beside it nor in a folder above. "
        "Correct the path in the marker."
    )

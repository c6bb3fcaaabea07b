"""`zoo doctor`: what is wrong with data on disk, before it costs a training; what computes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .catalogue import AsJson
from .screen import progress, show, show_json

if TYPE_CHECKING:
    from ..doctor import Examination, Finding
    from ..report.tables import Table


def doctor(
    path: Annotated[
        Path | None, typer.Argument(help="Folder of a data set, or of a feature store.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The only split to look at; by default all.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Features of the images; by default those beside them.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every row of the features.")] = False,
    machine: Annotated[
        bool, typer.Option("--machine", help="Say instead what this machine computes with.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what is wrong with data on disk and what to do; the exit status is 1 for a problem.

    Example: zoo doctor data/f30k_precomp --split test
    """
    from ..doctor import examine

    if machine == (path is not None):
        raise InputError("Give the PATH of data to look at, or --machine, and not both.")
    if path is None:
        _show_machine(as_json)
        return
    with progress() as advance:
        found = examine(path, split, features=features, full=full, advance=advance)
    if as_json:
        show_json(_whole(found))
    else:
        show(*_parts(found))
    if found.problems:
        raise typer.Exit(1)


def _show_machine(as_json: bool) -> None:
    from ..device import machine
    from ..kernels.choice import report as kernels
    from ..report.tables import Table

    report = machine() | kernels()
    if as_json:
        show_json(report)
    else:
        show(Table("", ("", ""), list(report.items())))


def _whole(found: Examination) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "layout": found.layout,
        "splits": list(found.splits),
        "problems": found.problems,
        "findings": [asdict(finding) for finding in found.findings],
        "models": [asdict(model) for model in found.models],
    }


def _parts(found: Examination) -> list[Table | str]:
    from ..report.tables import Table

    parts: list[Table | str] = [found.layout or "No data set was recognised."]
    headers = ("", "check", "where", "found", "what to do")
    parts.append(Table("", headers, [_row(finding) for finding in found.findings]))
    groups: dict[str, list[str]] = {}
    for model in sorted(found.models, key=lambda model: not model.fits):
        groups.setdefault(f"{'' if model.fits else 'no: '}{model.why}", []).append(model.model)
    if groups:
        rows = [(", ".join(models), why) for why, models in groups.items()]
        parts.append(Table("Models", ("model", "can read it?"), rows))
    warnings = sum(finding.level == "warning" for finding in found.findings)
    parts.append(f"{_count(found.problems, 'problem')}, {_count(warnings, 'warning')}")
    return parts


def _row(finding: Finding) -> tuple[str, str, str, str, str]:
    level = "" if finding.level == "fine" else finding.level
    return level, finding.check, finding.place, finding.what, finding.remedy


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"

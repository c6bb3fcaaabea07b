"""`zoo plugin check`, `zoo plugin new`: for authors of plugins."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .catalogue import AsJson
from .screen import progress, show, show_json

if TYPE_CHECKING:
    from ..report.tables import Table
    from ..testing.verdicts import Verdict

plugin = typer.Typer(help="Check a plugin, and begin one of your own.", no_args_is_help=True)
STATES = ("passed", "failed", "skipped")


class License(StrEnum):
    """Those whose text the zoo can write."""

    apache = "Apache-2.0"
    mit = "MIT"
    bsd = "BSD-3-Clause"


def complete_plugin() -> list[str]:
    """The names that the shell offers."""
    from ..plugins.discovery import discover

    return [record.name for record in discover().records]


@plugin.command("check")
def check(
    name: Annotated[
        str, typer.Argument(autocompletion=complete_plugin, help="Of an installed plugin.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check that a plugin keeps the zoo's contract; exit status 1 after a fault.

    The models of its recipes and cards are built at a sixteenth of their size, fed with made-up
    images and captions, and trained for some steps.

    Example: zoo plugin check chan
    """
    from ..testing.conformance import cases

    found, verdicts = cases(name), []
    with progress() as advance:
        for case in found:
            verdicts.append(case.verdict())
            advance(name, 1, len(found))
    if as_json:
        show_json([asdict(verdict) for verdict in verdicts])
    else:
        show(_table(verdicts), *_reasons(verdicts), _sum(name, verdicts))
    if any(verdict.state == "failed" for verdict in verdicts):
        raise typer.Exit(1)


def _table(verdicts: Sequence[Verdict]) -> Table:
    """A row for each check, with how many subjects ended how."""
    from ..report.tables import Table

    counts: dict[str, Counter[str]] = {}
    for verdict in verdicts:
        counts.setdefault(verdict.check, Counter())[verdict.state] += 1
    rows = [
        (check, *(str(states[state] or "") for state in STATES)) for check, states in counts.items()
    ]
    return Table("", ("check", *STATES), rows, STATES)


def _reasons(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """A line for each fault, and one for each reason why something was left out."""
    skipped: dict[tuple[str, str], list[str]] = {}
    for verdict in verdicts:
        if verdict.state == "failed":
            yield f"failed: {verdict.subject}, {verdict.check}: {verdict.words}"
        elif verdict.state == "passed" and verdict.words:
            yield f"note: {verdict.subject}: {verdict.words}"
        elif verdict.state == "skipped":
            skipped.setdefault((verdict.check, verdict.words), []).append(verdict.subject)
    for (check, words), subjects in skipped.items():
        yield f"skipped: {check} of {', '.join(subjects)}: {words}"


def _sum(name: str, verdicts: Sequence[Verdict]) -> str:
    failed = sum(verdict.state == "failed" for verdict in verdicts)
    if failed:
        return f"{name}: {failed} of {len(verdicts)} checks failed."
    return f"{name} keeps the contract: {len(verdicts)} checks."


@plugin.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Of the plugin and its method, such as my-idea.")],
    path: Annotated[
        Path | None, typer.Option(help="The folder to write; itm-zoo-NAME here by default.")
    ] = None,
    license: Annotated[License, typer.Option(help="Of the package.")] = License.apache,
) -> None:
    """Write a new plugin: a package with a small aligner that works, a recipe, cards and tests.

    Example: zoo plugin new my-idea
    """
    from ..scaffold.writing import NewPlugin, write_plugin

    made = NewPlugin(name, license.value)
    folder = path or Path(made.distribution)
    show(*(f"  {folder / file}" for file in write_plugin(made, folder)))
    show(
        "What to do next:",
        f"  python -m pip install -e {shlex.quote(str(folder))}   # so that the zoo finds it",
        f"  zoo plugin check {name}",
        f"  edit {folder / made.module / 'model.py'}: the equation is yours to change",
        f"  zoo train {name}-f8k --data DATA --features FEATURES --work-dir RUN",
    )

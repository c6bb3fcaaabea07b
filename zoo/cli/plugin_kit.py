"""`zoo plugin check`: what the author of a plugin asks of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .catalogue import AsJson
from .screen import progress, show, show_json

if TYPE_CHECKING:
    from ..report.tables import Table
    from ..testing.verdicts import Verdict

plugin = typer.Typer(help="Check a plugin, and begin one of your own.", no_args_is_help=True)
STATES = ("passed", "failed", "skipped")


def complete_plugin() -> list[str]:
    """The names that the shell offers."""
    from ..plugins import discover

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
        elif verdict.state == "skipped":
            skipped.setdefault((verdict.check, verdict.words), []).append(verdict.subject)
    for (check, words), subjects in skipped.items():
        yield f"skipped: {check} of {', '.join(subjects)}: {words}"


def _sum(name: str, verdicts: Sequence[Verdict]) -> str:
    failed = sum(verdict.state == "failed" for verdict in verdicts)
    if failed:
        return f"{name}: {failed} of {len(verdicts)} checks failed."
    return f"{name} keeps the contract: {len(verdicts)} checks."

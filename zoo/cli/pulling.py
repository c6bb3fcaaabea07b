"""`zoo pull` and `zoo cache`: models of the Hub on this disk. These import no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .names import complete_model, model_name
from .screen import note, show, show_json

if TYPE_CHECKING:
    from ..hub.stored import Stored

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]
Which = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[WHICH]...",
        autocompletion=complete_model,
        help="Of what is here: a registered name, ORG/REPO, or ORG/REPO@COMMIT (or its beginning).",
    ),
]

cache = typer.Typer(
    help="What was fetched from the Hub: list, check, delete.", no_args_is_help=True
)


def pull(
    name: Annotated[
        str,
        typer.Argument(
            autocompletion=complete_model, help="Of a model, or hf-hub:ORG/REPO[@REVISION]."
        ),
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read again what was fetched and checked before.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Fetch nothing. Also: HF_HUB_OFFLINE=1.")
    ] = False,
) -> None:
    """Fetch a model's files, check them, and print the folder that holds them."""
    from ..loading.pulling import pull

    place = pull(model_name(name), offline=offline or None, verify=verify)
    typer.echo(place)


@cache.command("ls")
def list_cache(as_json: AsJson = False) -> None:
    """List what was fetched, unfinished downloads included."""
    from ..home import home
    from ..hub.stored import stored
    from ..report.tables import Table

    found = stored()
    if as_json:
        show_json([_described(one) for one in found])
    elif found:
        rows = [
            (one.repo, one.commit[:12], ", ".join(_names(one)), f"{one.size:,}", _state(one))
            for one in found
        ]
        show(Table("", ("repository", "commit", "model", "bytes", "state"), rows, ("bytes",)))
    else:
        note(f"Nothing from the Hub is in {home()}.")


@cache.command("rm")
def remove_cached(
    which: Which = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Only what interrupted downloads left.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="All that is here.")] = False,
) -> None:
    """Delete what was fetched."""
    from ..hub.stored import remove, remove_unfinished

    if not which and not unfinished and not everything:
        raise InputError(
            "Nothing says what to delete. Name it as `zoo cache ls` shows it, or give --unfinished "
            "or --all."
        )
    delete = remove_unfinished if unfinished else remove
    note(f"{sum(map(delete, _chosen(which))):,} bytes are free again.")


@cache.command("verify")
def verify_cached(which: Which = None, as_json: AsJson = False) -> None:
    """Read every file again; the exit status is 1 if one is not as it was fetched."""
    chosen = _chosen(which)
    faults = {one.folder: one.faults() for one in chosen}
    if as_json:
        show_json([_described(one) | {"faults": faults[one.folder]} for one in chosen])
    else:
        for one in chosen:
            wrong = [f"{name} {fault}" for name, fault in faults[one.folder].items()]
            told = "; ".join(wrong) or ("as it was fetched" if one.is_whole else _state(one))
            show(f"{one.repo}@{one.commit[:12]}: {told}")
    if any(faults.values()):
        note("What is wrong is fetched anew by `zoo pull NAME --verify`.")
        raise typer.Exit(1)


def _chosen(which: Sequence[str] | None) -> list[Stored]:
    """The snapshots that are named, or all. Raises `InputError` for a name that none has."""
    from ..hub.stored import stored

    found = stored()
    if not which:
        return found
    chosen = {name: [one for one in found if _is_called(one, name)] for name in which}
    absent = [name for name, ones in chosen.items() if not ones]
    if absent:
        raise InputError(
            f"{', '.join(absent)} is not among what was fetched. `zoo cache ls` shows what is here."
        )
    return [one for one in found if any(one in ones for ones in chosen.values())]


def _is_called(one: Stored, name: str) -> bool:
    repo, _, commit = name.removeprefix("hf-hub:").partition("@")
    return name in _names(one) or (repo == one.repo and one.commit.startswith(commit))


def _names(one: Stored) -> list[str]:
    """The registered models that are this snapshot, or were made of their members."""
    from ..plugins.discovery import discover

    return [
        card.name
        for card in discover().registry.cards()
        if (card.weights and (card.weights.repo, card.weights.revision) == (one.repo, one.commit))
        or (card.members and one.repo == f"joined/{card.name}")
    ]


def _state(one: Stored) -> str:
    missing = f"without {', '.join(one.missing)}" if one.missing else "incomplete"
    left = f", {one.unfinished:,} bytes of unfinished downloads" if one.unfinished else ""
    return ("whole" if one.is_whole else missing) + left


def _described(one: Stored) -> dict[str, Any]:
    return {
        "repository": one.repo,
        "commit": one.commit,
        "models": _names(one),
        "folder": str(one.folder),
        "bytes": one.size,
        "unfinished_bytes": one.unfinished,
        "whole": one.is_whole,
    }

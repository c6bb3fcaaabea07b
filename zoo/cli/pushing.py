"""`zoo push`: a model folder to the Hub."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, InputError, ZooError
from .screen import note

if TYPE_CHECKING:
    from ..publishing.folder import Publishable
    from ..publishing.pushing import Published

NOWHERE = "0" * 40  # a commit, where there is none yet


def push(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="The model's folder, or its registered name.")
    ],
    repo: Annotated[str, typer.Option(metavar="ORG/NAME", help="Of the Hub; made if need be.")],
    license: Annotated[
        str | None,
        typer.Option(help="Such as Apache-2.0; by default the one on the card. Never guessed."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Only some can see it.")] = False,
    tag: Annotated[
        str | None, typer.Option(help="A name for the commit, such as v1.0; it never moves.")
    ] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Write the entry into the registry file.")
    ] = False,
    registry: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Register there, not in this checkout's file."),
    ] = None,
    replace_card: Annotated[
        bool,
        typer.Option(
            "--replace-card", help="The Hub's card loses what is not on the one in the folder."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all, show the card, and send nothing.")
    ] = False,
) -> None:
    """Check a model folder, publish it in one commit, and print its entry for registry.yaml.

    Example: zoo push RUN/model --repo me/chan-f30k --license Apache-2.0 --tag v1.0
    """
    from ..publishing.entry import entry_of, with_entry
    from ..publishing.folder import check_folder
    from ..publishing.pushing import check_names
    from ..publishing.pushing import push as publish
    from .names import model_folder

    check_names(repo, tag)
    file = _registry_file(registry) if register or registry else None
    model = check_folder(model_folder(folder), license)
    if file is not None:
        with_entry(file, model.config, entry_of(model, repo, NOWHERE, model.pins))
    if dry_run:
        _show_dry(model, repo)
        return
    made = publish(model, repo, private=private, tag=tag, replace_card=replace_card)
    news = "is published" if made.is_new else "was published already"
    note(f"{model.config.name} {news} as {repo}@{made.commit}, and came back as it was sent.")
    _announce(model, made, file)


def _registry_file(given: Path | None) -> Path:
    """The file that is given, or that of the checkout. Raises `InputError` where there is none."""
    checkout = Path(__file__).resolve().parents[2] / "registry.yaml"
    file = given or checkout
    if not file.is_file():
        raise InputError(
            f"{file} is not there, so no entry can be written. Name a registry file "
            "(--registry FILE), or leave out --register: then the entry is printed."
        )
    return file.resolve()  # of a link, what it leads to is changed


def _show_dry(model: Publishable, repo: str) -> None:
    from ..publishing.pushing import card_of

    typer.echo(card_of(model, repo), nl=False)
    sizes = ", ".join(f"{name} ({pin.size:,} bytes)" for name, pin in model.pins.items())
    note(f"To {repo} would go this card and {sizes}, under {model.license}. Nothing was sent.")
    if model.left:
        note(f"Beside them lie, and would stay here: {', '.join(model.left)}.")


def _announce(model: Publishable, made: Published, file: Path | None) -> None:
    """Write the entry, or print it; where it cannot be written, it is printed all the same."""
    from ..publishing.entry import as_yaml, entry_of

    try:
        entry = entry_of(model, made.repo, made.commit, made.files)
        if file is None:
            typer.echo(as_yaml(model.config, entry), nl=False)
            return
    except (InputError, DataError) as error:
        note(f"No registry can have an entry of it. {error}")
        return
    try:
        _register(file, model, entry)
    except (ZooError, OSError):
        typer.echo(as_yaml(model.config, entry), nl=False)
        raise
    note(f"{file} says so.")


def _register(file: Path, model: Publishable, entry: Mapping[str, Any]) -> None:
    """Write the entry into the registry file; pushes that do so at once take turns."""
    from ..files import write_atomically
    from ..home import home
    from ..lock import held
    from ..publishing.entry import with_entry

    with held(home() / ".registering.lock", wait=True):
        write_atomically(file, with_entry(file, model.config, entry).encode())

"""`zoo list`, `zoo info`, `zoo plugins`: what there is. These import no torch."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .names import complete_model
from .screen import note, show, show_json

if TYPE_CHECKING:
    from ..catalogue.cards import Card

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON.")]


class Status(StrEnum):
    """How far a model is."""

    planned = "planned"
    unpublished = "unpublished"
    bundled = "bundled"
    published = "published"
    own = "own"


def list_models(
    pattern: Annotated[str, typer.Argument(help="A shell pattern, such as 'chan-*'.")] = "*",
    status: Annotated[Status | None, typer.Option(help="Only models of this status.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the models that the zoo knows."""
    from ..loading import models as loading
    from ..report.tables import model_table

    names = loading.list_models(pattern, status=status.value if status else None)
    cards = [loading.info(name) for name in names]
    if as_json:
        show_json([_summary(card) for card in cards])
    elif cards:
        show(model_table(cards))
    else:
        note(f"No model matches {pattern!r}{f' with status {status.value}' if status else ''}.")


def info(
    name: Annotated[str, typer.Argument(autocompletion=complete_model, help="Of a model.")],
    as_json: AsJson = False,
) -> None:
    """Show what the registry says of a model; nothing is loaded."""
    from ..loading import models as loading
    from ..report.results import measured_results, paper_results
    from ..report.tables import card_table, result_table

    card = loading.info(name)
    if as_json:
        show_json(_whole(card))
        return
    show(card_table(card))
    results = {"Measured by us": measured_results(card), "Reported by papers": paper_results(card)}
    show(*(result_table(title, rows) for title, rows in results.items() if rows))


def plugins(as_json: AsJson = False) -> None:
    """List the installed plugins, and why any of them could not be used."""
    from ..plugins.discovery import discover
    from ..report.tables import plugin_table

    records = discover().records
    if as_json:
        show_json([_record(record) for record in records])
    else:
        show(plugin_table(records))


def _summary(card: Card) -> dict[str, Any]:
    from ..report.results import measured_or_damaged, paper_results

    return {
        "name": card.name,
        "method": card.method,
        "dataset": card.dataset,
        "status": card.status,
        "here": card.is_here,
        "origin": card.origin,
        "members": list(card.members),
        "features": card.features.model_dump(),
        "measured": measured_or_damaged(card),
        "paper": paper_results(card),
    }


def _whole(card: Card) -> dict[str, Any]:
    from ..report.results import measured_results

    plain = ("title", "authors", "venue", "reference_code", "plugin", "variant", "license")
    return {
        **_summary(card),
        "measured": measured_results(card),
        **{key: getattr(card, key) for key in (*plain, "recipe", "how_to_get")},
        "paper_address": card.paper,
        "folder": str(card.folder) if card.is_here else None,
        "weights": None if card.weights is None else card.weights.model_dump(),
    }


def _record(record: Any) -> dict[str, Any]:
    plain = ("name", "module", "distribution", "version", "api", "status", "reason")
    return {
        **{key: getattr(record, key) for key in plain},
        "notes": list(record.notes),
        "components": [{"kind": kind, "name": name} for kind, name in record.components],
        "cards": [str(path) for path in record.cards],
    }

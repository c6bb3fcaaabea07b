"""The papers' results as registry.yaml has them."""

from __future__ import annotations

from zoo.catalogue.registry import shipped_registry


def paper_sums(method: str) -> dict[tuple[str, str], float | None]:
    """Rsum of each row of a method, by model and protocol."""
    return {
        (card.name, row.protocol): row.rsum
        for card in shipped_registry().cards()
        if card.method == method
        for row in card.results.paper
    }

"""SCAN for the zoo: names its aligner and its cards, and imports no torch."""

from __future__ import annotations

from pathlib import Path

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    """The aligner; regions and words are the zoo's own."""
    register("aligner", "stacked_attention", "itm_zoo_scan.model:StackedAttention")


@hookimpl
def zoo_cards() -> list[Path]:
    """What the paper says of its models, in the form of the zoo's registry."""
    return [Path(__file__).with_name("cards.yaml")]

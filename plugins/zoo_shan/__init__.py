"""SHAN for the zoo: names its components, and imports no torch."""

from __future__ import annotations

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    register("image_encoder", "shan_regions", "zoo_shan.model:RegionEncoder")
    register("text_encoder", "shan_words", "zoo_shan.model:WordEncoder")
    register("aligner", "stepwise_alignment", "zoo_shan.model:StepwiseAligner")


@hookimpl
def zoo_cards() -> list[str]:
    """None here: the cards of built-in models stand in registry.yaml."""
    return []

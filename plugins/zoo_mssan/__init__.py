"""An MSSAN-style method for the zoo: names its components, and imports no torch."""

from __future__ import annotations

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    register("image_encoder", "mssan_regions", "zoo_mssan.model:RegionEncoder")
    register("text_encoder", "mssan_words", "zoo_mssan.model:WordEncoder")
    register("aligner", "symmetric_alignment", "zoo_mssan.model:SymmetricAligner")
    register("loss", "adaptive_margin", "zoo_mssan.margins:AdaptiveMarginLoss")


@hookimpl
def zoo_cards() -> list[str]:
    """None here: the cards of built-in models stand in registry.yaml."""
    return []

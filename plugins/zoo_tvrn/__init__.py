"""TVRN for the zoo: names its components, and imports no torch."""

from __future__ import annotations

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    register("image_encoder", "tvrn_regions", "zoo_tvrn.model:RegionEncoder")
    register("text_encoder", "tvrn_words", "zoo_tvrn.model:WordEncoder")
    register("aligner", "refined_alignment", "zoo_tvrn.model:RefinedAligner")
    register("loss", "log_sum_exp", "zoo_tvrn.losses:LogSumExpLoss")
    register("importer", "tvrn", "zoo_tvrn.importer:TvrnImporter")


@hookimpl
def zoo_cards() -> list[str]:
    """None here: the cards of built-in models stand in registry.yaml."""
    return []

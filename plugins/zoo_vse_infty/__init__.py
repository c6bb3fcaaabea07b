"""VSE-infinity for the zoo: names its components, and imports no torch."""

from __future__ import annotations

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    register("image_encoder", "vse_infty_regions", "zoo_vse_infty.model:RegionEncoder")
    register("text_encoder", "vse_infty_words", "zoo_vse_infty.model:WordEncoder")
    register("aligner", "cosine", "zoo_vse_infty.model:CosineAligner")
    register("importer", "vse-infty", "zoo_vse_infty.importer:VseInftyImporter")


@hookimpl
def zoo_cards() -> list[str]:
    """None here: the cards of built-in models stand in registry.yaml."""
    return []

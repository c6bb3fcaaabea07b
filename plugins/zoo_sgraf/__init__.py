"""SGRAF for the zoo: names its components, and imports no torch."""

from __future__ import annotations

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    register("image_encoder", "sgraf_regions", "zoo_sgraf.model:RegionEncoder")
    register("text_encoder", "sgraf_words", "zoo_sgraf.model:WordEncoder")
    register("aligner", "similarity_vectors", "zoo_sgraf.model:SimilarityAligner")
    register("importer", "sgraf", "zoo_sgraf.importer:SgrafImporter")


@hookimpl
def zoo_cards() -> list[str]:
    """None here: the cards of built-in models stand in registry.yaml."""
    return []

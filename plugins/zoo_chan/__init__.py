"""CHAN for the zoo: names its components, and imports no torch."""

from __future__ import annotations

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    register("image_encoder", "chan_regions", "zoo_chan.model:RegionEncoder")
    register("aligner", "hard_alignment", "zoo_chan.model:HardAligner")
    register("importer", "chan", "zoo_chan.importer:ChanImporter")


@hookimpl
def zoo_cards() -> list[str]:
    """None here: the cards of built-in models stand in registry.yaml."""
    return []

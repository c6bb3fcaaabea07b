"""An MFA-style reconstruction for the zoo: names its components, and imports no torch."""

from __future__ import annotations

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    register("image_encoder", "mfa_regions", "zoo_mfa.model:RegionEncoder")
    register("text_encoder", "mfa_phrases", "zoo_mfa.model:PhraseEncoder")
    register("aligner", "multi_scale_alignment", "zoo_mfa.model:MultiScaleAligner")


@hookimpl
def zoo_cards() -> list[str]:
    """None here: the cards of built-in models stand in registry.yaml."""
    return []

"""Gist for the zoo: names its components and its card, and imports no torch."""

from pathlib import Path

from zoo.hooks import Register, hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register: Register) -> None:
    """Each class under a kind and a name, as text."""
    register("image_encoder", "gist_regions", "itm_zoo_gist.encoders:RegionGist")
    register("text_encoder", "gist_words", "itm_zoo_gist.encoders:WordGist")
    register("aligner", "gist", "itm_zoo_gist.aligner:GistAligner")
    register("loss", "soft_hinge", "itm_zoo_gist.losses:SoftHinge")


@hookimpl
def zoo_cards() -> list[Path]:
    """What the registry shall say of its models."""
    return [Path(__file__).with_name("cards.yaml")]

"""A toy method, as a plugin."""

from pathlib import Path

from zoo.hooks import hookimpl

ZOO_API_VERSION = (1, 0)


@hookimpl
def zoo_components(register):
    """All four kinds that a model is made of."""
    register("image_encoder", "toy_images", f"{__name__}.model:Images")
    register("text_encoder", "toy_texts", f"{__name__}.model:Texts")
    register("aligner", "toy_alignment", f"{__name__}.model:Attending")
    register("loss", "toy_hinge", f"{__name__}.model:Hinge")


@hookimpl
def zoo_cards():
    """One model."""
    return [Path(__file__).with_name("cards.yaml")]

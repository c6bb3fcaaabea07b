"""The recipes in which methods are compared differ in the method alone."""

from __future__ import annotations

import pytest

from zoo.training.recipe import read_recipe

OWN = {"name", "method", "plugin", "model", "loss", "autocast"}
COMPARED = ("shan-f8k", "tvrn-f8k", "mfa-f8k", "mssan-f8k")


def reader(recipe):
    """What reads the words: the text encoder, or the one inside it."""
    text_encoder = recipe["model"]["text_encoder"]
    return text_encoder.get("reader", text_encoder)


@pytest.mark.parametrize("name", COMPARED)
def test_a_method_is_trained_as_the_others_are(name):
    """Data, noise, schedule, words, features and kind of loss are those of chan-f8k.frozen."""
    usual, recipe = read_recipe("chan-f8k.frozen"), read_recipe(name)

    for key in usual.settings.keys() - OWN:
        assert recipe[key] == usual[key], key
    for part in ("extractor", "features"):
        assert recipe["model"][part] == usual["model"][part]
    assert reader(recipe) == reader(usual)
    for key in ("feature_dim", "dim", "region_drop", "standardize"):
        ours = usual["model"]["image_encoder"][key]
        assert recipe["model"]["image_encoder"][key] == ours
    assert recipe["loss"] | {"temperature": 0} == usual["loss"] | {"temperature": 0}
    assert recipe["autocast"]["parts"] == ["text_encoder.reader.rnn"]

"""From a name to a model, and what is said when that fails."""

from __future__ import annotations

import subprocess
import sys

import pytest

import zoo
from tiny import tiny_model
from zoo.errors import InputError, UnknownModelError, WeightsError

HEAVY = {"torch", "mmengine", "transformers", "huggingface_hub", "safetensors", "matplotlib"}


def test_an_unknown_name_is_answered_with_the_nearest():
    """A typing error costs one reading."""
    with pytest.raises(UnknownModelError, match=r"'chan-flikr8k'\. Did you mean 'chan-f8k'\?"):
        zoo.load("chan-flikr8k")


@pytest.mark.parametrize("name", ["chan-coco", "chan-f30k", "chan-f30k.bert_butd"])
def test_an_unpublished_model_says_what_to_do_instead(name):
    """The command that trains it, and the two ways without."""
    with pytest.raises(WeightsError) as caught:
        zoo.load(name)

    message = str(caught.value)
    assert message.startswith(f"{name} is unpublished.")
    assert "zoo train chan-" in message
    assert "random" in message


def test_a_path_needs_its_prefix():
    """A name and a path cannot be confused."""
    with pytest.raises(InputError, match=r"Write local-dir:PATH for a folder, or hf-hub:ORG/REPO"):
        zoo.load("runs/model")


def test_the_hub_is_refused_with_a_way_around():
    """Until it can be fetched from."""
    with pytest.raises(WeightsError, match=r"Download the repository's files .*local-dir:FOLDER"):
        zoo.load("hf-hub:org/chan-coco@main")


def test_random_weights_build_an_unpublished_model():
    """In the paper's sizes, with a borrowed vocabulary."""
    model = zoo.load("chan-f30k", weights="random")

    assert model.config.name == "chan-f30k"
    assert model.image_encoder.project.weight.shape == (1024, 2048)
    assert model.encode_texts(["a dog"]).embeddings.shape[2] == 1024


def test_weights_from_a_file_bring_their_vocabulary(tmp_path):
    """The folder that the file lies in has it."""
    folder = tiny_model().save(tmp_path / "model")

    with pytest.raises(WeightsError, match=r"does not fit the model's configuration"):
        zoo.load("chan-f30k", weights=folder / "model.safetensors")


def test_models_are_listed_by_pattern_and_status():
    """A string or several."""
    assert zoo.list_models("chan-f*") == ["chan-f30k", "chan-f30k.bert_butd", "chan-f8k"]
    assert zoo.list_models(["*-f8k", "*coco"]) == ["chan-coco", "chan-f8k"]
    assert zoo.list_models(status="bundled") == ["chan-f8k"]


@pytest.mark.parametrize(
    "code", ["import zoo", "import zoo; zoo.list_models(); zoo.info('chan-coco')"]
)
def test_importing_and_listing_stay_light(code):
    """Neither imports what trains, draws or downloads."""
    modules = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert HEAVY.isdisjoint(modules)


def test_a_mistyped_public_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        zoo.laod  # noqa: B018

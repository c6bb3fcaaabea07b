"""From a name to a model, and what is said when that fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import zoo
from tiny import tiny_files, tiny_model
from zoo.encoders.bert import SPECIALS
from zoo.errors import InputError, PluginError, UnknownModelError, WeightsError
from zoo.training.recipe import find_recipe

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


def test_random_weights_build_an_unpublished_model():
    """In the paper's sizes, with a borrowed vocabulary."""
    model = zoo.load("chan-f30k", weights="random")

    assert model.config.name == "chan-f30k"
    assert model.image_encoder.project.weight.shape == (1024, 2048)
    assert model.encode_texts(["a dog"]).embeddings.shape[2] == 1024


@pytest.fixture
def text_files(tmp_path, monkeypatch):
    """A folder with every text file that a model may ask for; the bundled one has vocab.json."""
    (tmp_path / "bundled").mkdir()
    for folder in (tmp_path, tmp_path / "bundled"):
        (folder / "vocab.json").write_text(tiny_files()["vocab.json"])
    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIALS, "a", "dog"]))
    monkeypatch.setattr("zoo.loading.pulling._bundled", lambda _card: tmp_path / "bundled")
    return tmp_path


@pytest.mark.parametrize("name", zoo.list_models())
def test_what_a_card_advises_can_be_done(name, text_files, monkeypatch):
    """Its recipe is there, and its call for random weights runs, with the folder that it names."""
    monkeypatch.chdir(text_files)
    advice = zoo.info(name).how_to_get
    on_meta = SimpleNamespace(load=partial(zoo.load, device="meta"))  # shapes without numbers

    for recipe in re.findall(r"zoo train (\S+)", advice):
        assert find_recipe(recipe).is_file()
    calls = [call for call in re.findall(r"zoo\.load\([^)]*\)", advice) if "random" in call]
    assert len(calls) == (zoo.info(name).status == "unpublished")
    for call in calls:
        with torch.device("meta"):
            model = eval(call.replace("FOLDER", "."), {"zoo": on_meta})
        assert model.config.name == name


def test_random_weights_of_bert_say_which_file_they_need():
    """And not to put it among the files of another model."""
    with pytest.raises(WeightsError) as caught:
        zoo.load("chan-coco.bert_butd", weights="random")

    message = str(caught.value)
    assert message.startswith("chan-coco.bert_butd needs vocab.txt, which no package brings.")
    assert message.endswith('files="FOLDER"), FOLDER with the vocab.txt of bert-base-uncased.')


def test_a_folder_s_weights_and_text_files_can_be_replaced(tmp_path, text_files):
    """Either or both; by default they are the folder's own."""
    folder = tiny_model().save(tmp_path / "model")
    moved = (folder / "model.safetensors").rename(tmp_path / "other.safetensors")
    bias = zoo.load(f"local-dir:{folder}", weights=moved).image_encoder.project.bias
    assert torch.equal(bias, tiny_model().image_encoder.project.bias)

    (folder / "vocab.json").unlink()
    with pytest.raises(WeightsError, match=r"has no file vocab\.json"):
        zoo.load(f"local-dir:{folder}", weights="random")
    assert zoo.load(f"local-dir:{folder}", weights="random", files=text_files)


@pytest.mark.parametrize("weights", [None, "random"])
def test_a_folder_needs_its_plugin_whatever_its_weights(tmp_path, weights):
    """Its parts could mean another thing elsewhere."""
    folder = tiny_model().save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    config["plugin"]["name"] = "chen"
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(PluginError, match="'chen' is not installed"):
        zoo.load(f"local-dir:{folder}", weights=weights)


def test_weights_from_a_file_bring_their_vocabulary(tmp_path):
    """The folder that the file lies in has it."""
    folder = tiny_model().save(tmp_path / "model")

    with pytest.raises(WeightsError, match=r"does not fit the model's configuration"):
        zoo.load("chan-f30k", weights=folder / "model.safetensors")


def test_models_are_listed_by_pattern_and_status():
    """A string or several."""
    assert zoo.list_models("chan-f3*") == ["chan-f30k", "chan-f30k.bert_butd"]
    assert zoo.list_models(["ch*-f8k", "ch*coco"]) == ["chan-coco", "chan-f8k"]
    assert zoo.list_models("chan-*", status="bundled") == ["chan-f8k", "chan-f8k.frozen"]


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


@pytest.mark.parametrize("name", [None, Path("runs/model")])
def test_a_model_is_loaded_by_its_name(name):
    """A path object would otherwise fail deep inside."""
    with pytest.raises(InputError, match=r'a model is loaded by its name.*"local-dir:PATH"'):
        zoo.load(name)


def test_a_device_that_is_not_there_is_named():
    """In words, not in torch's."""
    with pytest.raises(InputError, match=r"The device 'gpu' cannot be used .*device='cpu'"):
        zoo.load("chan-f8k", device="gpu")

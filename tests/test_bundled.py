"""The model that comes with the package: there, small, offline, and as good as its results say."""

from __future__ import annotations

import json
import socket

import pytest
from torch.testing import assert_close

import zoo
from zoo.demo import PHOTOS
from zoo.report.results import read_results
from zoo.training.recipe import read_recipe

NAME = "chan-f8k"
LARGEST = 16_000_000  # bytes


@pytest.fixture(scope="module")
def model():
    """The bundled model."""
    return zoo.load(NAME)


@pytest.fixture(scope="module")
def test_row():
    """What results.json says of the test split."""
    rows = read_results(zoo.info(NAME).folder)
    return next(row for row in rows if row["split"] == "test")


def test_it_is_small_enough_to_come_along():
    """All of its files together."""
    assert sum(path.stat().st_size for path in zoo.info(NAME).folder.iterdir()) <= LARGEST


def test_it_loads_without_a_network(monkeypatch):
    """No socket is opened, from the name to the scores."""

    def refuse(*_arguments, **_options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    model = zoo.load(NAME)
    images = model.encode_images([PHOTOS / "cat.jpg", PHOTOS / "rocket.jpg"])
    scores = model.score(
        images, model.encode_texts(["the face of a cat", "a bright light at night"])
    )

    assert scores.argmax(dim=1).tolist() == [0, 1]


def test_it_is_what_its_recipe_makes(model):
    """The parts in config.json are those of the recipe that the card names."""
    recipe = read_recipe(zoo.info(NAME).recipe)["model"]

    for part in ("image_encoder", "text_encoder", "aligner", "extractor"):
        assert getattr(model.config, part) == recipe[part]


def test_a_photograph_encodes_the_same_alone_and_in_company(model):
    """So an encoding can be kept."""
    photos = sorted(PHOTOS.glob("*.jpg"))
    together = model.encode_images(photos).embeddings

    for row, photo in enumerate(photos):
        alone = model.encode_images([photo]).embeddings[0]
        assert_close(together[row], alone, atol=1e-5, rtol=1e-4)


def test_its_results_say_how_they_were_measured(test_row):
    """Command, seed, data and date, and figures that add up."""
    assert test_row["command"].startswith(f"zoo evaluate {NAME} --data ")
    assert test_row["seed"] == 2022
    assert len(test_row["data_fingerprint"]) == 64
    assert test_row["date"]
    parts = [test_row["metrics"][f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10)]
    assert sum(parts) == pytest.approx(test_row["metrics"]["rsum"], abs=0.05)


def test_evaluation_gives_its_results_again(shared_data, run, test_row, tmp_path):
    """`zoo evaluate` on the test split, each figure to 0.1."""
    record = tmp_path / "out.json"
    options = ("--data", shared_data / "flickr8k", "--split", "test", "--json", record)
    assert run("evaluate", NAME, *options)[0] == 0

    again = json.loads(record.read_text())
    assert again["data_fingerprint"] == test_row["data_fingerprint"]
    assert again["model_sha256"] == test_row["model_sha256"]
    for name in ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10"):
        assert again["metrics"][name] == pytest.approx(test_row["metrics"][name], abs=0.1)


def test_the_documents_repeat_its_results_rightly(test_row):
    """README.md and the plugin's page show the figures of results.json."""
    metrics = test_row["metrics"]
    rows = [
        " / ".join(f"{metrics[f'{way}_r{k}']:.1f}" for k in (1, 5, 10)) for way in ("i2t", "t2i")
    ]
    root = zoo.info(NAME).folder.parents[1]
    for path in (root / "README.md", root / "plugins" / "zoo_chan" / "README.md"):
        text = path.read_text()
        assert all(row in text for row in rows)
        assert f"{metrics['rsum']:.1f}" in text

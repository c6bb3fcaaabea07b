"""The models of this repository: there, small, offline, and as good as their results say."""

from __future__ import annotations

import json
import socket
from functools import cache

import pytest
from torch.testing import assert_close

import zoo
from zoo.demo import PHOTOS
from zoo.files import sha256
from zoo.report.results import own_results
from zoo.training.recipe import read_recipe
from zoo.vision.extraction import extract, weights_fingerprint

IN_PACKAGE = "chan-f8k"
NAMES = zoo.list_models(status="bundled")
LARGEST = {IN_PACKAGE: 16_000_000}  # bytes
LARGEST_OUTSIDE = 12_000_000
RECALLS = [f"{way}_r{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)]

loaded = cache(zoo.load)


def result_of(name):
    """What results.json says of the weights in the folder, on the test split."""
    folder = zoo.info(name).folder
    weights = sha256(folder / "model.safetensors")
    rows = [row for row in own_results(folder) if row["split"] == "test"]
    (row,) = (row for row in rows if row["model_sha256"] == weights)
    return row


@pytest.fixture(scope="session")
def features(shared_data, tmp_path_factory):
    """Makes the features of the test split, once for all models that share an extractor."""

    @cache
    def store(fingerprint, name):
        photos = zoo.open_dataset(shared_data / "flickr8k", "test").image_paths
        folder = tmp_path_factory.mktemp("features") / fingerprint[:12]
        extract(photos, folder, loaded(name).extractor)
        return folder

    makers: dict[str, str] = {}

    def of(name):
        fingerprint = weights_fingerprint(loaded(name).extractor)
        return store(fingerprint, makers.setdefault(fingerprint, name))

    return of


@pytest.mark.parametrize("name", NAMES)
def test_it_is_small_enough_to_come_along(name):
    """All of its files together; one comes with the package, the others with the repository."""
    size = sum(path.stat().st_size for path in zoo.info(name).folder.iterdir())
    assert size <= LARGEST.get(name, LARGEST_OUTSIDE)


def test_it_loads_without_a_network(monkeypatch):
    """No socket is opened, from the name to the scores."""

    def refuse(*_arguments, **_options):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    model = zoo.load(IN_PACKAGE)
    images = model.encode_images([PHOTOS / "cat.jpg", PHOTOS / "rocket.jpg"])
    scores = model.score(
        images, model.encode_texts(["the face of a cat", "a bright light at night"])
    )

    assert scores.argmax(dim=1).tolist() == [0, 1]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_its_recipe_makes(name):
    """The parts in config.json are those of the recipe that the card names."""
    recipe = read_recipe(zoo.info(name).recipe)["model"]
    config = loaded(name).config

    assert config.name == name
    for part in ("image_encoder", "text_encoder", "aligner", "extractor"):
        assert getattr(config, part) == recipe[part]


@pytest.mark.parametrize("name", NAMES)
def test_a_photograph_scores_the_same_alone_and_in_company(name):
    """So an encoding can be kept."""
    model, photos = loaded(name), sorted(PHOTOS.glob("*.jpg"))
    texts = model.encode_texts(["a dog runs on the grass", "the face of a cat"])
    together = model.score(model.encode_images(photos), texts)

    for row, photo in enumerate(photos):
        alone = model.score(model.encode_images([photo]), texts)
        assert_close(together[row], alone[0], atol=1e-4, rtol=1e-4)


def test_a_photograph_encodes_the_same_alone_and_in_company():
    """Region by region."""
    model, photos = loaded(IN_PACKAGE), sorted(PHOTOS.glob("*.jpg"))
    together = model.encode_images(photos).embeddings

    for row, photo in enumerate(photos):
        alone = model.encode_images([photo]).embeddings[0]
        assert_close(together[row], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_its_results_say_how_they_were_measured(name):
    """Command, seed, data and date, and figures that add up."""
    row = result_of(name)

    assert row["command"].startswith("zoo evaluate ")
    assert "--split test" in row["command"]
    assert row["seed"] == read_recipe(zoo.info(name).recipe)["seed"]
    assert len(row["data_fingerprint"]) == 64
    assert row["date"]
    assert sum(row["metrics"][key] for key in RECALLS) == pytest.approx(
        row["metrics"]["rsum"], abs=0.05
    )


@pytest.mark.timeout(1800)  # SHAN and TVRN work on every pair, for some minutes
@pytest.mark.parametrize("name", NAMES)
def test_evaluation_gives_its_results_again(request, shared_data, run, name, tmp_path):
    """`zoo evaluate` on the test split, each figure to 0.1.

    The model of the package reads the photographs, the others features that they share.
    """
    row, record = result_of(name), tmp_path / "out.json"
    options = ["--data", shared_data / "flickr8k", "--split", "test", "--json", record]
    if name != IN_PACKAGE:
        options += ["--features", request.getfixturevalue("features")(name)]
    assert run("evaluate", name, *options)[0] == 0

    again = json.loads(record.read_text())
    assert again["model_sha256"] == row["model_sha256"]
    if name == IN_PACKAGE:
        assert again["data_fingerprint"] == row["data_fingerprint"]
    for key in RECALLS:
        assert again["metrics"][key] == pytest.approx(row["metrics"][key], abs=0.1)


def test_the_documents_repeat_its_results_rightly():
    """README.md and the plugin's page show the figures of results.json."""
    metrics = result_of(IN_PACKAGE)["metrics"]
    rows = [
        " / ".join(f"{metrics[f'{way}_r{k}']:.1f}" for k in (1, 5, 10)) for way in ("i2t", "t2i")
    ]
    root = zoo.info(IN_PACKAGE).folder.parents[1]
    for path in (root / "README.md", root / "plugins" / "zoo_chan" / "README.md"):
        text = path.read_text()
        assert all(row in text for row in rows)
        assert f"{metrics['rsum']:.1f}" in text

"""Models whose weights lie in a checkout and not in the package: found there, told elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import zoo
import zoo.report.results
from tiny import tiny_model
from zoo.catalogue.registry import read_registry
from zoo.errors import WeightsError
from zoo.loading import models as loading
from zoo.loading import own_names
from zoo.plugins.discovery import discover

REGISTRY = """schema_version: 1
methods:
  toy: {plugin: chan, title: Toy, venue: none, paper: null}
models:
  toy-f8k:
    method: toy
    dataset: f8k
    default: plain
    variants:
      plain:
        status: bundled
        license: Apache-2.0
        features: {kind: test, regions: 5, dim: 12, boxes: false}
        recipe: toy-f8k
        weights: {folder: weights/toy-f8k}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder of a registry that has one bundled model, as a checkout or a package has it."""
    (tmp_path / "registry.yaml").write_text(REGISTRY)
    found = replace(discover(), registry=read_registry(tmp_path / "registry.yaml"))
    for module in (loading, own_names):
        monkeypatch.setattr(module, "discover", lambda: found)
    return tmp_path


@pytest.mark.parametrize("folder", ["weights/toy-f8k", "bundled/toy-f8k"])
def test_a_model_is_found_where_its_folder_is(home, folder):
    """In a checkout as the registry says, in a package under bundled/."""
    tiny_model().save(home / folder)

    assert zoo.load("toy-f8k").config.name == "chan-tiny"
    where = "Lies here" if folder.startswith("weights") else "Comes with the package"
    assert zoo.info("toy-f8k").how_to_get == f"{where}: zoo.load('toy-f8k')."


@pytest.mark.parametrize("weights", [None, "random"])
def test_without_its_folder_a_model_says_where_it_lies(home, weights):
    """What to clone, how to load it then, and the other way."""
    del home
    with pytest.raises(WeightsError) as caught:
        zoo.load("toy-f8k", weights=weights)

    assert str(caught.value) == (
        "toy-f8k is bundled (not here). Its weights come with the source repository, and the "
        "package leaves them out. Clone the repository and load them by their folder: "
        'zoo.load("local-dir:CLONE/weights/toy-f8k"), or train it: '
        "zoo train toy-f8k --data PATH."
    )


def test_a_folder_without_a_model_is_damage_and_not_absence(home):
    """Then the folder is to be taken anew."""
    (home / "bundled" / "toy-f8k").mkdir(parents=True)
    with pytest.raises(WeightsError, match=r"missing from .*bundled/toy-f8k\. Take the folder"):
        zoo.load("toy-f8k")


def test_the_commands_show_it_as_it_is(home, run):
    """In the list, in its card, and in what cannot be done with it."""
    del home
    assert "bundled (not here)" in run("list")[1]
    (listed,) = json.loads(run("list", "--json")[1])
    assert (listed["status"], listed["here"], listed["measured"]) == ("bundled", False, [])
    out = run("info", "toy-f8k")[1]
    assert "bundled (not here)" in out
    assert "Clone the repository" in out
    assert json.loads(run("info", "toy-f8k", "--json")[1])["folder"] is None
    for command in ("evaluate toy-f8k --data d", "results toy-f8k"):
        status, out, err = run(*command.split())
        assert (status, out) == (1, "")
        assert "Clone the repository" in err
    assert run("results", "--json")[:2] == (0, "[]\n")


def test_another_seed_s_results_stand_beside_those_of_the_model(
    home, model_folder, data_folder, run
):
    """Its own seed, weights and training time go along; another model's are refused."""
    place = home / "weights" / "toy-f8k"
    for folder, seed, sha in ((place, 1, "a"), (home / "other", 2, "b")):
        zoo.load(f"local-dir:{model_folder}").save(folder, half=seed == 2)  # other weights
        known = {"dataset": "six", "split": "dev", "protocol": "p", "seed": seed}
        figures = dict.fromkeys(zoo.report.results.FIGURES, 1.0)
        row = {**known, "metrics": figures, "model_sha256": sha, "training_seconds": seed}
        (folder / "results.json").write_text(json.dumps({"results": [row]}))
    options = ("--data", data_folder, "--into", "toy-f8k")
    assert run("evaluate", home / "other", *options)[0] == 0

    rows = json.loads((place / "results.json").read_text())["results"]
    assert [(one["split"], one["seed"], one["training_seconds"]) for one in rows] == [
        ("dev", 1, 1),
        ("test", 2, 2),
    ]
    assert not any(one["split"] == "test" for one in zoo.report.results.own_results(place))
    config = json.loads((home / "other" / "config.json").read_text())
    config["aligner"]["pooling"] = "lse"
    (home / "other" / "config.json").write_text(json.dumps(config))
    status, _, err = run("evaluate", home / "other", *options)
    assert status == 1
    assert "aligner are not the same" in err

"""Names of the user's own: given to model folders, listed with their origin, and given up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from torch.testing import assert_close

import zoo
from test_members import other_model, scores_of
from tiny import tiny_model
from zoo.catalogue.registry import read_registry, shipped_registry
from zoo.config import Source
from zoo.errors import InputError, RegistryError, UnknownModelError, WeightsError
from zoo.loading import own_names
from zoo.loading.own_names import own_file, register, registry, unregister
from zoo.plugins.discovery import discover

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _empty_home(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))


@pytest.fixture
def folder(tmp_path):
    """A saved model."""
    return tiny_model().save(tmp_path / "model")


def test_a_name_gives_the_model_in_its_folder(folder):
    """It stands in for the registered model that has no weights."""
    assert register(folder, "chan-coco").status == "unpublished"

    assert_close(scores_of(zoo.load("chan-coco")), scores_of(tiny_model()))
    assert zoo.pull("chan-coco") == folder
    assert zoo.pull("chan-coco.bigru_butd") == folder


def test_a_card_of_one_s_own_says_what_is_known(folder):
    """Features from its configuration, the paper's figures from the model that it stands for."""
    register(folder, "chan-coco")
    card = zoo.info("chan-coco")

    assert (card.status, card.folder, card.dataset) == ("own", folder, "coco")
    assert card.origin.startswith("saved as chan-tiny, named on 20")
    assert card.features.model_dump() == {"kind": "test", "regions": 5, "dim": 12, "boxes": False}
    assert card.results == shipped_registry().find("chan-coco").results
    assert card.title == shipped_registry().find("chan-coco").title
    assert "zoo.load('chan-coco')" in card.how_to_get


@pytest.mark.parametrize(
    ("name", "dataset"), [("mine-f30k", "f30k"), ("mine", "unknown"), ("chan-coco.mine", "coco")]
)
def test_a_new_name_joins_the_list(folder, name, dataset):
    """Whatever it is called; the data set is what the name says, if it says a known one."""
    assert register(folder, name) is None

    assert name in zoo.list_models()
    assert zoo.list_models(status="own") == [name]
    assert zoo.info(name).dataset == dataset
    with pytest.raises(UnknownModelError, match=f"Did you mean {name!r}"):
        zoo.load(f"{name}x")


def test_names_are_sorted_among_the_others(folder):
    """With one that stands in for another, none is there twice."""
    before = zoo.list_models()
    for name in ("chan-coco", "chan-d", "aaa"):
        register(folder, name)

    assert zoo.list_models() == sorted([*before, "chan-d", "aaa"])


def test_a_name_stays_one_s_own_when_it_becomes_the_usual_variant_s(folder):
    """As it does when a model of that name is published later."""
    register(folder, "chan-coco.mine")
    found = registry()
    known = found.models["chan-coco"]
    variants = {**known.variants, "mine": known.variants[known.default]}
    later = known.model_copy(update={"default": "mine", "variants": variants})

    found = replace(found, models={**found.models, "chan-coco": later})
    assert found.find("chan-coco.mine").folder == folder
    assert found.find("chan-coco").folder is None


def test_what_has_weights_is_replaced_by_force_alone(folder):
    """A mistyped name must not change what a published one gives."""
    with pytest.raises(InputError, match=r"chan-f8k is the name of a bundled model.*\(--force\)"):
        register(folder, "chan-f8k.bigru_grid")
    assert zoo.info("chan-f8k").status == "bundled"

    assert register(folder, "chan-f8k.bigru_grid", force=True).status == "bundled"
    assert zoo.info("chan-f8k").folder == folder
    assert register(folder, "chan-f8k").status == "own", "it is one's own now"
    unregister("chan-f8k")
    assert zoo.info("chan-f8k").status == "bundled"


def test_a_name_given_up_leaves_the_folder(folder):
    """And the registered model is what it was."""
    register(folder, "chan-coco")

    assert unregister("chan-coco.bigru_butd") == folder
    assert (folder / "config.json").is_file()
    assert zoo.info("chan-coco").status == "unpublished"
    with pytest.raises(UnknownModelError, match=r"no name that you gave\. You have given none\."):
        unregister("chan-coco")


def test_where_a_model_comes_from_is_its_origin(tmp_path):
    """An imported one names the checkpoint."""
    source = Source(file="model_best.pth.tar", sha256="ab" * 32, size=7)
    register(tiny_model(source=source).save(tmp_path / "imported"), "mine")

    origin = zoo.info("mine").origin
    assert origin.startswith("imported from model_best.pth.tar (sha256 abababababab), named on")


@pytest.mark.parametrize(
    "name", ["", "Chan", "chan coco", "-chan", "chan/coco", "../x", "chan-", "a" * 101, "hf-hub:a"]
)
def test_what_is_no_name_is_refused(folder, name):
    """Nothing that could be a path, an option or a prefix."""
    with pytest.raises(InputError, match="is no name for a model"):
        register(folder, name)
    assert not own_file().exists()


def test_only_a_model_s_folder_gets_a_name(tmp_path, folder):
    """With weights and a sound configuration."""
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        register(tmp_path, "mine")
    (folder / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(WeightsError, match="is not a readable safetensors file"):
        register(folder, "mine")
    for content, message in ((b"{}", "is not a model configuration"), (b"\xff", "cannot be read")):
        (folder / "config.json").write_bytes(content)
        with pytest.raises(WeightsError, match=message):
            register(folder, "mine")


def test_a_folder_that_is_gone_is_told(folder):
    """The name stays listed, with what to do."""
    register(folder, "mine")
    folder.rename(folder.with_name("moved"))

    assert zoo.info("mine").status_here == "own (not here)"
    message = r"mine is own \(not here\)\. Your own, .* is gone\. .*zoo register FOLDER --name mine"
    with pytest.raises(WeightsError, match=message):
        zoo.load("mine")
    register(folder.with_name("moved"), "mine")
    assert zoo.pull("mine") == folder.with_name("moved")


@pytest.mark.parametrize("closed", ["model", "model/results.json"])
def test_a_folder_that_may_not_be_read_breaks_no_list(folder, run, monkeypatch, closed):
    """It may be somebody else's by now, or on a disk that is away."""
    register(folder, "mine")
    stat = Path.stat

    def refused(path, **given):
        if path.is_relative_to(folder.parent / closed):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **given)

    monkeypatch.setattr(Path, "stat", refused)
    (listed,) = json.loads(run("list", "mine", "--json")[1])
    assert (listed["here"], listed["measured"]) == (closed != "model", "damaged")


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"[]",
        b'{"models": {"../x": 1}}',
        b'{"models": {}, "more": 1}',
        b'{"models": 3}',
    ],
)
def test_a_damaged_registry_of_one_s_own_is_told(folder, content):
    """By its path, and what to do; it is never overwritten."""
    register(folder, "mine")
    own_file().write_bytes(content)

    for call in (zoo.list_models, lambda: zoo.info("mine"), lambda: register(folder, "other")):
        with pytest.raises(RegistryError, match=r"registry\.json, your own registry, cannot be"):
            call()
    assert own_file().read_bytes() == content


def test_a_name_in_a_damaged_registry_is_checked_like_a_new_one(folder):
    """Nobody else's text becomes a path of ours."""
    register(folder, "mine")
    content = json.loads(own_file().read_text())
    content["models"]["../mine"] = content["models"].pop("mine")
    own_file().write_text(json.dumps(content))

    with pytest.raises(RegistryError, match=r"'\.\./mine' is no name"):
        zoo.list_models()


def test_several_processes_lose_no_name(folder):
    """Each adds its own while the others do."""
    code = (
        "import sys, time; from zoo.loading import own_names; described = own_names._described\n"
        "own_names._described = lambda *given: (time.sleep(0.3), described(*given))[1]\n"
        "own_names.register(*sys.argv[1:])"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(folder), f"mine-{number}"], cwd=ROOT)
        for number in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    assert zoo.list_models("mine-*") == [f"mine-{number}" for number in range(4)]
    assert [path.name for path in own_file().parent.glob("*.tmp")] == []


def test_several_threads_lose_no_name(folder, monkeypatch):
    """As processes do; the system would give all of them the same lock."""
    read = own_names._read
    monkeypatch.setattr(own_names, "_read", lambda: (read(), time.sleep(0.05))[0])
    names = [f"mine-{number}" for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: register(folder, name), names))

    assert zoo.list_models("mine-*") == names


def test_a_failing_write_leaves_the_names(folder, monkeypatch):
    """As when the disk is full."""
    register(folder, "mine")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.files.os.fsync", full)
    with pytest.raises(zoo.ZooError, match="No space left"):
        register(folder, "other")
    assert zoo.list_models(status="own") == ["mine"]


def test_a_home_that_cannot_be_made_is_told(folder, tmp_path, monkeypatch):
    """With the setting that names another."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file" / "home"))

    with pytest.raises(WeightsError, match="Set ZOO_HOME to a folder that you may write to"):
        register(folder, "mine")


def test_a_home_that_cannot_be_written_is_told(folder):
    """Not only by its path."""
    own_file().with_name(".registry.json.lock").mkdir(parents=True)

    with pytest.raises(WeightsError, match="Set ZOO_HOME to a folder that you may write to"):
        register(folder, "mine")


class TestCommands:
    """`zoo register`, `zoo unregister` and `zoo join`."""

    def test_a_registered_folder_is_listed_and_described(self, run, folder):
        """With where it comes from."""
        status, out, told = run("register", folder, "--name", "chan-coco")
        assert (status, out) == (0, "")
        assert f"chan-coco is now the model in {folder}, in place of the unpublished one" in told

        rows = {row["name"]: row for row in json.loads(run("list", "--json")[1])}
        assert rows["chan-coco"]["status"] == "own"
        assert rows["chan-coco"]["origin"].startswith("saved as chan-tiny")
        assert "own" in run("list", "chan-coco")[1]
        assert "Your own, saved as chan-tiny, named on" in run("info", "chan-coco")[1]

        status, _, told = run("unregister", "chan-coco")
        assert (status, told) == (0, f"chan-coco is given up; the model stays in {folder}.\n")

    def test_a_model_that_cannot_be_loaded_gets_no_name(self, run, folder):
        """It is tried before."""
        path = folder / "model.safetensors"
        path.write_bytes(path.read_bytes()[:-1])

        status, _, told = run("register", folder, "--name", "mine")
        assert status == 1
        assert "is not a readable safetensors file" in told
        assert not own_file().exists()

    def test_a_published_name_needs_force(self, run, folder):
        """The message says so, and with it the name is given."""
        status, _, told = run("register", folder, "--name", "chan-f8k")
        assert (status, "--force" in told) == (1, True)
        assert run("register", folder, "--name", "chan-f8k", "--force")[0] == 0

    def test_models_are_joined_into_a_folder(self, run, folder, tmp_path):
        """By path or by name; the folder is printed, and its name is the model's."""
        other_model().save(tmp_path / "other")
        register(tmp_path / "other", "mine")
        status, out, _ = run("join", folder, "mine", "-o", tmp_path / "both")

        assert (status, out) == (0, f"{tmp_path / 'both'}\n")
        model = zoo.load(f"local-dir:{tmp_path / 'both'}")
        assert model.config.name == "both"
        assert_close(scores_of(model), (scores_of(tiny_model()) + scores_of(other_model())) / 2)


REGISTRY = """schema_version: 1
methods:
  toy: {plugin: chan, title: Toy, venue: none, paper: null}
models:
  toy-f8k:
    method: toy
    dataset: f8k
    default: both
    variants:
      both:
        features: &f {kind: test, regions: 5, dim: 12, boxes: false}
        members: [toy-f8k.one, toy-f8k.two]
      one:
        status: unpublished
        features: FEATURES
        parts: PARTS
        files: {vocab.txt: somewhere}
      two:
        status: STATUS
        features: FEATURES
        parts: PARTS
"""
FEATURES = "{kind: test, regions: 5, dim: 12, boxes: false}"
PARTS = (
    "{image_encoder: {type: chan_regions, feature_dim: 12, dim: 16}, text_encoder: "
    "{type: bigru, word_dim: 8, dim: 16}, aligner: {type: hard_alignment}}"
)


def registry_text(**changes: str) -> str:
    """A registry in which a model has two members."""
    words = {"STATUS": "unpublished", "FEATURES": FEATURES, "PARTS": PARTS, "&f ": ""} | changes
    text = REGISTRY
    for word, value in words.items():
        text = text.replace(word, value)
    return text


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Makes the zoo know a registry beside its own."""

    def know(**changes):
        path = tmp_path / "registry.yaml"
        path.write_text(registry_text(**changes))
        found = discover()
        found = replace(found, registry=read_registry(path, onto=found.registry))
        for room in ("plugins.discovery", "loading.own_names", "loading.models"):
            monkeypatch.setattr(f"zoo.{room}.discover", lambda: found)

    return know


@pytest.fixture
def both(known, folder, tmp_path):
    """The folder of two models of one's own, `model` and `two`, that make a registered one."""
    known()
    register(folder, "toy-f8k.one")
    register(other_model().save(tmp_path / "two"), "toy-f8k.two")
    return tmp_path


class TestMembersOfARegisteredModel:
    """A card that names members is the mean of them."""

    def test_its_status_is_that_of_the_least_ready_member(self, known):
        """It has none of its own."""
        known(STATUS="planned")
        assert zoo.info("toy-f8k").status == "planned"

    def test_without_weights_it_says_how_to_come_by_them(self, known):
        """By training the members, or from random weights, with what these need."""
        known()
        card = zoo.info("toy-f8k")

        assert card.status == "unpublished"
        with pytest.raises(WeightsError, match=r"Train toy-f8k\.one and toy-f8k\.two \(zoo info"):
            zoo.load("toy-f8k")
        assert 'files="FOLDER"), FOLDER with the vocab.txt of somewhere' in card.how_to_get

    def test_random_weights_make_the_members(self, known, folder):
        """All with the vocabulary that is given."""
        known()
        model = zoo.load("toy-f8k", weights="random", files=folder)

        assert len(model.aligner.members) == 2
        assert scores_of(model).shape == (3, 5)

    def test_members_of_one_s_own_make_it_usable(self, both):
        """Joined once, and anew when a member has changed."""
        card, mean = zoo.info("toy-f8k"), (scores_of(tiny_model()) + scores_of(other_model())) / 2

        assert (card.status, card.folder) == ("own", None)
        assert card.how_to_get == "The mean of toy-f8k.one and toy-f8k.two: zoo.load('toy-f8k')."
        assert_close(scores_of(zoo.load("toy-f8k")), mean)
        place = zoo.pull("toy-f8k")
        written = (place / "model.safetensors").stat().st_mtime_ns
        assert (zoo.pull("toy-f8k") / "model.safetensors").stat().st_mtime_ns == written

        tiny_model().save(both / "two")
        assert_close(scores_of(zoo.load("toy-f8k")), scores_of(tiny_model()))
        assert not place.exists()
        assert len(list(place.parent.iterdir())) == 1

    def test_its_results_stay_when_a_member_is_measured(self, both):
        """The members' results are no part of it."""
        place = zoo.pull("toy-f8k")
        (place / "results.json").write_text("{}")
        (both / "two" / "results.json").write_text("{}")

        assert zoo.pull("toy-f8k") == place
        assert (place / "results.json").is_file()

    @pytest.mark.parametrize("damage", ["gone", "cut short", "a bit"])
    def test_it_is_made_anew_where_it_is_damaged(self, both, damage):
        """By itself; what only reading tells, with `verify`."""
        assert both
        place = zoo.pull("toy-f8k") / "model.safetensors"
        sound, facts = place.read_bytes(), place.stat()
        place.unlink()
        if damage != "gone":
            place.write_bytes(sound[:-1] + (b"" if damage == "cut short" else b"?"))
            os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))

        assert zoo.pull("toy-f8k", verify=damage == "a bit") == place.parent
        assert place.read_bytes() == sound

    def test_what_is_here_needs_no_home_that_can_be_written(self, both):
        """It is used as it is."""
        place = zoo.pull("toy-f8k")
        lock = place.parent.with_name(".toy-f8k.lock")
        lock.unlink()
        lock.mkdir()

        assert zoo.pull("toy-f8k") == place
        tiny_model().save(both / "two")
        with pytest.raises(WeightsError, match="Set ZOO_HOME to a folder that you may write to"):
            zoo.pull("toy-f8k")

    def test_left_overs_of_a_killed_process_go(self, both):
        """When it is made the next time."""
        place = zoo.pull("toy-f8k")
        (place.parent / ".abc.tmp").mkdir()
        tiny_model().save(both / "two")

        assert list(zoo.pull("toy-f8k").parent.glob(".*.tmp")) == []

    def test_it_is_kept_and_deleted_like_what_was_fetched(self, both, run):
        """`zoo cache` knows it by its name."""
        assert both
        place = zoo.pull("toy-f8k")
        (listed,) = json.loads(run("cache", "ls", "--json")[1])
        assert (listed["repository"], listed["models"]) == ("joined/toy-f8k", ["toy-f8k"])
        assert (listed["whole"], listed["bytes"]) == (
            True,
            sum(path.stat().st_size for path in place.glob("[!.]*")),
        )

        assert run("cache", "verify", "toy-f8k")[0] == 0
        (place / "0.vocab.json").write_text("[]")
        assert run("cache", "verify", "toy-f8k")[0] == 1
        assert run("cache", "rm", "toy-f8k")[0] == 0
        assert not place.exists()
        assert zoo.pull("toy-f8k") == place

    def test_it_is_listed_and_described_with_its_members(self, known, run):
        """As any model is."""
        known()
        rows = {row["name"]: row for row in json.loads(run("list", "toy-*", "--json")[1])}

        assert rows["toy-f8k"]["members"] == ["toy-f8k.one", "toy-f8k.two"]
        assert "toy-f8k.one, toy-f8k.two" in run("info", "toy-f8k")[1]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"one, toy-f8k.two": "one"}, "at least 2 items"),
            ({"[toy-f8k.one": "[toy-f8k.on"}, "No model is called 'toy-f8k.on'"),
            ({"[toy-f8k.one": "[toy-f8k"}, "toy-f8k is made of members itself"),
            ({"[toy-f8k.one": "[chan-f8k"}, "chan-f8k reads other features"),
            ({"members": "recipe: toy\n        members"}, "has no recipe of its own"),
            ({"members": "status: planned\n        members"}, "has no status of its own"),
            (
                {"        members: [toy-f8k.one, toy-f8k.two]\n": ""},
                "wanted where there are no members",
            ),
        ],
    )
    def test_what_members_cannot_be_is_told_with_its_place(self, known, change, message):
        """Like other faults of a registry."""
        with pytest.raises(RegistryError, match=rf"registry\.yaml, line \d+, .*{message}"):
            known(**change)

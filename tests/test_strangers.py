"""A stranger's plugin, installed by pip, is found, checked, trained, measured and published."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from strangers import Stranger, write_data
from zoo.errors import InputError
from zoo.scaffold.writing import LONGEST, NewPlugin, write_plugin

pytest.importorskip("hatchling", reason="packages are built with the extra test")
ROOT = Path(__file__).resolve().parents[1]
QUICK = ["train_cfg.max_epochs=1", "data.batch_size=4", "vocabulary.minimum_count=1"]


@pytest.fixture
def stranger(tmp_path):
    """An environment with nothing of the stranger's in it yet."""
    return Stranger(tmp_path / "environment")


def training(recipe, data, run):
    """The command that trains a recipe for an epoch."""
    quick = [word for setting in QUICK for word in ("--set", setting)]
    return ["train", recipe, "--data", data, "--work-dir", run, *quick]


def test_a_new_plugin_works_as_it_stands(tmp_path, stranger, hub):
    """From `zoo plugin new` to a published model, without a change to what was written."""
    hub.token = "hf_" + "s" * 30
    project = tmp_path / "itm-zoo-my-idea"
    write_plugin(NewPlugin("my-idea", "MIT"), project)
    data, run = write_data(tmp_path / "flickr8k"), tmp_path / "run"

    stranger.install(project, "--editable")
    told = stranger.zoo(
        ["plugins"],
        ["plugin", "check", "my-idea"],
        training("my-idea-f8k", data, run),
        ["evaluate", run / "model", "--data", data, "--split", "test", "--save-results"],
        ["push", run / "model", "--repo", "org/my-idea-f8k", "--license", "MIT"],
        HF_TOKEN=hub.token,
        HF_HUB_DISABLE_XET="1",
    )

    assert "itm-zoo-my-idea" in told
    assert "my-idea keeps the contract" in told
    published = hub.repositories["org/my-idea-f8k"].files("main")
    assert {"model.safetensors", "config.json", "results.json"} <= published.keys()
    assert b"there is no paper yet" in published["README.md"]


def test_the_example_works_as_a_stranger_s_would(tmp_path, stranger):
    """SCAN is found by its entry point, keeps the contract in its own tests, and learns."""
    example = ROOT / "examples" / "zoo-plugin-scan"
    if not example.is_dir():
        pytest.skip("the examples come with the repository, and are not here")
    project = shutil.copytree(example, tmp_path / "scan")
    data, run = write_data(tmp_path / "flickr8k"), tmp_path / "run"

    stranger.install(project)
    tests = stranger.run("-m", "pytest", "-q", "-p", "no:cacheprovider", project)
    told = stranger.zoo(
        ["plugins"],
        training("scan-f8k", data, run),
        ["evaluate", run / "model", "--data", data, "--split", "test"],
    )

    assert " passed" in tests
    assert "itm-zoo-scan" in told
    assert "rsum" in told


@pytest.mark.parametrize("name", ["x", "a-" + "b" * (LONGEST - 2)])
def test_what_is_written_is_in_form(tmp_path, name):
    """ruff, with the rules that the package has, finds nothing, however short or long the name."""
    pytest.importorskip("ruff", reason="it comes with the extra dev")
    project = tmp_path / "project"
    write_plugin(NewPlugin(name, "BSD-3-Clause"), project)

    for check in (["format", "--check"], ["check", "--no-cache"]):
        command = [sys.executable, "-m", "ruff", *check, "."]
        ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Chan", "'Chan' is no name for a plugin"),
        ("my_idea", "is no name for a plugin"),
        ("a--b", "is no name for a plugin"),
        ("", "is no name for a plugin"),
        ("b" * (LONGEST + 1), "at most 24"),
        ("itm-zoo-scan", "Give 'scan' as the name"),
        ("chan", "taken by a plugin of itm-zoo"),
        ("vse-infty", "described by the plugin 'vse_infty'"),
    ],
)
def test_a_bad_or_taken_name_is_refused(tmp_path, name, words):
    """In words, and nothing is written."""
    with pytest.raises(InputError, match=words):
        write_plugin(NewPlugin(name), tmp_path / "project")

    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path):
    """A folder that exists is refused, as is a license that the zoo cannot write."""
    (tmp_path / "mine").mkdir()

    with pytest.raises(InputError, match="mine exists already"):
        write_plugin(NewPlugin("x"), tmp_path / "mine")
    with pytest.raises(InputError, match="license is 'GPL'"):
        write_plugin(NewPlugin("x", "GPL"), tmp_path / "other")
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    """When the disk fails on the way, there is no folder."""

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(Exception, match="No space left on device"):
        write_plugin(NewPlugin("x"), tmp_path / "project")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_to_do_next(tmp_path, run):
    """Files first, then commands that work as they stand."""
    status, out, _ = run("plugin", "new", "my-idea", "--path", tmp_path / "p", "--license", "MIT")

    assert status == 0
    assert f"pip install -e {tmp_path / 'p'}" in out
    assert (tmp_path / "p" / "LICENSE").read_text().startswith("MIT License")

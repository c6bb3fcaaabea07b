"""From a name to a checked folder and a model, and the commands that show what is kept."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

import zoo
from test_cards import RESULT
from tiny import FEATURES, tiny_model
from zoo.catalogue.registry import read_registry
from zoo.errors import InputError, WeightsError
from zoo.hub.snapshot_folders import folder_of
from zoo.plugins.discovery import discover

REGISTRY = """schema_version: 1
models:
  chan-toy:
    method: chan
    dataset: toy
    default: small
    variants:
      small:
        status: published
        license: Apache-2.0
        features: {{kind: test, regions: 5, dim: 12, boxes: false}}
        weights: {{repo: org/chan-toy, revision: {commit}, files: {files}}}
        results:
          measured:
            - {result}, command: zoo evaluate, seed: 1, data_fingerprint: {fingerprint},
               date: 2026-01-02}}
"""


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> dict[str, bytes]:
    """The files of a small model."""
    folder = tiny_model().save(tmp_path_factory.mktemp("model") / "tiny")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def commit(hub, files, tmp_path, monkeypatch) -> str:
    """The commit at which chan-toy is published, and the registry says so."""
    commit = hub.add("org/chan-toy", files | {"weights.pth": b"a pickle"})
    pins = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in files.items()
    }
    path = tmp_path / "registry.yaml"
    told = {"files": json.dumps(pins), "result": RESULT, "fingerprint": "c" * 64}
    path.write_text(REGISTRY.format(commit=commit, **told))
    found = discover()
    found = replace(found, registry=read_registry(path, onto=found.registry))
    for room in ("plugins.discovery", "loading.own_names", "loading.models"):
        monkeypatch.setattr(f"zoo.{room}.discover", lambda: found)
    return commit


def score(model) -> torch.Tensor:
    """What it says of two images and two captions."""
    torch.manual_seed(0)
    images = model.encode_images(torch.randn(2, 5, FEATURES))
    return model.score(images, model.encode_texts(["a dog runs", "a red bicycle"]))


def test_a_published_name_gives_the_model_that_was_published(commit, hub):
    """Bit for bit, from the pinned commit, even when the branch has moved on."""
    hub.add("org/chan-toy", {"config.json": b"{}"})
    model = zoo.load("chan-toy")

    assert torch.equal(score(model), score(tiny_model()))
    assert all(commit in one.path for one in hub.requests)


def test_a_model_that_is_here_needs_no_network(commit, monkeypatch):
    """No connection is tried; nothing is looked up."""
    zoo.load("chan-toy")
    monkeypatch.setattr(socket.socket, "connect", None)

    assert torch.equal(score(zoo.load("chan-toy")), score(tiny_model()))
    assert zoo.load(f"hf-hub:org/chan-toy@{commit}").config.name == "chan-tiny"


@pytest.mark.parametrize("revision", ["", "@main", "@{commit}"])
def test_a_repository_gives_its_model(commit, hub, caplog, revision):
    """By branch, which is told to be one, or by commit; pickles stay where they are."""
    revision = revision.format(commit=commit)
    model = zoo.load(f"hf-hub:org/chan-toy{revision}")

    assert torch.equal(score(model), score(tiny_model()))
    assert not any("weights.pth" in one.path for one in hub.requests)
    pin = f"hf-hub:org/chan-toy@{commit} will always give the same"
    assert (pin in caplog.text) == (commit not in revision)


def test_what_is_not_what_the_registry_says_is_not_loaded(commit, hub):
    """The repository's owner, too, cannot change a published model."""
    hub.repositories["org/chan-toy"].commits[commit].files["config.json"] = b"{}"

    with pytest.raises(
        WeightsError, match=r"config\.json of org/chan-toy at \w+ came twice and has"
    ):
        zoo.load("chan-toy")


@pytest.mark.usefixtures("commit")
def test_own_weights_spare_the_published_ones(hub, tmp_path):
    """Only what they do not replace is fetched."""
    weights = tiny_model().save(tmp_path / "own") / "model.safetensors"
    zoo.load("chan-toy", weights="random")
    zoo.load("chan-toy", weights=weights)

    assert hub.contents_sent("config.json") == 1
    assert hub.contents_sent("model.safetensors") == 0


@pytest.mark.usefixtures("commit")
def test_offline_uses_what_is_here(hub):
    """And says what is missing where it is not."""
    with pytest.raises(WeightsError, match=r"org/chan-toy at \w+ is not whole .*offline nothing"):
        zoo.load("chan-toy", offline=True)
    zoo.pull("chan-toy")
    asked = len(hub.requests)

    assert zoo.load("chan-toy", offline=True).config.name == "chan-tiny"
    assert len(hub.requests) == asked


def test_a_repository_without_a_model_of_the_zoo_is_refused(hub):
    """Before anything is fetched, and with the other way to read a checkpoint."""
    hub.add("org/other", {"model.safetensors": b"weights"})
    with pytest.raises(
        WeightsError, match=r"org/other at \w+ is no model of the zoo.*`zoo import`"
    ):
        zoo.load("hf-hub:org/other")
    assert hub.contents_sent() == 0


@pytest.mark.parametrize(
    "name", ["hf-hub:", "hf-hub:model", "hf-hub:org/model/x", "hf-hub:../model", "hf-hub:org/m@a b"]
)
def test_what_names_no_repository_is_said_so(name):
    """It would become a path on this disk."""
    with pytest.raises(InputError, match=r"names no repository of the Hub\. Write hf-hub:ORG/REPO"):
        zoo.pull(name)


def test_a_folder_that_is_not_there_is_an_error(tmp_path, run):
    """And no path for a script to go on with."""
    status, out, err = run("pull", tmp_path / "absent")

    assert (status, out) == (1, "")
    assert "absent is not a folder. A model folder holds config.json" in err


def test_a_folder_and_a_bundled_model_are_where_they_are(tmp_path):
    """Nothing is fetched or copied."""
    assert zoo.pull(f"local-dir:{tmp_path}") == tmp_path
    assert zoo.pull("chan-f8k") == zoo.info("chan-f8k").folder


def test_the_client_is_loaded_when_something_is_to_be_fetched():
    """Neither listing, nor a model that is here, waits for it."""
    code = "import zoo, sys; zoo.pull('chan-f8k'); print('huggingface_hub' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert told.stdout.strip() == "False"


@pytest.mark.usefixtures("commit")
def test_a_bar_is_drawn_for_a_reader_and_not_for_a_log(monkeypatch, capsys):
    """Each file has one, with its size and the speed."""
    zoo.pull("chan-toy")
    assert capsys.readouterr().err == ""

    monkeypatch.setenv("ZOO_HOME", os.environ["ZOO_HOME"] + "-2")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    zoo.pull("chan-toy")
    drawn = capsys.readouterr().err
    assert all(word in drawn for word in ("model.safetensors", "vocab.json", "kB"))


def break_off(run, hub, files) -> str:
    """Pull a model of which 5,000 bytes come; its name."""
    name = f"hf-hub:org/other@{hub.add('org/other', files)}"
    hub.fault("other/.*safetensors", cut=5000, times=1)
    hub.fault("other/.*safetensors", cut=0)
    assert run("pull", name)[0] == 1
    return name


def test_a_branch_is_looked_up_once_for_a_measurement(
    hub, run, model_folder, data_folder, tmp_path
):
    """If it moves meanwhile, the record still names the weights that were measured."""
    files = {path.name: path.read_bytes() for path in model_folder.iterdir()}
    hub.add("org/photos", files)
    where, out = "/api/models/org/photos/revision/main", tmp_path / "out.json"
    command = ("evaluate", "hf-hub:org/photos", "--data", data_folder, "--json", out)

    assert run(*command)[0] == 0
    assert [one.path for one in hub.requests].count(where) == 1
    weights = hashlib.sha256(files["model.safetensors"]).hexdigest()
    assert json.loads(out.read_text())["model_sha256"] == weights


class TestCommands:
    """`zoo pull` and `zoo cache`."""

    def test_pull_prints_the_folder(self, run, commit, hub):
        """For a script to use; a second time from here, or offline."""
        expected = (0, f"{folder_of('org/chan-toy', commit)}\n", "")
        assert run("pull", "chan-toy") == expected
        asked = len(hub.requests)
        assert run("pull", "chan-toy", "--verify") == expected
        assert run("pull", "chan-toy", "--offline") == expected
        assert len(hub.requests) == asked

    @pytest.mark.usefixtures("commit")
    def test_an_error_is_one_line(self, run, hub):
        """With what to do."""
        hub.fault("/resolve/", status=503)
        status, out, err = run("pull", "chan-toy")

        assert (status, out) == (1, "")
        assert err.startswith("error: The Hub at http://127.0.0.1")
        assert len(err.splitlines()) == 1

    def test_what_is_here_is_listed(self, run, commit, hub, files):
        """Registered or not, finished or not."""
        assert "Nothing from the Hub is in" in run("cache", "ls")[2]
        assert run("pull", "chan-toy")[0] == 0
        assert break_off(run, hub, files)

        _, out, _ = run("cache", "ls")
        assert "org/chan-toy" in out
        assert "whole" in out
        assert "incomplete, 5,000 bytes of unfinished downloads" in out
        first, second = json.loads(run("cache", "ls", "--json")[1])
        assert (first["commit"], first["models"], first["whole"]) == (commit, ["chan-toy"], True)
        assert first["bytes"] == sum(map(len, files.values()))
        assert (second["unfinished_bytes"], second["whole"]) == (5000, False)

    def test_every_file_is_read_again_to_verify(self, run, commit):
        """What is wrong is named, and pulled anew."""
        run("pull", "chan-toy")
        assert run("cache", "verify")[:2] == (0, f"org/chan-toy@{commit[:12]}: as it was fetched\n")
        file = folder_of("org/chan-toy", commit) / "vocab.json"
        facts = file.stat()
        with file.open("r+b") as opened:
            opened.write(b"[")
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as if the disk forgot a bit

        status, out, err = run("cache", "verify", "chan-toy")
        assert status == 1
        assert "vocab.json has the content" in out
        assert "zoo pull NAME --verify" in err
        (told,) = json.loads(run("cache", "verify", "--json")[1])
        assert list(told["faults"]) == ["vocab.json"]
        assert run("pull", "chan-toy", "--verify")[0] == 0
        assert run("cache", "verify")[0] == 0

    @pytest.mark.parametrize(
        "which", ["chan-toy", "org/chan-toy", "org/chan-toy@{commit}", "--all"]
    )
    def test_what_is_named_is_deleted(self, run, commit, files, which):
        """By any of its names; then it can be had again, but not offline."""
        run("pull", "chan-toy")
        run("pull", "hf-hub:org/chan-toy")
        size = sum(map(len, files.values()))

        assert run("cache", "rm", which.format(commit=commit[:8])) == (
            0,
            "",
            f"{size:,} bytes are free again.\n",
        )
        assert not folder_of("org/chan-toy", commit).exists()
        assert json.loads(run("cache", "ls", "--json")[1]) == []
        assert "not fetched at main" in run("pull", "hf-hub:org/chan-toy", "--offline")[2]
        assert run("pull", "chan-toy")[0] == 0

    def test_unfinished_downloads_are_deleted_alone(self, run, commit, hub, files):
        """What is whole stays, and a download begins anew."""
        run("pull", "chan-toy")
        place = folder_of("org/chan-toy", commit)
        (place / ".vocab.json.part").write_bytes(b"of a repair that was killed")
        other = break_off(run, hub, files)
        size = 27 + 5000 + len(files["config.json"])
        assert [one["whole"] for one in json.loads(run("cache", "ls", "--json")[1])] == [
            True,
            False,
        ]

        assert run("cache", "rm", "--unfinished")[2] == f"{size:,} bytes are free again.\n"
        (left,) = json.loads(run("cache", "ls", "--json")[1])
        assert (left["folder"], left["whole"], left["unfinished_bytes"]) == (str(place), True, 0)
        hub.faults.clear()
        assert run("pull", other)[0] == 0
        assert all("range" not in one.headers for one in hub.requests[-3:])

    def test_a_file_that_is_gone_is_named(self, run, commit):
        """Though nothing was left unfinished."""
        run("pull", "chan-toy")
        (folder_of("org/chan-toy", commit) / "vocab.json").unlink()

        assert "without vocab.json" in run("cache", "ls")[1]

    def test_nothing_is_deleted_by_mistake(self, run, commit):
        """No name, or an unknown one."""
        run("pull", "chan-toy")

        assert "Nothing says what to delete" in run("cache", "rm")[2]
        assert "org/othr is not among what was fetched" in run("cache", "rm", "org/othr")[2]
        assert folder_of("org/chan-toy", commit).is_dir()

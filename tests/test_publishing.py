"""A folder is published whole, as it was checked, and told of only when it came back so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import yaml

import zoo
from test_cli import in_process_of_its_own
from test_pulling import score
from tiny import tiny_model
from zoo.catalogue.registry import read_registry
from zoo.errors import InputError, WeightsError
from zoo.files import sha256
from zoo.home import home
from zoo.hub import client
from zoo.hub.refusals import HubError
from zoo.plugins.discovery import discover
from zoo.publishing import entry
from zoo.publishing.folder import check_folder
from zoo.publishing.pushing import push
from zoo.report.card import BEGIN, EMPTY, END, hand_written, write_card
from zoo.report.results import add_result

REPO, TOKEN = "org/chan-toy", "hf_" + "s" * 30
METRICS = {"i2t_r1": 10.0, "i2t_r5": 20.0, "i2t_r10": 30.0}
METRICS |= {"t2i_r1": 1.25, "t2i_r5": 2.5, "t2i_r10": 5.0, "rsum": 68.75}
LOADING = """
import sys, torch, zoo
model = zoo.load("hf-hub:{repo}@{commit}")
torch.manual_seed(0)
images = model.encode_images(torch.randn(2, 5, 12))
print(model.score(images, model.encode_texts({texts!r})).tolist())
"""


def row(folder, **changes):
    """A measurement of the weights in a folder."""
    return {
        "dataset": "toy",
        "split": "test",
        "protocol": "2 images, 4 captions, no folds",
        "metrics": METRICS,
        "command": "zoo evaluate chan-toy --data toy",
        "seed": 7,
        "data_fingerprint": "d" * 64,
        "model_sha256": sha256(folder / "model.safetensors"),
        "date": "2026-01-02",
        "device": "cpu",
        **changes,
    }


@pytest.fixture(scope="session")
def published_form(tmp_path_factory):
    """A small model with a measurement and a card that names a license."""
    folder = tiny_model(name="chan-toy").save(tmp_path_factory.mktemp("publish") / "model")
    add_result(folder, row(folder))
    write_card(folder, license="Apache-2.0")
    return folder


@pytest.fixture
def folder(published_form, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(published_form, tmp_path / "model")


@pytest.fixture
def logged_in(hub, monkeypatch):
    """A Hub that takes commits from who has the token, as we do; large files go by LFS."""
    hub.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    return hub


def with_notes(folder, notes):
    """The card of a folder with this text by hand."""
    card = folder / "README.md"
    text = card.read_text()
    card.write_text(text.replace(hand_written(text, card), notes))
    return folder


def files_of(hub, revision="main", repo=REPO):
    """What lies in a repository."""
    return hub.repositories[repo].files(revision)


def commits(hub, repo=REPO):
    """How many commits there are beside the first."""
    return len(hub.repositories[repo].commits) - 1


class TestFolder:
    """What is checked before anything is sent."""

    def test_a_sound_folder_is_taken_with_its_own_files_alone(self, folder):
        """Other files that lie there stay there, and the license is the card's."""
        (folder / "optimizer.pth").write_bytes(b"a pickle")
        (folder / "notes.txt").write_text("private")
        model = check_folder(folder)

        assert set(model.pins) == {
            "config.json",
            "model.safetensors",
            "results.json",
            "vocab.json",
        }
        assert model.left == ["notes.txt", "optimizer.pth"]
        assert (model.license, model.boxes, model.notes) == ("apache-2.0", False, EMPTY)

    def test_a_model_that_needs_boxes_is_known_by_its_refusal(self, tmp_path):
        """No plugin says so; features without boxes are tried."""
        parts = {"type": "tvrn_regions", "feature_dim": 12, "dim": 16, "text_context": "none"}
        text = {"type": "tvrn_words", "reader": {"type": "bigru", "word_dim": 8, "dim": 16}}
        aligner = {"type": "refined_alignment", "dim": 16, "similarity_dim": 8, "head": "saf"}
        model = tiny_model(
            name="tvrn-toy",
            method="tvrn",
            plugin=None,
            image_encoder=parts,
            text_encoder=text | {"text_context": "none"},
            aligner=aligner | {"text_context": "none"},
        )
        folder = model.save(tmp_path / "model")
        add_result(folder, row(folder))

        assert check_folder(folder, "MIT").boxes

    def test_all_that_is_missing_is_told_at_once(self, tmp_path):
        """With what to do about each."""
        folder = tiny_model().save(tmp_path / "model")
        with pytest.raises(InputError, match="cannot be published") as caught:
            check_folder(folder)

        assert "give --license" in str(caught.value)
        assert "nothing was measured of it (zoo evaluate FOLDER" in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "fault"),
        [
            ({"metrics": METRICS | {"rsum": 70.0}}, "rsum is 70.00, but its six parts sum to"),
            ({"command": "by hand"}, "command is 'by hand'"),
            ({"model_sha256": "0" * 64}, "no row is of the weights that lie here"),
        ],
    )
    def test_figures_that_nobody_can_measure_again_are_not_published(self, folder, changes, fault):
        """Typed, changed, or of other weights."""
        (folder / "results.json").write_text(json.dumps({"results": [row(folder, **changes)]}))
        with pytest.raises(InputError, match=fault):
            check_folder(folder)

    def test_weights_that_do_not_fit_are_not_published(self, folder):
        """Loading is as strict as ever."""
        tiny_model(aligner={"type": "hard_alignment"}, name="chan-toy").save(folder)
        config = json.loads((folder / "config.json").read_text())
        config["image_encoder"]["dim"] = config["text_encoder"]["dim"] = 24
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(WeightsError, match=r"does not fit"):
            check_folder(folder)

    def test_a_model_that_does_not_run_on_its_own_features_is_not_published(self, folder):
        """config.json says another number of them than the weights take."""
        config = json.loads((folder / "config.json").read_text())
        config["features"]["dim"] = 13
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(WeightsError, match=r"does not run on the features .* Correct config"):
            check_folder(folder)

    def test_a_card_that_is_no_text_is_told(self, folder):
        """It may have been written by another program."""
        (folder / "README.md").write_bytes("Trainé".encode("latin-1"))
        with pytest.raises(WeightsError, match=r"README\.md cannot be read"):
            check_folder(folder)

    def test_a_license_is_an_identifier(self, folder):
        """The Hub knows them by these."""
        with pytest.raises(InputError, match="'ask me' is no license's identifier"):
            check_folder(folder, "ask me")
        assert check_folder(folder, "CC-BY-NC-4.0").license == "CC-BY-NC-4.0"


class TestPush:
    """From a checked folder to a commit of the Hub."""

    @pytest.mark.usefixtures("logged_in")
    def test_what_one_process_pushes_another_loads_and_scores_alike(
        self, folder, tmp_path, monkeypatch
    ):
        """In a cache of its own, from the commit, bit for bit."""
        made = push(check_folder(folder), REPO, tag="v1.0")
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "another-home"))
        script = LOADING.format(
            repo=REPO, commit=made.commit, texts=["a dog runs", "a red bicycle"]
        )
        done = in_process_of_its_own(script)

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == score(tiny_model()).tolist()
        assert client.look_up(REPO, "v1.0").commit == made.commit

    def test_all_files_come_in_one_commit_on_the_newest(self, logged_in, folder):
        """With a card that loads the model by its real name."""
        before = logged_in.add(REPO, {"other.txt": b"stays"})
        made = push(check_folder(folder), REPO)

        commit = logged_in.repositories[REPO].commits[made.commit]
        assert commit.parent == before
        assert set(commit.files) == {".gitattributes", "other.txt", *made.files}
        assert b'zoo.load("hf-hub:org/chan-toy")' in commit.files["README.md"]
        assert (made.folder / "vocab.json").read_bytes() == (folder / "vocab.json").read_bytes()

    @pytest.mark.parametrize("large_uploads", [True, False])
    def test_it_works_with_xet_on(self, hub, folder, monkeypatch, large_uploads):
        """At a Hub that has no Xet store, too."""
        pytest.importorskip("hf_xet")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
        hub.large_uploads = large_uploads
        made = push(check_folder(folder), REPO)

        weights = (folder / "model.safetensors").read_bytes()
        assert files_of(hub, made.commit)["model.safetensors"] == weights

    def test_a_private_repository_is_made_private(self, logged_in, folder):
        """And is read back with the token."""
        push(check_folder(folder), REPO, private=True)
        assert logged_in.repositories[REPO].private

    def test_a_public_repository_is_not_taken_for_private(self, logged_in, folder):
        """The Hub would take the files, and show them to everybody."""
        logged_in.add(REPO, {})
        with pytest.raises(InputError, match=r"everybody can see it, so nothing was sent"):
            push(check_folder(folder), REPO, private=True)
        assert "config.json" not in files_of(logged_in)

    def test_a_password_in_the_hub_s_address_is_not_told(self, hub, folder, monkeypatch):
        """What is shown is an address to look at."""
        hub.add(REPO, {})
        monkeypatch.setenv("ZOO_HUB_ENDPOINT", hub.url.replace("//", "//joe:hunter2@"))
        with pytest.raises(InputError, match=rf"settings \({hub.url}/{REPO}/settings\)"):
            push(check_folder(folder), REPO, private=True)

    def test_the_same_again_commits_nothing(self, logged_in, folder):
        """And the tag may be there, for it names that commit."""
        first = push(check_folder(folder), REPO, tag="v1.0")
        again = push(check_folder(folder), REPO, tag="v1.0")

        assert (first.is_new, again.is_new) == (True, False)
        assert first.commit == again.commit
        assert commits(logged_in) == 1

    def test_a_tag_never_moves(self, logged_in, folder):
        """Nothing is committed under another tag's name."""
        first = push(check_folder(folder), REPO, tag="v1.0")
        with_notes(folder, "A new text.")
        with pytest.raises(InputError, match=r"has the tag v1\.0 already.*nothing was sent"):
            push(check_folder(folder), REPO, tag="v1.0")

        assert commits(logged_in) == 1
        assert client.look_up(REPO, "v1.0").commit == first.commit

    @pytest.mark.parametrize(
        ("repo", "tag"),
        [
            *((repo, None) for repo in ("chan-toy", "org/../x", "org/a b", "org/a.git")),
            (f"org/{'a' * 97}", None),
            *((REPO, tag) for tag in ("main", "a" * 40, "v 1", "../x")),
        ],
    )
    def test_names_that_the_hub_does_not_take_are_refused_first(self, hub, folder, repo, tag):
        """Nothing is asked of the Hub."""
        with pytest.raises(InputError, match=r"names no repository|cannot be a tag"):
            push(check_folder(folder), repo, tag=tag)
        assert not hub.requests


class TestNotes:
    """Text that was written by hand on a card."""

    def test_text_at_the_hub_is_kept(self, logged_in, folder):
        """Where the card here has none."""
        push(check_folder(folder), REPO)
        logged_in.add(REPO, {"README.md": self.edited(logged_in, "Written on the web.")})
        add_result(folder, row(folder, split="dev"))
        push(check_folder(folder), REPO)

        text = files_of(logged_in)["README.md"].decode()
        assert f"{BEGIN}\nWritten on the web.\n{END}" in text
        assert "| toy | dev |" in text

    def test_line_ends_are_no_other_text(self, logged_in, folder):
        """An editor on the web may change them all."""
        push(check_folder(with_notes(folder, "Two\nlines.")), REPO)
        card = files_of(logged_in)["README.md"]
        logged_in.add(REPO, {"README.md": card.replace(b"\n", b"\r\n")})
        push(check_folder(folder), REPO)
        assert files_of(logged_in)["README.md"] == card

    def test_other_text_at_the_hub_is_not_overwritten(self, logged_in, folder):
        """Unless that is said."""
        push(check_folder(with_notes(folder, "Ours.")), REPO)
        logged_in.add(REPO, {"README.md": self.edited(logged_in, "Theirs.", "Ours.")})
        with pytest.raises(InputError, match=r"has text that .*README\.md has not, so nothing was"):
            push(check_folder(folder), REPO)
        assert b"Theirs." in files_of(logged_in)["README.md"]

        push(check_folder(folder), REPO, replace_card=True)
        assert b"Ours." in files_of(logged_in)["README.md"]

    def test_a_card_of_another_kind_is_not_overwritten(self, logged_in, folder):
        """But one that the Hub made, with a license and no text, may go."""
        logged_in.add(REPO, {"README.md": b"# My model\nLong in the making.\n"})
        with pytest.raises(InputError, match="nothing was sent"):
            push(check_folder(folder), REPO)

        logged_in.add(REPO, {"README.md": b"---\nlicense: mit\n---\n"})
        push(check_folder(folder), REPO)
        assert b"hf-hub:org/chan-toy" in files_of(logged_in)["README.md"]

    def edited(self, hub, text, old=EMPTY):
        """The Hub's card with another text by hand."""
        return files_of(hub)["README.md"].replace(old.encode(), text.encode())


class TestFaults:
    """A push that stops leaves nothing that is announced, and can be made again."""

    @pytest.mark.parametrize(
        ("pattern", "status", "words"),
        [
            ("repos/create", 401, r"does not accept your token for org/chan-toy \(401\)"),
            ("repos/create", 403, r"may not have the making of org/chan-toy \(403\)"),
            ("/preupload/", 403, r"may not have a new commit of org/chan-toy \(403\)"),
            ("/_lfs/", 500, r"out of order \(500\)"),
            ("/commit/main", 503, r"out of order \(503\)"),
            ("/commit/main", 412, r"got another commit meanwhile \(412\), and nothing of yours"),
        ],
    )
    def test_a_refusal_before_the_commit_leaves_nothing(
        self, logged_in, folder, monkeypatch, pattern, status, words
    ):
        """And the next push does it all."""
        monkeypatch.setattr("time.sleep", lambda _: None)  # the client's own waiting
        logged_in.fault(pattern, status=status)
        with pytest.raises(HubError, match=words) as caught:
            push(check_folder(folder), REPO, tag="v1.0")

        assert TOKEN not in str(caught.value)
        assert "config.json" not in files_of(logged_in) if REPO in logged_in.repositories else True
        logged_in.faults.clear()
        assert push(check_folder(folder), REPO, tag="v1.0").is_new

    def test_a_card_that_the_hub_does_not_take_is_told_with_its_reason(self, logged_in, folder):
        """Such as a license that it does not know."""
        logged_in.fault("validate-yaml", status=400, body={"errors": [{"message": "license?"}]})
        with pytest.raises(HubError, match=r"nothing was committed \(Invalid metadata .*license"):
            push(check_folder(folder), REPO)
        assert "config.json" not in files_of(logged_in)

    def test_offline_nothing_is_sent(self, hub, folder, monkeypatch):
        """The variable says so."""
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(InputError, match="HF_HUB_OFFLINE is set, so nothing is sent"):
            push(check_folder(folder), REPO)
        assert not hub.requests

    def test_a_commit_of_somebody_else_in_between_is_not_buried(self, logged_in, folder):
        """Ours names its parent, so the Hub refuses it."""
        logged_in.fault(
            "/preupload/", times=1, before=lambda: logged_in.add(REPO, {"config.json": b"{}"})
        )
        with pytest.raises(HubError, match=r"another commit meanwhile \(412\).*push again"):
            push(check_folder(folder), REPO)
        assert files_of(logged_in)["config.json"] == b"{}"

    def test_what_comes_back_changed_is_not_tagged(self, logged_in, folder):
        """A byte is wrong twice; once it is right, the same command goes on and tags."""
        logged_in.fault("/_files/.*safetensors", flip=True)
        words = r"has the commit [0-9a-f]{40}, which has not come back .*push again: it goes on"
        with pytest.raises(WeightsError, match=words):
            push(check_folder(folder), REPO, tag="v1.0")
        assert "v1.0" not in logged_in.repositories[REPO].refs

        logged_in.faults.clear()
        again = push(check_folder(folder), REPO, tag="v1.0")
        assert not again.is_new
        assert logged_in.repositories[REPO].refs["v1.0"] == again.commit

    def test_a_push_that_is_killed_goes_on(self, logged_in, folder):
        """Here behind the commit: the next push makes no other, and tags."""
        done = in_process_of_its_own(
            "import os, signal",
            "from zoo.hub import snapshots",
            "from zoo.cli import main",
            "snapshots.fetch = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)",
            f"main(['push', {str(folder)!r}, '--repo', {REPO!r}, '--tag', 'v1.0'])",
        )
        assert (done.returncode, commits(logged_in)) == (-9, 1)
        assert "v1.0" not in logged_in.repositories[REPO].refs

        again = push(check_folder(folder), REPO, tag="v1.0")
        assert (again.is_new, commits(logged_in)) == (False, 1)
        assert logged_in.repositories[REPO].refs["v1.0"] == again.commit

    def test_a_tag_that_fails_says_that_the_model_is_there(self, logged_in, folder):
        """The next push only tags."""
        logged_in.fault("/tag/", status=500)
        words = r"has the commit \w{40}, which came back as it was sent and is not tagged v1\.0"
        with pytest.raises(WeightsError, match=words):
            push(check_folder(folder), REPO, tag="v1.0")

        logged_in.faults.clear()
        assert not push(check_folder(folder), REPO, tag="v1.0").is_new
        assert commits(logged_in) == 1

    def test_without_a_token_the_error_says_to_log_in(self, hub, folder):
        """And nothing is made."""
        hub.token = TOKEN
        with pytest.raises(HubError, match=r"without a token \(401\).*hf auth login"):
            push(check_folder(folder), REPO)
        assert not hub.repositories

    def test_a_folder_that_changes_meanwhile_is_found_out(self, logged_in, folder):
        """What was checked is what must come back."""
        model = check_folder(folder)
        (folder / "vocab.json").write_text((folder / "vocab.json").read_text() + " ")
        with pytest.raises(WeightsError, match=r"vocab\.json .* came twice and"):
            push(model, REPO, tag="v1.0")
        assert "v1.0" not in logged_in.repositories[REPO].refs


REGISTRY = """# ours
schema_version: 1
models:
  # the toy
  chan-toy:
    method: chan
    dataset: toy
    default: small
    variants:
      small:
        status: unpublished  # not yet
        features: {kind: test, regions: 5, dim: 12, boxes: false}
"""


TAKE_LOCK = """
import fcntl, sys
fcntl.lockf(open(sys.argv[1], "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
"""


class TestCommand:
    """`zoo push`."""

    def test_the_entry_that_is_printed_gives_the_model(
        self, logged_in, folder, run, tmp_path, monkeypatch
    ):
        """By its name, to who has no token and no file yet, in a registry without other models."""
        status, out, err = run("push", folder, "--repo", REPO, "--tag", "v1.0")
        registry = tmp_path / "registry.yaml"
        registry.write_text(f"schema_version: 1\n{out}")
        card = read_registry(registry, discover().registry).find("chan-toy")

        assert (status, card.status, card.license) == (0, "published", "apache-2.0")
        assert card.weights.revision == logged_in.repositories[REPO].refs["v1.0"]
        assert set(card.weights.files) == {*check_folder(folder).pins, "README.md"}
        assert card.results.measured[0].rsum == 68.75
        assert f"{REPO}@{card.weights.revision}" in err

        found = replace(discover(), registry=read_registry(registry, discover().registry))
        for room in ("plugins.discovery", "loading.own_names", "loading.models"):
            monkeypatch.setattr(f"zoo.{room}.discover", lambda: found)
        monkeypatch.delenv("HF_TOKEN")
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "another-home"))
        assert run("pull", "chan-toy", "--verify")[0] == 0
        assert torch.equal(score(zoo.load("chan-toy")), score(tiny_model()))

    @pytest.mark.usefixtures("logged_in")
    def test_the_entry_is_written_and_comments_stay(self, folder, run, tmp_path):
        """In place of what the model was before."""
        registry = tmp_path / "registry.yaml"
        registry.write_text(REGISTRY)
        asked = ("push", folder, "--repo", REPO, "--registry", registry)
        status, out, _ = run(*asked)
        text = registry.read_text()

        assert (status, out) == (0, "")
        assert text.startswith(REGISTRY.split("        status")[0])
        assert "        status: published  # not yet\n" in text
        found = yaml.safe_load(text)["models"]["chan-toy"]["variants"]["small"]
        assert found["weights"]["repo"] == REPO
        assert found["features"]["boxes"] is False

    @pytest.mark.usefixtures("logged_in")
    def test_a_registry_keeps_its_line_ends_and_its_link(self, folder, run, tmp_path):
        """What a link leads to is changed, and there no line that is not of the entry."""
        registry, link = tmp_path / "registry.yaml", tmp_path / "link.yaml"
        before = REGISTRY.replace("\n", "\r\n").encode()
        registry.write_bytes(before)
        link.symlink_to(registry)
        run("push", folder, "--repo", REPO, "--registry", link)

        assert registry.read_bytes().startswith(before.split(b"        status")[0])
        assert b"status: published" in registry.read_bytes()
        assert b"\n" not in registry.read_bytes().replace(b"\r\n", b"")
        assert link.is_symlink()

    @pytest.mark.usefixtures("logged_in")
    def test_pushes_at_once_register_one_after_another(self, folder, run, tmp_path, monkeypatch):
        """From reading the file to writing it no other process may, so that no entry is lost."""
        registry, made, free = tmp_path / "registry.yaml", entry.with_entry, []
        registry.write_text(REGISTRY)

        def watched(*arguments):
            asked = [sys.executable, "-c", TAKE_LOCK, str(home() / ".registering.lock")]
            free.append(subprocess.run(asked, check=False, capture_output=True).returncode == 0)
            return made(*arguments)

        monkeypatch.setattr(entry, "with_entry", watched)
        home().mkdir()
        assert run("push", folder, "--repo", REPO, "--registry", registry)[0] == 0
        assert free == [True, False]

    @pytest.mark.usefixtures("logged_in")
    def test_an_imported_model_may_have_no_seed(self, folder, run):
        """Its entry says so, and is sound."""
        (folder / "results.json").write_text(json.dumps({"results": [row(folder, seed=None)]}))
        status, out, _ = run("push", folder, "--repo", REPO)
        assert (status, "seed: null" in out) == (0, True)

    def test_a_registry_that_could_not_be_changed_stops_before_anything_is_sent(
        self, logged_in, folder, run, tmp_path
    ):
        """Here its entry stands on one line; the package's own registry has a bundled model."""
        registry = tmp_path / "registry.yaml"
        line = "{status: planned, features: {kind: test, regions: 5, dim: 12, boxes: false}}"
        registry.write_text(REGISTRY.split("\n        status")[0] + f" {line}\n")
        asked = ("push", folder, "--repo", REPO, "--register", "--registry")
        (tmp_path / "old.yaml").write_bytes(b"# \xe9\n")
        for file, words in (
            (registry, "key by key"),
            (tmp_path / "none.yaml", "is not there"),
            (tmp_path / "old.yaml", "is not UTF-8 text"),
        ):
            status, _, err = run(*asked, file)
            assert status == 1
            assert words in err
        status, _, err = run("push", "chan-f8k", "--repo", REPO, "--register", "--dry-run")
        assert "comes with the package" in err
        assert not logged_in.requests

    def test_a_dry_run_shows_the_card_and_asks_nothing_of_the_hub(self, hub, folder, run):
        """Not even whether there is such a repository."""
        (folder / "notes.txt").write_text("private")
        status, out, err = run("push", folder, "--repo", REPO, "--dry-run")

        assert status == 0
        assert out.startswith("---\nlibrary_name: itm-zoo\nlicense: apache-2.0\n")
        assert "model.safetensors" in err
        assert "would stay here: notes.txt" in err
        assert not hub.requests

    @pytest.mark.usefixtures("logged_in")
    def test_a_name_that_no_registry_has_is_published_all_the_same(self, tmp_path, run):
        """It has no entry, and that is said."""
        folder = tiny_model(name="my model").save(tmp_path / "model")
        add_result(folder, row(folder))
        asked = ("push", folder, "--repo", "org/my-model", "--license", "MIT")
        status, out, err = run(*asked)

        assert (status, out) == (0, "")
        assert "'my model' is no name for a registry" in err
        assert run(*asked, "--register")[0] == 1

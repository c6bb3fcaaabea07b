"""A run goes on from a trained model, whose parts must fit, and may leave some as they are."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from toy_runs import ToyRun, ends, equal, weights
from zoo.cli import main
from zoo.errors import InputError, UnknownModelError
from zoo.files import sha256
from zoo.loading.weights import load_folder
from zoo.report.results import read_results

STILL = ["optim_wrapper.optimizer.lr=0.0", "train_cfg.max_epochs=1", "average=None"]
WORDS = [
    "model.text_encoder={'type': 'bigru', 'word_dim': 4, 'dim': 8}",
    "vocabulary={'minimum_count': 1}",
    "optim_wrapper.paramwise_cfg={}",
]


@pytest.fixture
def run(tmp_path):
    """Trains the toy recipe in tmp_path/run."""
    return ToyRun(tmp_path)


def test_a_run_begins_with_its_parent_and_says_so(run, capsys):
    """With a rate of nothing it ends with the parent's weights; record, model and card name it."""
    parent = run("train_cfg.max_epochs=1", work_dir="first")
    settings = [one for setting in STILL for one in ("--set", setting)]
    where = ["--data", str(run.data), "--work-dir", str(run.folder)]
    assert main(["train", str(run.recipe), *where, *settings, "--from", str(parent)]) == 0
    child = run.folder / "model"
    assert equal(weights(child), weights(parent))
    identity = {"name": "toy", "sha256": sha256(parent / "model.safetensors")}
    assert run.record()["parent"] == identity
    assert json.loads((child / "config.json").read_text())["parent"] == identity
    assert "parent" not in json.loads((parent / "config.json").read_text())
    assert read_results(child)[0]["parent"] == f"toy ({identity['sha256']})"
    assert f"toy (weights {identity['sha256']})" in (child / "README.md").read_text()
    assert load_folder(child).config.parent.name == "toy"
    capsys.readouterr()


def test_the_words_are_those_of_the_parent(run):
    """Whatever the recipe would read from its own captions."""
    parent = run(*WORDS, work_dir="first")
    captions = run.data / "train_caps.txt"
    captions.write_text(captions.read_text().replace("dog", "wolf"))
    child = run(*WORDS[:1], *WORDS[2:], "vocabulary={'minimum_count': 9}", parent=parent)
    words = [load_folder(one).text_encoder.vocabulary.words for one in (child, parent)]
    assert words[0] == words[1]
    assert run.record()["recipe"]["vocabulary"] is None


def test_the_folder_of_a_run_is_its_model_s(run):
    """`--from RUN` is `--from RUN/model`; a run goes on after a crash with the same parent."""
    run("train_cfg.max_epochs=1", work_dir="first")
    parent = run.where / "first"
    straight = ends(run(parent=parent, work_dir="straight"))
    with pytest.MonkeyPatch.context() as patch:
        run.crash(patch, 12, parent=parent / "model")
    with pytest.raises(InputError, match=r"data of parent: fingerprint was .* is none"):
        run(resume=True)
    with pytest.raises(InputError, match="changes how a model is trained, not which"):
        run(resume="loose")
    assert equal(ends(run(parent=parent, resume=True)), straight)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            ["model.image_encoder.dim=5", "model.text_encoder.dim=5"],
            r"image_encoder\.project\.weight is \(8, 6\) in the parent and \(5, 6\) in the recipe; "
            r"text_encoder\.embed\.weight is \(64, 8\) in the parent and \(64, 5\)",
        ),
        (WORDS, r"text_encoder\.type is 'toy_texts' in the parent and 'bigru' in the recipe"),
        (["model.features.kind=grid"], r"features\.kind is 'toy' in the parent and 'grid'"),
    ],
)
def test_every_misfit_is_named(run, settings, said):
    """Parts, shapes and features, before anything is trained."""
    parent = run("train_cfg.max_epochs=1", work_dir="first")
    with pytest.raises(InputError, match=said):
        run(*settings, parent=parent)
    assert not run.steps()


def test_what_fits_and_differs_is_told(run):
    """Another dropout needs no other weights."""
    parent = run("train_cfg.max_epochs=1", work_dir="first")
    run("model.image_encoder.dropout=0.1", "train_cfg.max_epochs=1", parent=parent)
    assert "image_encoder.dropout was 'its default' in the parent and is 0.1" in run.said


def test_an_unknown_parent_is_refused_with_the_nearest(run):
    """As `zoo.load` refuses it."""
    with pytest.raises(UnknownModelError, match="chan-f8k"):
        run(parent="chan-flickr8k")


def test_what_is_frozen_stays_as_it_is(run):
    """Its parameters bit for bit, the rest learns; a resume does not thaw it."""
    parent = run("train_cfg.max_epochs=1", work_dir="first")
    setting = "freeze=['text_encoder.*', '*.bias']"
    with pytest.MonkeyPatch.context() as patch:
        run.crash(patch, 12, setting, parent=parent)
    before, after = weights(parent), weights(run(setting, parent=parent, resume=True))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {
        "text_encoder.embed.weight",
        "image_encoder.project.bias",
        "image_encoder.mean",
    }


def test_frozen_batch_norms_keep_their_statistics(run, monkeypatch):
    """Through all epochs and measurements, while those that learn follow the batches."""
    begin = toy.ToyImages.__init__

    def with_norm(self, dim=8, dropout=0.3):
        begin(self, dim, dropout)
        self.norm = torch.nn.BatchNorm1d(dim)

    def normed(self, batch):
        hidden = self.norm(self.project(batch.features - self.mean).flatten(0, 1))
        return toy.Fragments(toy.l2_normalize(hidden.unflatten(0, batch.mask.shape)), batch.mask)

    monkeypatch.setattr(toy.ToyImages, "__init__", with_norm)
    monkeypatch.setattr(toy.ToyImages, "forward", normed)
    frozen = weights(run("freeze=['image_encoder.norm.*']"))
    learned = weights(run(work_dir="learned"))
    name = "image_encoder.norm.running_mean"
    assert not frozen[name].any()
    assert learned[name].any()


@pytest.mark.parametrize(
    ("patterns", "said"),
    [
        (["image_encodr.*"], r"freeze has 'image_encodr\.\*', .* Did you mean 'image_encoder\.\*'"),
        (["text_encoder"], r"Did you mean 'text_encoder\.\*'"),
        (["*"], "Nothing is left to be trained"),
    ],
)
def test_a_pattern_that_freezes_nothing_or_all_is_refused(run, patterns, said):
    """By its name, with the nearest, before anything is trained."""
    with pytest.raises(InputError, match=said):
        run(f"freeze={patterns!r}")
    assert not run.steps()

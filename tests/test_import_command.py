"""`zoo import`: from another program's file to a model that is loaded and measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
from test_chan_importer import SMALL_CAPTIONS, SMALL_WORDS, save, scored, small_bigru
from zoo.files import sha256
from zoo.importers import import_checkpoint

LICENSE = "Under which licence it may be used"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A small CHAN of Flickr30K."""
    return save(tmp_path / "model_best.pth", *small_bigru(8), word2idx=SMALL_WORDS)


def test_a_checkpoint_becomes_a_folder_that_loads(run, tmp_path, checkpoint):
    """Scores are the same to the bit; the folder says where the weights are from."""
    folder = tmp_path / "chan"

    status, out, _ = run("import", "chan", checkpoint, "-o", folder)

    assert (status, out) == (0, f"{folder}\n")
    model, features = zoo.load(f"local-dir:{folder}"), torch.randn(2, 3, 7)
    scores = model.score(model.encode_images(features), model.encode_texts(SMALL_CAPTIONS))
    assert torch.equal(
        scores, scored(import_checkpoint("chan", checkpoint), features, SMALL_CAPTIONS)
    )
    source = json.loads((folder / "config.json").read_text())["source"]
    assert source == {
        "file": "model_best.pth",
        "sha256": sha256(checkpoint),
        "size": checkpoint.stat().st_size,
    }
    assert source["sha256"] in (folder / "README.md").read_text()


def test_a_person_is_told_what_became_of_the_tensors_and_what_is_open(run, tmp_path, checkpoint):
    """Counts, what was left out and why, the program's own figures, and the question of licence."""
    _, _, err = run("import", "chan", checkpoint, "-o", tmp_path / "chan")

    assert "The checkpoint says of itself: epoch 21, best rsum on its dev split 508.9." in err
    assert "17 tensors of the checkpoint have a place in the model." in err
    assert "never applies: text encoder fc.weight, text encoder fc.bias." in err
    assert "half precision" in err
    assert LICENSE in err


def test_the_licence_is_asked_about_and_never_answered(run, tmp_path, checkpoint):
    """Neither the folder's card nor its configuration has one."""
    folder = tmp_path / "chan"
    run("import", "chan", checkpoint, "-o", folder)

    card = (folder / "README.md").read_text()
    assert "\nlicense:" not in card
    assert "license" not in json.loads((folder / "config.json").read_text())


def test_a_refused_checkpoint_leaves_nothing_behind(run, tmp_path):
    """Neither a folder nor what its pickle would have made."""
    from test_importers import Runs, content
    from test_importers import save as save_any

    witness = tmp_path / "witness"
    bad = save_any(tmp_path / "bad.pth", content(more=Runs(os.system, f"touch {witness}")))

    status, out, err = run("import", "chan", bad, "-o", tmp_path / "chan")

    assert (status, out) == (1, "")
    assert err.startswith(f"error: {bad} asks for posix.system")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.pth"]


def test_an_unknown_method_is_refused_with_the_nearest_name(run, tmp_path, checkpoint):
    """Before anything is read."""
    status, _, err = run("import", "chann", checkpoint, "-o", tmp_path / "chan")

    assert status == 1
    assert "No importer is called 'chann'. Did you mean 'chan'?" in err


def test_a_folder_of_other_things_is_left_alone(run, tmp_path, checkpoint):
    """It is refused as by `save`."""
    (tmp_path / "chan").mkdir()
    (tmp_path / "chan/thesis.tex").write_text("x")

    status, _, err = run("import", "chan", checkpoint, "-o", tmp_path / "chan")

    assert status == 1
    assert "is no model folder" in err
    assert [path.name for path in (tmp_path / "chan").iterdir()] == ["thesis.tex"]


def test_a_name_makes_the_model_known_everywhere(run, tmp_path, monkeypatch, checkpoint):
    """It stands in for the unpublished model of that name, and says where it is from."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))

    status, _, err = run("import", "chan", checkpoint, "-o", tmp_path / "a", "--name", "chan-f30k")

    assert status == 0
    assert "chan-f30k is now the model in" in err
    assert zoo.load("chan-f30k").image_encoder.feature_dim == 7
    assert f"imported from model_best.pth (sha256 {sha256(checkpoint)[:12]})" in run(
        "info", "chan-f30k"
    )[1].replace("\n", " ")


@pytest.mark.parametrize(
    ("name", "words"),
    [("chan-f8k", "is the name of a bundled model"), ("My Model", "is no name for a model")],
)
def test_a_name_that_cannot_be_given_is_refused_first(
    run, tmp_path, monkeypatch, checkpoint, name, words
):
    """Nothing is written for it; force takes the place of a model whose weights there are."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    arguments = ("import", "chan", checkpoint, "-o", tmp_path / "a", "--name", name)

    status, _, err = run(*arguments)

    assert status == 1
    assert words in err
    assert not (tmp_path / "a").exists()
    assert run(*arguments, "--force")[0] == (0 if name == "chan-f8k" else 1)


# ------------------------------------------------------------------------------------- with data


def flickr_of(folder: Path, images: int) -> Path:
    """A test split in SCAN's layout, three regions and five captions an image."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    np.save(folder / "test_ims.npy", generator.standard_normal((images, 3, 7), np.float32))
    words, rows = ["a", "dog", "runs", "cat"], generator.integers(4, size=(5 * images, 3))
    captions = "".join(" ".join(words[one] for one in row) + "\n" for row in rows)
    (folder / "test_caps.txt").write_text(captions)
    (folder / "test_ids.txt").write_text("".join(f"{number}\n" for number in range(images)))
    return folder


@pytest.fixture
def flickr(tmp_path_factory) -> Path:
    """Of the size of Flickr30K's."""
    return flickr_of(tmp_path_factory.mktemp("data") / "f30k_precomp", 1000)


@pytest.fixture
def few(tmp_path_factory) -> Path:
    """Ten images."""
    return flickr_of(tmp_path_factory.mktemp("data") / "f30k_precomp", 10)


def test_with_data_the_model_is_measured_and_held_against_its_paper(
    run, tmp_path, checkpoint, flickr
):
    """Under the paper's protocol; what was measured goes into the folder, the paper's not."""
    folder = tmp_path / "chan"

    status, out, _ = run("import", "chan", checkpoint, "-o", folder, "--data", flickr)

    assert status == 0
    (row,) = json.loads((folder / "results.json").read_text())["results"]
    assert (row["dataset"], row["split"], row["protocol_name"]) == ("f30k", "test", "f30k-1k")
    assert (row["images"], row["captions"]) == (1000, 5000)
    assert row["model_sha256"] == sha256(folder / "model.safetensors")
    assert row["command"].startswith("zoo import chan ")
    table = [line.split() for line in out.splitlines()]
    assert ["paper", "1k", "79.7", "94.5", "97.3", "60.2", "85.3", "90.7", "507.7"] in table
    rsum = row["metrics"]["rsum"]
    assert any(line[:1] == ["measured"] and line[-1] == f"{rsum:.1f}" for line in table)
    assert any(line[-1:] == [f"{rsum - 507.7:+.1f}"] for line in table)
    assert "507.7" not in (folder / "results.json").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chan", "model_best.pth"]
    record = tmp_path / "again.json"
    run("evaluate", folder, "--data", flickr, "--protocol", "f30k-1k", "--json", record)
    assert json.loads(record.read_text())["metrics"] == row["metrics"]


def test_a_model_of_no_paper_is_measured_alone(run, tmp_path, few):
    """A checkpoint of other data: all images against all captions, and no row beside it."""
    path = save(tmp_path / "a.pth", *small_bigru(8), word2idx=SMALL_WORDS, data_name="mine")

    status, out, err = run("import", "chan", path, "-o", tmp_path / "chan", "--data", few)

    assert status == 0
    assert "10 images, 50 captions, no folds: rsum" in out
    assert "No paper's result of such a model is known" in err
    assert "measured" not in out


def test_the_results_of_another_data_set_are_not_held_against_it(run, tmp_path, checkpoint):
    """Flickr8K's test split is as large as Flickr30K's; the data's name tells."""
    other = flickr_of(tmp_path / "f8k", 10)

    status, out, err = run("import", "chan", checkpoint, "-o", tmp_path / "chan", "--data", other)

    assert status == 0
    assert "No paper's result of such a model is known on f8k" in err
    assert "f8k test, 10 images" in out
    assert "paper" not in out


def test_features_without_data_are_a_question(run, tmp_path, checkpoint):
    """They would be of no use, and nobody would notice."""
    status, _, err = run("import", "chan", checkpoint, "-o", tmp_path / "chan", "--features", "x")

    assert status == 1
    assert "--features was given without --data" in err
    assert not (tmp_path / "chan").exists()


def test_a_file_of_any_name_becomes_a_folder_that_loads(run, tmp_path, checkpoint):
    """A name that is no text is written with a mark for what cannot be."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.pth"))
    checkpoint.rename(odd)

    assert run("import", "chan", odd, "-o", tmp_path / "chan")[0] == 0

    assert (
        zoo.load(f"local-dir:{tmp_path / 'chan'}").config.source.file
        == "odd\N{REPLACEMENT CHARACTER}.pth"
    )


def test_data_that_cannot_be_measured_are_an_error_after_the_model_was_written(
    run, tmp_path, checkpoint, few
):
    """The import itself went well, and its folder stays."""
    status, _, err = run("import", "chan", checkpoint, "-o", tmp_path / "chan", "--data", few)

    assert status == 1
    assert "1,000 images" in err
    assert sha256(checkpoint) in (tmp_path / "chan/README.md").read_text()
    assert zoo.load(f"local-dir:{tmp_path / 'chan'}").image_encoder.feature_dim == 7


def test_data_that_are_not_there_are_an_error_before_anything_is_written(run, tmp_path, checkpoint):
    """The folder of the data is opened first."""
    status, _, err = run("import", "chan", checkpoint, "-o", tmp_path / "chan", "--data", tmp_path)

    assert status == 1
    assert str(tmp_path) in err
    assert not (tmp_path / "chan").exists()

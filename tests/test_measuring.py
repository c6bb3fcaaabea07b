"""`zoo evaluate`: protocols, ties, and scores that are kept."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest


@pytest.fixture(scope="module")
def scores(model_folder, data_folder, tmp_path_factory):
    """Saved scores of the untrained model, and the record of their measurement."""
    from zoo.cli import main

    folder = tmp_path_factory.mktemp("scores")
    options = ["--save-scores", folder / "s", "--json", folder / "record.json"]
    command = ["evaluate", model_folder, "--data", data_folder, *options]
    assert main(list(map(str, command))) == 0
    return folder / "s", json.loads((folder / "record.json").read_text())


def read(path):
    """A record that was written."""
    return json.loads(path.read_text())


def test_saved_scores_give_the_record_again(run, scores, tmp_path):
    """Without model and data; only the command differs."""
    folder, record = scores

    status, out, _ = run("evaluate", "--scores", folder, "--json", tmp_path / "again.json")

    assert status == 0
    assert "chan-tiny on six test, 6 images, 12 captions, no folds" in out
    again = read(tmp_path / "again.json")
    assert again.pop("command") == f"zoo evaluate --scores {folder} --json {tmp_path}/again.json"
    assert again == {name: value for name, value in record.items() if name != "command"}


def test_the_record_says_what_the_figures_depend_on(run, scores, tmp_path):
    """Split, selection, protocol, counts, ties, dtype, seed, fingerprint, code; on screen, too."""
    folder, record = scores
    options = ("--folds", 3, "--captions", 1, "--ties", "legacy", "--json", tmp_path / "r.json")

    out = run("evaluate", "--scores", folder, *options)[1]

    folded = read(tmp_path / "r.json")
    assert folded["protocol"] == "3 folds of 2 images, 6 of 12 captions in all"
    assert (folded["protocol_name"], folded["ties"], folded["seed"]) == ("own", "legacy", None)
    assert (folded["images"], folded["captions"], folded["dtype"]) == (6, 6, "float32")
    assert folded["data_fingerprint"] == record["data_fingerprint"]
    assert folded["code"].startswith(folded["zoo_version"])
    assert "protocol: own; ties: legacy; epoch chosen on: not recorded; seed: not recorded" in out


def test_what_the_training_told_goes_with_the_scores(
    run, model_folder, data_folder, scores, tmp_path
):
    """Seed and selection from the results beside the weights."""
    folder = shutil.copytree(model_folder, tmp_path / "model")
    row = scores[1] | {"seed": 5, "selection": "dev", "epoch": 2}
    (folder / "results.json").write_text(json.dumps({"results": [row]}))
    run("evaluate", folder, "--data", data_folder, "--save-scores", tmp_path / "s")

    out = run("evaluate", "--scores", tmp_path / "s", "--json", tmp_path / "r.json")[1]

    assert "epoch chosen on: dev; seed: 5" in out
    record = read(tmp_path / "r.json")
    assert (record["seed"], record["selection"], record["epoch"]) == (5, "dev", 2)


def test_saved_scores_are_put_into_the_results_of_their_model(run, model_folder, scores, tmp_path):
    """And into those of no other."""
    folder = shutil.copytree(model_folder, tmp_path / "model")

    status, _, error = run("evaluate", folder, "--scores", scores[0], "--save-results")
    assert status == 0, error
    (row,) = read(folder / "results.json")["results"]
    assert row["metrics"] == scores[1]["metrics"]

    with (folder / "model.safetensors").open("ab") as file:
        file.write(b" ")
    status, _, error = run("evaluate", folder, "--scores", scores[0])
    assert status == 1
    assert "other weights than those in" in error


def test_scores_of_another_model_are_not_overwritten(
    run, model_folder, data_folder, scores, tmp_path
):
    """They stay as they are, with what to do."""
    folder = shutil.copytree(scores[0], tmp_path / "s")
    index = read(folder / "index.json")
    (folder / "index.json").write_text(json.dumps(index | {"model_fingerprint": "other"}))
    before = np.load(folder / "scores.npy")

    status, _, error = run("evaluate", model_folder, "--data", data_folder, "--save-scores", folder)

    assert status == 1
    assert "model_fingerprint is not the same. Give another folder" in error
    assert np.array_equal(np.load(folder / "scores.npy"), before)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("evaluate", "nothing to measure. Give MODEL and --data, or --scores"),
        ("evaluate {model}", "nothing to measure"),
        ("evaluate --scores {scores} --data {data}", "Saved scores need no data. Give --scores"),
        ("evaluate --scores {scores} --precision exact", "Leave --precision exact out"),
        ("evaluate {model} --data {data} --report p.html --precision exact", "or make no page"),
        ("evaluate --scores {scores} --split dev", "scores of the split test, and --split asks"),
        ("compare {scores} --split dev", "scores of the split test, and --split asks for dev"),
        ("ensemble {scores} {scores} --split dev", "scores of the split test, and --split asks"),
        ("compare {scores} --data {data}", "need no data. Leave out --data and --features"),
        ("evaluate --scores {scores} --protocol coco", "'coco'. Did you mean 'coco-"),
        ("evaluate --scores {scores} --protocol coco-1k", "coco-1k takes 5,000 images"),
        ("evaluate --scores {scores} --captions few", "--captions is 'few'. Give a number"),
        ("evaluate --scores {scores} --folds 4", "6 images do not part into 4 folds"),
        ("evaluate --scores {scores} --save-results", "Name the model and leave out --ties"),
        ("evaluate {model} --scores {scores} --save-results --ties legacy", "leave out --ties"),
        ("evaluate --scores {data}", "holds no scores: index.json cannot be read"),
        ("evaluate {model} --data {data} --save-scores {data}", "is there and holds no scores"),
    ],
)
def test_what_contradicts_itself_is_refused(
    run, model_folder, data_folder, scores, command, message
):
    """With what to give instead."""
    places = {"model": model_folder, "data": data_folder, "scores": scores[0]}

    status, _, error = run(*command.format(**places).split())

    assert status == 1
    assert message in " ".join(error.split())

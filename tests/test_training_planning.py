"""What a run would be, without running it."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from toy_runs import ToyRun
from zoo.cli import main
from zoo.errors import DataError, InputError
from zoo.training import footprint as footprints
from zoo.training import plan
from zoo.training.planning import Plan


@pytest.fixture
def run(tmp_path):
    """The toy recipe and its data."""
    return ToyRun(tmp_path)


def planned(run, *overrides, **options):
    """The plan of the toy recipe."""
    return plan(run.recipe, run.data, run.folder, overrides=list(overrides), **options)


def test_the_plan_is_what_the_run_then_does(run):
    """Steps, rates, weights and optimiser are those that training has."""
    made = planned(run, "freeze=['image_encoder.project.bias']")
    run("freeze=['image_encoder.project.bias']", "log_every=1", "checkpoint.keep=99")
    logged = [line["lr"] for line in run.log("train")]
    assert list(made.rates) == logged
    assert (made.length, made.epochs, made.steps) == (5, 4, 20)
    parts = {one.name: (one.type, one.trained, one.frozen) for one in made.parts}
    assert parts["image_encoder"] == ("toy_images", 48, 8)
    assert parts["text_encoder"] == ("toy_texts", 64 * 8, 0)
    assert [(one.use, one.images, one.captions) for one in made.data] == [
        ("train", 22, 66),
        ("dev", 8, 24),
    ]
    from zoo.training.checkpoint import list_checkpoints, read_checkpoint

    last = read_checkpoint(list_checkpoints(run.folder / "checkpoints")[-1])
    moments = last.state["optimizer"]["state"].values()
    assert made.memory.optimizer == sum(one.nbytes for kept in moments for one in kept.values())
    assert made.memory.weights == sum(one.nbytes for one in last.model.values())
    assert made.memory.average == sum(one.nbytes for one in last.average.values())
    assert made.memory.gradients == 4 * (48 + 64 * 8)


def test_memory_of_processes_that_divide_weights(run):
    """By hand: of 56 and 512 numbers half each, and whole ones of the larger part while it
    computes, or of both where they are kept; 6 numbers are a buffer.
    """
    alone, batch = planned(run, processes=2).memory, "data.batch_size=16"
    assert alone.weights == 4 * (568 + 6)
    given_back = planned(run, "strategy=fully_shard", processes=2).memory
    assert given_back.weights == 4 * (284 + 512 + 6)
    assert given_back.gradients == 4 * (284 + 512)
    assert given_back.optimizer == 4 * 2 * 284 + 4 * 3  # and a count of steps for each of three
    assert given_back.average == 4 * (284 + 6)
    of_each = planned(run, batch, processes=2).memory.activations
    assert of_each < 0.7 * planned(run, batch).memory.activations
    assert "divided" in given_back.how
    kept = "strategy={'type': 'fully_shard', 'reshard_after_forward': False}"
    assert planned(run, kept, processes=2).memory.weights == 4 * (284 + 568 + 6)
    assert planned(run, kept).memory.weights == 4 * (568 + 6)
    with pytest.raises(InputError, match="cannot be divided by 3 processes"):
        planned(run, processes=3)


def test_nothing_is_written(run, tmp_path, capsys):
    """Neither there nor elsewhere; what lies in the folder is told."""
    before = sorted(tmp_path.rglob("*"))
    given = ["train", str(run.recipe), "--data", str(run.data), "--work-dir", str(run.folder)]
    assert main([*given, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "5 an epoch, 4 epochs, 20 in all" in said
    assert "from 0.001 to 0.01 at step 5, then to" in said
    assert "nothing is there yet" in said
    assert main([*given, "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 20
    assert len(told["rates"]) == 4
    assert told["memory"]["total"] > told["memory"]["activations"] > 0
    assert sorted(tmp_path.rglob("*")) == before
    run("train_cfg.max_epochs=1")
    assert planned(run).state == "finished"


def test_activations_of_a_large_batch_are_foretold(run, monkeypatch):
    """From small ones, within a twentieth of what a step keeps, on data of 200 images."""
    data = toy.write_data(run.where / "large", {"train": 200, "dev": 8})
    settings = {"overrides": ["data.batch_size=160"]}
    told = plan(run.recipe, data, run.folder, **settings).memory
    assert "estimated from steps of 8, 16, 32 items" in told.how
    monkeypatch.setattr(footprints, "SIZES", (160,))
    counted = plan(run.recipe, data, run.folder, **settings).memory
    assert "counted in a step" in counted.how
    assert told.activations == pytest.approx(counted.activations, rel=0.05)
    smaller = plan(run.recipe, data, run.folder, overrides=["data.batch_size=80"]).memory
    assert smaller.activations < counted.activations / 2.5  # most of it is of pairs


def test_what_would_not_train_is_refused_as_by_training(run):
    """A plan of a run that cannot be made would be of no use."""
    with pytest.raises(InputError, match="optim_wrapper cannot be used"):
        planned(run, "optim_wrapper.optimizer.type=AdamX")
    with pytest.raises(DataError, match="fewer than one batch of 40"):
        planned(run, "data.batch_size=40")


def test_rates_in_words():
    """By hand: constant, falling, and with a warm-up."""
    assert Plan.words([0.5, 0.5]) == "0.5 throughout"
    assert Plan.words([0.5, 0.1]) == "from 0.5 to 0.1"
    assert Plan.words([0.1, 0.4, 0.2]) == "from 0.1 to 0.4 at step 2, then to 0.2"

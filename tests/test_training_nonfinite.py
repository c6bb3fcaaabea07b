"""A loss or a gradient that is not finite reaches no weight, and its batch is named."""

from __future__ import annotations

import re

import pytest
import torch

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from toy_runs import CrashError, ToyRun, crash_at, ends, equal, poison
from zoo.data.dataset import open_dataset
from zoo.errors import DataError
from zoo.training.checkpoint import list_checkpoints


@pytest.fixture
def run(tmp_path):
    """Trains the toy recipe in tmp_path/run."""
    return ToyRun(tmp_path)


def test_the_batch_is_named_where_the_run_stops(run, monkeypatch):
    """Epoch, iteration, ids of images and rows of captions, in the error and in the log."""
    poison(monkeypatch, {7})
    with pytest.raises(DataError, match="loss is nan at iteration 7 of epoch 2") as raised:
        run()
    (line,) = run.log("nonfinite")
    assert (line["what"], line["value"], line["action"]) == ("loss", "nan", "stop")
    assert (line["epoch"], line["iteration"]) == (2, 7)
    dataset = open_dataset(run.data, "train")
    rows = {str(name): row for row, name in enumerate(dataset.image_ids)}
    assert len(line["images"]) == 4
    assert len(line["captions"]) == 8
    pairs = set(map(tuple, dataset.pairs.tolist()))
    images = [rows[name] for name in line["images"]]
    assert all(any((image, row) in pairs for image in images) for row in line["captions"])
    assert f"(images {', '.join(line['images'])}; captions {line['captions'][0]}, " in str(
        raised.value
    )


def test_a_gradient_that_is_not_finite_stops_the_run(run, monkeypatch):
    """Even where the loss is finite: before the update, not after."""
    forward = toy.ToyImages.forward

    def poisoned(self, batch):
        if self.training:
            self.project.weight.register_hook(lambda grad: grad * torch.nan)
        return forward(self, batch)

    monkeypatch.setattr(toy.ToyImages, "forward", poisoned)
    with pytest.raises(DataError, match="norm of the gradient is nan at iteration 1 of epoch 1"):
        run()


def test_a_run_that_diverges_keeps_its_checkpoints(run):
    """Far too large a rate ends the run, at the iteration that it names, with finite weights."""
    with pytest.raises(DataError, match=r"(gradient|loss) is (nan|inf) at iteration \d+") as raised:
        run(
            "optim_wrapper.optimizer.lr=1e25",
            "optim_wrapper.optimizer.type=SGD",
            "checkpoint.every=1",
        )
    reached = int(re.search(r"iteration (\d+)", str(raised.value)).group(1))
    saved = list_checkpoints(run.folder / "checkpoints")
    assert [int(path.name[5:]) for path in saved] == list(range(reached))[-2:]


def test_a_batch_is_left_out_where_that_is_asked_for(run, monkeypatch):
    """The run ends, says which it left out, and a crash and a resume after it change nothing."""
    with monkeypatch.context() as patch:
        poison(patch, {7, 12})
        straight = ends(run("nonfinite=skip", work_dir="straight"))
    assert [line["iteration"] for line in run.log("nonfinite", "straight")] == [7, 12]
    assert "the batch is left out (2 of at most 10)" in run.said
    assert all(one.isfinite().all() for one in straight.values())
    assert all(line["loss"] == line["loss"] for line in run.log("train", "straight"))
    with monkeypatch.context() as patch:
        seen = poison(patch, {7, 12})
        crash_at(patch, 11)
        with pytest.raises(CrashError):
            run("nonfinite=skip")
    with monkeypatch.context() as patch:
        seen = poison(patch, {7, 12})
        seen.extend([None] * 10)
        assert equal(ends(run("nonfinite=skip", resume=True)), straight)
    assert "(2 of at most 10)" in run.said


def test_nothing_learns_from_a_batch_that_is_left_out(run, monkeypatch):
    """Weights and statistics are those of before it, though its forward pass changed them."""

    def spoiled(self, images, texts):
        similarity = forward(self, images, texts)
        if self.training:
            self.passes.add_(torch.nan if self.passes == 3 else 1)
            return Similarity(similarity.scores * (self.passes if self.passes != 4 else 1))
        return similarity

    from zoo.interfaces import Similarity

    forward, begin = toy.ToyAligner.forward, toy.ToyAligner.__init__

    def counting(self):
        begin(self)
        self.register_buffer("passes", torch.zeros(()))

    monkeypatch.setattr(toy.ToyAligner, "__init__", counting)
    monkeypatch.setattr(toy.ToyAligner, "forward", spoiled)
    with pytest.raises(DataError, match="after 3 batches that were left out"):
        run("nonfinite={'action': 'skip', 'most': 3}", "checkpoint.every=1")
    from zoo.training.checkpoint import read_checkpoint

    before, after = map(read_checkpoint, list_checkpoints(run.folder / "checkpoints"))
    assert after.model["model.aligner.passes"] == 3
    assert equal(dict(before.model), dict(after.model))
    assert after.state["skipped"] == 3


def test_too_many_end_the_run_and_it_can_go_on_with_more(run, monkeypatch):
    """The remedy that the error names works."""
    with monkeypatch.context() as patch:
        poison(patch, {4, 6})
        with pytest.raises(DataError, match="loss is nan at iteration 6") as raised:
            run("nonfinite={'action': 'skip', 'most': 1}", "checkpoint.every=1")
    (remedy,) = re.findall(r"--set (nonfinite=.*)\)", str(raised.value))
    run(remedy, "checkpoint.every=1", resume="loose")
    assert run.record()["finished"]

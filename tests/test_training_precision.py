"""Low precision in training: which parts, the scale of a loss in float16, and going on with it."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from toy_runs import ToyRun, ends, equal
from zoo.data.dataset import open_dataset
from zoo.errors import DataError
from zoo.losses import MixedLoss
from zoo.training.checkpoint import list_checkpoints, read_checkpoint
from zoo.training.data import Collate
from zoo.training.pair import TrainedPair

HALF = "autocast={'parts': 'all', 'dtype': 'float16'}"


@pytest.fixture
def run(tmp_path):
    """Trains the toy recipe in tmp_path/run."""
    return ToyRun(tmp_path)


def optimizer_state(run, work_dir="run"):
    """What the last checkpoint says of the optimiser."""
    last = list_checkpoints(run.where / work_dir / "checkpoints")[-1]
    return read_checkpoint(last).state["optimizer"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_whole_model_computes_in_low_precision(run, dtype):
    """Every part, in the type that is asked for; the loss is of float32 and close to its own."""
    model = toy.make_model().eval()
    batch = Collate(model, open_dataset(run.data, "train"), "features", 0)(toy.samples(4))
    seen = []
    model.image_encoder.project.register_forward_hook(lambda *given: seen.append(given[-1].dtype))
    loss = MixedLoss([{"type": "contrastive"}])
    low = TrainedPair(model, loss, "all", dtype=dtype)(batch)
    full = TrainedPair(model, loss)(batch)
    assert seen == [dtype, torch.float32]
    assert low.dtype == torch.float32
    assert low != full
    assert low.item() == pytest.approx(full.item(), rel=0.02)


def test_a_run_in_float16_goes_on_with_the_scale_of_its_loss(run, monkeypatch):
    """Bit for bit; the scale is the checkpoint's, whatever a new one begins with."""
    settings = [HALF, "train_cfg.max_epochs=2"]
    straight = ends(run(*settings, work_dir="straight"))
    state = optimizer_state(run, "straight")
    assert state["loss_scale"]["_growth_tracker"] > 0
    run.crash(monkeypatch, 8, *settings)
    monkeypatch.setattr("zoo.training.optimizer.FIRST_SCALE", 4.0)
    assert equal(ends(run(*settings, resume=True)), straight)
    assert optimizer_state(run)["loss_scale"] == state["loss_scale"]


def test_a_scale_that_is_too_large_costs_updates_and_is_halved(run, monkeypatch):
    """They are counted, in the log and in the checkpoint, and the weights stay finite."""
    monkeypatch.setattr("zoo.training.optimizer.FIRST_SCALE", 2.0**24)
    run(HALF, "train_cfg.max_epochs=4", "log_every=1")
    state = optimizer_state(run)
    assert 0 < state["overflows"] < 20
    assert state["loss_scale"]["scale"] == 2.0 ** (24 - state["overflows"])
    lines = run.log("train")
    assert lines[0]["overflows"] == 1
    assert lines[-1]["overflows"] == state["overflows"]


def test_a_gradient_that_no_scale_makes_finite_ends_the_run(run, monkeypatch):
    """It is no number at any scale, and the error is that of float32."""
    forward = toy.ToyImages.forward

    def poisoned(self, batch):
        if self.training:
            self.project.weight.register_hook(lambda grad: grad * torch.nan)
        return forward(self, batch)

    monkeypatch.setattr(toy.ToyImages, "forward", poisoned)
    monkeypatch.setattr("zoo.training.optimizer.FIRST_SCALE", 4.0)
    with pytest.raises(DataError, match="norm of the gradient is nan at iteration 3"):
        run(HALF)

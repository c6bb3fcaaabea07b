"""What can be seen of a run: figures in its log, and where else a recipe shows them."""

from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import torch

from toy_runs import ToyRun, ends, equal
from zoo.errors import InputError
from zoo.losses import TripletLoss
from zoo.training.gauges import Gauges

PARTS = [{"type": "triplet", "weight": 0.5}, {"type": "contrastive", "learnable": True}]
MIXED = f"loss={ {'type': 'mixed', 'losses': PARTS} }"


@pytest.fixture
def run(tmp_path):
    """Trains the toy recipe in tmp_path/run."""
    return ToyRun(tmp_path)


def test_the_log_tells_speed_memory_waiting_and_the_parts_of_a_loss(run):
    """The parts add up to the loss by their weights, and a learned temperature is told."""
    run(MIXED, "train_cfg.max_epochs=2", "log_every=5")
    lines = run.log("train")
    assert len(lines) == 2
    for line in lines:
        parts = line["parts"]
        assert line["loss"] == pytest.approx(
            0.5 * parts["triplet"] + parts["contrastive"], rel=1e-5
        )
        assert 0 <= line["data_wait"] <= 1
        assert line["memory"] > 1e7
        assert line["pairs_per_second"] > 1
    first, second = (line["learned"]["losses.1.log_temperature"] for line in lines)
    assert first != second
    assert "pairs/s" in run.said


def test_pairs_a_second_by_hand(monkeypatch):
    """Two steps of 2 s with 8 captions each, a measurement of 50 s, one more step: 24 in 6 s."""
    now = [100.0]
    monkeypatch.setattr("zoo.training.gauges.time.monotonic", lambda: now[0])
    gauges = Gauges(TripletLoss(), torch.device("cpu"))
    batch = SimpleNamespace(pairs=SimpleNamespace(text_ids=range(8)))
    for epoch in (2, 1):
        gauges.before_train_epoch(None)
        for _ in range(epoch):
            now[0] += 0.5  # waits for the batch
            gauges.before_train_iter(None, 0, batch)
            now[0] += 1.5
            gauges.after_train_iter(None, 0)
        now[0] += 50
    gauges.since = now[0]
    assert gauges.read()["pairs_per_second"] == 4.0
    assert gauges.read()["pairs_per_second"] == 0.0


def test_a_simple_loss_has_no_parts(run):
    """Nothing is told twice."""
    run("train_cfg.max_epochs=1")
    assert not {"parts", "learned"} & run.log("train")[0].keys()


def test_tensorboard_has_the_figures_of_the_log(run):
    """By name from the recipe; which visualisers there are changes no weight, and may change."""
    pytest.importorskip("tensorboard", reason="shown figures need the extra 'track'")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plain = ends(run(work_dir="plain"))
    with pytest.MonkeyPatch.context() as patch:
        run.crash(patch, 12)
    assert equal(ends(run("visualizers=['tensorboard']", resume=True)), plain)
    events = EventAccumulator(str(run.folder / "visualizers" / "tensorboard"))
    events.Reload()
    shown = {one.step: one.value for one in events.Scalars("train.loss")}
    logged = {line["iteration"]: line["loss"] for line in run.log("train")}
    assert shown == {step: pytest.approx(logged[step]) for step in range(12, 21, 2)}
    assert [one.step for one in events.Scalars("dev.rsum")] == [15, 20]


def stub(monkeypatch, name, **contents):
    """A package in place of one that would talk to a service; its calls are noted."""
    calls = []

    def note(called):
        return lambda *given, **options: calls.append((called, given, options))

    module = ModuleType(name)
    for called in contents.pop("noted"):
        setattr(module, called, note(called))
    vars(module).update(contents)
    monkeypatch.setitem(sys.modules, name, module)
    return calls


def test_weights_and_biases_get_the_run_and_its_figures(run, monkeypatch):
    """With options of the recipe; a resumed run goes on as the same run there."""
    calls = stub(
        monkeypatch,
        "wandb",
        noted=("init", "log", "finish", "define_metric"),
        config=SimpleNamespace(update=lambda *_, **__: None),
        run=SimpleNamespace(log_code=lambda **_: None),
    )
    setting = "visualizers=[{'type': 'wandb', 'project': 'mine'}]"
    run.crash(monkeypatch, 12, setting)
    run(setting, resume=True)
    begun = [options for called, _, options in calls if called == "init"]
    assert [one["project"] for one in begun] == ["mine", "mine"]
    assert begun[0]["id"] == begun[1]["id"] == f"toy-{run.record()['id']}"
    assert begun[0]["resume"] == "allow"
    figures = [given[0] for called, given, _ in calls if called == "log"]
    shown = {one["iteration"]: one["train.loss"] for one in figures if "train.loss" in one}
    assert shown == {line["iteration"]: line["loss"] for line in run.log("train")}
    assert sum("dev.rsum" in one for one in figures) == 4
    assert [called for called, *_ in calls].count("finish") == 2


def test_mlflow_gets_settings_and_figures(run, monkeypatch):
    """Under the name of the run, in its folder unless the recipe names a server."""
    noted = "set_tracking_uri create_experiment set_experiment set_tag log_params log_text"
    calls = stub(
        monkeypatch,
        "mlflow",
        noted=(*noted.split(), "log_metrics", "log_artifact", "end_run"),
        get_experiment_by_name=lambda _: None,
    )
    run("visualizers=['mlflow']", "train_cfg.max_epochs=1")
    told = {called: given for called, given, _ in calls}
    assert told["set_tracking_uri"][0].endswith("run/visualizers/mlflow")
    assert told["set_tag"] == ("mlflow.runName", f"toy-{run.record()['id']}")
    assert told["log_params"][0]["optim_wrapper.optimizer.lr"] == 0.01
    assert [called for called, *_ in calls][-1] == "end_run"
    metrics = [given for called, given, _ in calls if called == "log_metrics"]
    assert [step for shown, step in metrics if "train.loss" in shown] == [2, 4, 5]


def test_a_service_that_fails_ends_no_run(run, monkeypatch):
    """It is told once, and the log has all figures."""
    stub(monkeypatch, "wandb", noted=("define_metric",), init=lambda **_: 1 / 0)
    run("visualizers=['wandb']")
    assert run.said.count("wandb failed (ZeroDivisionError") == 1
    assert len(run.log("train")) == 10


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("wandbb", "visualizers names 'wandbb', .* Did you mean 'wandb'"),
        ("mlflow", r"its package cannot be imported .* pip install mlflow"),
    ],
)
def test_a_name_or_a_package_that_is_not_there_is_told_before_training(
    run, monkeypatch, named, said
):
    """With the nearest name, or how to install it."""
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match=said):
        run(f"visualizers={json.dumps([named])}")
    assert not run.steps()

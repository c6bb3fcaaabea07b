"""How long a run trained: what counts, and that a resumed run adds up."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from zoo.report.results import read_results
from zoo.training import clock, hooks
from zoo.training import run as runs
from zoo.training.clock import Clock
from zoo.training.session import train

STEP, MEASURING = 10.0, 1000.0
OPTIONS = ["train_cfg.max_epochs=2", "checkpoint.every=2", "checkpoint.keep=9"]


@pytest.fixture
def time(monkeypatch):
    """A clock that stands still until it is moved."""
    now = SimpleNamespace(seconds=5.0)
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


@pytest.fixture
def slow(time, monkeypatch):
    """Each iteration takes ten seconds, each measurement a thousand; two epochs of five."""
    update, evaluate = hooks.AverageHook.after_train_iter, runs.evaluate

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        time.seconds += STEP
        if runner.iter + 1 == time.crash_at:
            raise RuntimeError
        update(self, runner, batch_idx, data_batch, outputs)

    def measure(*arguments, **options):
        time.seconds += MEASURING
        return evaluate(*arguments, **options)

    toy.register()
    time.crash_at = None
    monkeypatch.setattr(hooks.AverageHook, "after_train_iter", after_train_iter)
    monkeypatch.setattr(runs, "evaluate", measure)
    return time


def test_pauses_do_not_count(time):
    """Nor what comes after the stop."""
    watch = Clock()
    watch.start()
    time.seconds += 3
    with watch.paused():
        time.seconds += 100
    time.seconds += 4
    assert watch.seconds == 7
    watch.stop()
    time.seconds += 100
    assert watch.seconds == 7


def test_a_part_that_did_not_count_makes_the_sum_unknown(time):
    """No figure is better than a wrong one."""
    watch = Clock()
    watch.start(None)
    time.seconds += 3
    watch.stop()
    assert watch.seconds is None


def test_a_run_counts_its_iterations_and_not_the_measurements(slow, tmp_path):
    """In run.json and in the model's results, with what it ran on, and the size of the model."""
    folder = train(
        toy.write_recipe(tmp_path),
        toy.write_data(tmp_path / "data"),
        tmp_path / "run",
        overrides=OPTIONS,
        device="cpu",
    )

    (row,) = read_results(folder)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert slow.seconds >= 10 * STEP + 2 * MEASURING
    assert row["training_seconds"] == record["training_seconds"] == 10 * STEP
    assert row["trained_on"].startswith("cpu, ")
    assert row["parameters"] == row["parameters_with_extractor"] == 6 * 8 + 8 + 64 * 8


def test_a_resumed_run_adds_up(slow, tmp_path):
    """Work that a crash undid counts once: as if the run had never stopped."""
    recipe, data = toy.write_recipe(tmp_path), toy.write_data(tmp_path / "data")
    for slow.crash_at in (4, 8, None):
        arguments = (recipe, data, tmp_path / "run")
        options = {"overrides": OPTIONS, "resume": True, "device": "cpu"}
        if slow.crash_at:
            with pytest.raises(RuntimeError):
                train(*arguments, **options)
        else:
            folder = train(*arguments, **options)

    assert read_results(folder)[0]["training_seconds"] == 10 * STEP


def test_half_precision_is_noted(tmp_path):
    """The figures of a run are of the weights before they were rounded, and say so."""
    toy.register()
    folder = train(
        toy.write_recipe(tmp_path),
        toy.write_data(tmp_path / "data"),
        tmp_path / "run",
        overrides=["train_cfg.max_epochs=1", "export.half=True"],
    )

    assert "before the weights were stored in half precision" in read_results(folder)[0]["note"]

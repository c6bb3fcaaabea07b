"""A run goes on with other settings where that is asked for, and says so."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

from toy_runs import ToyRun, ends, equal
from zoo.cli import main
from zoo.errors import InputError
from zoo.loading.weights import load_folder
from zoo.report.results import read_results
from zoo.training.checkpoint import list_checkpoints, read_checkpoint
from zoo.training.continuing import new_place, what_changed
from zoo.training.recipe import read_recipe
from zoo.training.samples import TrainingSet

LONGER = [
    "train_cfg.max_epochs=6",
    "param_scheduler.1.end=6",
    "param_scheduler.1.T_max=5",
]


@pytest.fixture
def run(tmp_path):
    """Trains the toy recipe in tmp_path/run."""
    return ToyRun(tmp_path)


def rates(run, work_dir="run"):
    """Iteration to learning rate, as logged."""
    return {line["iteration"]: line["lr"] for line in run.log("train", work_dir)}


def test_the_rate_follows_the_new_schedule(run, monkeypatch):
    """From the place where the run goes on it is what a run of these settings has there."""
    run(*LONGER, work_dir="new")
    run.crash(monkeypatch, 12)
    run(*LONGER, resume="loose")
    new, ours = rates(run, "new"), rates(run)
    assert list(ours) == list(new) == list(range(2, 31, 2))
    assert {step: ours[step] for step in ours if step > 11} == {
        step: new[step] for step in new if step > 11
    }
    assert ours[10] != new[10]


def test_a_finished_run_goes_on(run):
    """More epochs after the last: its weights change, and its record says what was asked."""
    first = run()
    before = ends(first)
    assert run(resume="loose") == first
    assert equal(ends(first), before)
    run(*LONGER, resume="loose")
    assert run.steps()[-1] == "step_00000030_part_1"
    record = run.record()
    (change,) = record["changes"]
    assert (change["part"], change["epoch"], change["step"]) == (1, 4, 20)
    assert "train_cfg.max_epochs: was 4, is 6" in change["changed"]
    assert record["recipe"]["train_cfg"]["max_epochs"] == 6
    assert record["finished"]
    assert [line["changed"] for line in run.log("changes")] == [change["changed"]]
    told = read_results(first)[0].get("changes", "")
    assert (record["best"]["epoch"] > 4) == ("from epoch 5, " in told)


@pytest.mark.parametrize("iteration", [13, 16, 24])
def test_what_was_loosened_once_is_exact_again(run, monkeypatch, iteration):
    """With the new settings, a plain --resume after a crash ends as without the crash."""
    for work_dir in ("run", "straight"):
        run.crash(monkeypatch, 12, work_dir=work_dir)
    straight = ends(run(*LONGER, resume="loose", work_dir="straight"))
    run.crash(monkeypatch, iteration, *LONGER, resume="loose")
    assert equal(ends(run(*LONGER, resume=True)), straight)


def test_fewer_steps_are_newer_all_the_same(run, monkeypatch):
    """With a larger batch the steps count less, and the newest checkpoint is still the newest."""
    run.crash(monkeypatch, 17)
    settings = ["data.batch_size=11"]
    run.crash(monkeypatch, 7, *settings, resume="loose")
    assert run.steps() == ["step_00000015", "step_00000006_part_1"]
    run(*settings, resume=True)
    assert run.steps()[-1] == "step_00000008_part_1"
    assert [line["iteration"] for line in run.log("train") if line.get("part")] == [8]


@pytest.mark.parametrize("settings", [["data.batch_size=3"], ["data.batch_size=8"]])
def test_with_other_batches_no_item_of_the_epoch_is_left_out(run, monkeypatch, settings):
    """In the middle of an epoch: those that were not seen come, and at most one batch comes again.

    The last items, fewer than a batch, come to no epoch.
    """
    seen = []
    get = TrainingSet.__getitem__

    def noted(self, place):
        seen.append(place)
        return get(self, place)

    monkeypatch.setattr(TrainingSet, "__getitem__", noted)
    run.crash(monkeypatch, 10)  # the checkpoint is of iteration 9: 4 x 4 items of epoch 1
    before = [index for epoch, index in seen if epoch == 1][:16]
    seen.clear()
    run(*settings, resume="loose")
    later = [index for epoch, index in seen if epoch == 1]
    size = int(settings[0].partition("=")[2])
    assert len(set(before) & set(later)) < size
    assert len(set(before) | set(later)) >= 22 - (22 % size)


def test_a_place_in_an_epoch_by_hand():
    """64 items seen of an epoch of 10 batches of 16: the batch of 24 that holds the 65th."""
    state = {"epoch": 3, "seen": 64}
    assert new_place(state, 6, 24) == (3, 3 * 6 + 2)
    assert new_place(state, 10, 16) == (3, 3 * 10 + 4)
    assert new_place({"epoch": 3, "seen": 400}, 6, 24) == (3, 4 * 6)


def test_the_moments_of_each_parameter_stay_with_it(run, monkeypatch):
    """Where groups differ, parameters are counted in another order."""
    run.crash(monkeypatch, 12)
    folder = run.folder / "checkpoints"
    before = read_checkpoint(list_checkpoints(folder)[-1])
    groups = "optim_wrapper.paramwise_cfg={'image_encoder.project.bias': {'lr_mult': 0.3}}"
    run.crash(monkeypatch, 11, groups, resume="loose")
    after = read_checkpoint(list_checkpoints(folder)[-1])
    old, new = (
        {
            name: one.state["optimizer"]["state"][place]["exp_avg"]
            for place, name in enumerate(one.state["parameters"])
        }
        for one in (before, after)
    )
    assert before.state["parameters"] != after.state["parameters"]
    assert old.keys() == new.keys()
    assert all(torch.equal(old[name], new[name]) and old[name].any() for name in old)


def test_another_optimiser_begins_without_a_memory(run, monkeypatch):
    """SGD after AdamW takes the weights and none of the moments."""
    run.crash(monkeypatch, 12)
    run("optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.01}", resume="loose")
    assert "optim_wrapper.optimizer.type: was 'AdamW', is 'SGD'" in run.said


def test_another_loss_and_average_begin_anew(run, monkeypatch):
    """A loss with a temperature after one without; a mean of weights where there was none."""
    run.crash(monkeypatch, 12, "average=None")
    loss = "loss={'type': 'contrastive', 'learnable': True}"
    folder = run(loss, "warm_up=None", "average.momentum=0.9", resume="loose")
    assert "loss.log_temperature" in ends(folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["model.text_encoder.dim=5"], r"model\.text_encoder\.dim: was 'absent', is 5"),
        (["method=other"], "method: was 'toy', is 'other'"),
        (["vocabulary={'minimum_count': 1}"], "vocabulary"),
    ],
)
def test_another_model_is_no_looser_run(run, monkeypatch, settings, said):
    """What would make it a run of another model is refused by name, and nothing is lost."""
    straight = ends(run(work_dir="straight"))
    run.crash(monkeypatch, 12)
    with pytest.raises(InputError, match=said) as raised:
        run(*settings, resume="loose")
    assert "changes how a model is trained, not which" in str(raised.value)
    assert equal(ends(run(resume=True)), straight)


def test_other_data_are_learned_from_with_the_words_of_the_run(run, monkeypatch):
    """More captions with new words: refused exactly, taken loosely, and the vocabulary stays."""
    text_encoder = "{'type': 'bigru', 'word_dim': 4, 'dim': 8}"
    settings = [f"model.text_encoder={text_encoder}", "vocabulary={'minimum_count': 1}"]
    settings += ["optim_wrapper.paramwise_cfg={}"]
    run.crash(monkeypatch, 12, *settings)
    captions = run.data / "train_caps.txt"
    captions.write_text(captions.read_text().replace("dog", "wolf"))
    (run.data / "dev_caps.txt").write_text((run.data / "dev_caps.txt").read_text().upper())
    with pytest.raises(InputError, match=r"data of train: fingerprint was .*--resume loose"):
        run(*settings, resume=True)
    folder = run(*settings, resume="loose")
    words = load_folder(folder).text_encoder.vocabulary.words
    assert "dog" in words
    assert "wolf" not in words
    assert run.record()["changes"][0]["changed"][0].startswith("data of train: fingerprint was")


def test_the_command_line_takes_both_spellings(run, tmp_path, capsys):
    """`--resume`, `--resume loose` and `--resume=loose`, before or after the recipe."""
    where = ["--data", str(run.data), "--work-dir", str(tmp_path / "run")]
    recipe = str(run.recipe)
    assert main(["train", recipe, *where, "--resume"]) == 0
    assert main(["train", "--resume", recipe, *where]) == 0
    longer = [one for setting in LONGER for one in ("--set", setting)]
    assert main(["train", recipe, *where, *longer, "--resume"]) == 1
    assert "train_cfg.max_epochs: was 4, is 6" in capsys.readouterr().err
    assert main(["train", "--resume", "loose", recipe, *where, *longer]) == 0
    assert main(["train", recipe, *where, "--resume=loose", *longer, "--set", "seed=8"]) == 0
    parts = [one["part"] for one in json.loads((tmp_path / "run/run.json").read_text())["changes"]]
    assert parts == [1, 2]
    assert main(["train", recipe, *where, "--resume=lose"]) == 1
    assert "runs go on 'exact' or 'loose'" in capsys.readouterr().err


def test_a_run_of_an_older_version_goes_on(run):
    """What its recipe could not set yet is at its default, and no difference."""
    recipe = read_recipe(run.recipe)
    began = {key: one for key, one in recipe.settings.items() if key not in ("export", "autocast")}
    before, asked = ({"recipe": one, "data": {}} for one in (began, recipe.settings))
    assert what_changed(before, asked, run.folder, "exact") == []

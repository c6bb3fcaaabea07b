"""A run from a recipe to a model folder."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import signal
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

from rich.console import Console
from safetensors.torch import load_file, save_file

import toy_matching as toy
import zoo
from toy_runs import CrashError, ToyRun, crash_at, ends, equal, weights
from zoo.cli import main
from zoo.data.dataset import open_dataset
from zoo.errors import DataError, InputError, ZooError
from zoo.evaluation.measuring import evaluate
from zoo.loading.weights import load_folder
from zoo.losses import MixedLoss
from zoo.report.results import read_results
from zoo.training import hooks
from zoo.training.average import Average
from zoo.training.checkpoint import list_checkpoints, read_checkpoint
from zoo.training.data import Collate
from zoo.training.hooks import WarmUpHook
from zoo.training.optimizer import GroupByPrefix
from zoo.training.pair import TrainedPair, autocast
from zoo.training.session import train


@pytest.fixture
def run(tmp_path):
    """Trains the toy recipe in tmp_path/run; keeps what was said in `run.said`."""
    return ToyRun(tmp_path)


def test_a_run_ends_in_a_model_that_loads(run, monkeypatch):
    """The folder has the best epoch's averaged weights, and the dev figures that chose it."""
    command = ["zoo", "train", "toy", "--data", "my data"]
    monkeypatch.setattr("zoo.training.session.this_command", lambda: command)
    folder = run("checkpoint.keep=99")
    record = json.loads((run.folder / "run.json").read_text())
    best = read_checkpoint(run.folder / "checkpoints" / f"step_{record['best']['step']:08d}")
    assert equal(weights(folder), best.average)
    (results,) = read_results(folder)
    measured = evaluate(load_folder(folder), open_dataset(run.data, "dev"))
    assert results["metrics"] == measured.to_json()["metrics"]
    assert results["split"] == "dev"
    assert results["data_fingerprint"] == measured.data_fingerprint
    assert (results["seed"], results["selection"]) == (7, "dev")
    assert results["zoo_version"] == zoo.__version__
    assert shlex.split(results["command"]) == record["command"] == command


def test_a_run_that_measures_its_last_epoch_alone_chose_none(run, tmp_path):
    """Its results say so."""
    text = toy.RECIPE.replace("max_epochs=4", "max_epochs=2, val_interval=2")
    (results,) = read_results(run(recipe=toy.write_recipe(tmp_path / "once", text)))
    assert (results["epoch"], results["selection"]) == (2, "none: last epoch")


def test_the_record_of_a_run_says_how_it_was_made(run):
    """Command, recipe as written and as used, versions, data, seed, times."""
    run("train_cfg.max_epochs=1")
    record = json.loads((run.folder / "run.json").read_text())
    assert record["recipe_text"] == toy.RECIPE
    assert record["recipe"]["train_cfg"]["max_epochs"] == 1
    assert record["data"] == {
        split: open_dataset(run.data, split).fingerprint for split in ("train", "dev")
    }
    assert record["versions"]["torch"] == torch.__version__
    assert record["finished"] >= record["started"]
    assert record["command"]


def test_the_log_has_a_line_for_every_report(run):
    """Loss and learning rate each few iterations, dev figures each epoch; nothing twice."""
    run("train_cfg.max_epochs=2")
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if line["kind"] == "train"] == [2, 4, 6, 8, 10]
    assert [line["epoch"] for line in lines if line["kind"] == "dev"] == [1, 2]
    assert "epoch 2 dev" in run.said
    assert "rsum" in run.said


def test_the_best_epoch_is_exported_not_the_last(run, monkeypatch):
    """Selection is by rsum on dev; its model stays while checkpoints come and go."""
    rsums = iter([3.0, 9.0, 5.0, 4.0])
    measure = hooks.SelectionHook.after_train_epoch

    def measured(self, runner):
        rsum, real = next(rsums), self.measure
        self.measure = lambda: real() | {"rsum": rsum}
        measure(self, runner)
        self.measure = real

    monkeypatch.setattr(hooks.SelectionHook, "after_train_epoch", measured)
    folder = run("checkpoint.keep=99")
    best = read_checkpoint(run.folder / "checkpoints" / "step_00000010")
    assert equal(weights(folder), best.average)


def test_the_best_model_so_far_is_there_before_the_end(run, monkeypatch):
    """Whole and with its figures, so no damage to a checkpoint can take it away."""
    with monkeypatch.context() as patch:
        crash_at(patch, 9)
        with pytest.raises(CrashError):
            run()
    assert read_results(run.folder / "model")[0]["epoch"] == 1
    first = weights(run.folder / "model")
    saved = read_checkpoint(run.folder / "checkpoints" / "step_00000005")
    assert equal(first, saved.average)


def test_a_best_model_that_is_gone_counts_no_longer(run, monkeypatch):
    """The run says so, and ends with a model that has the figures it names."""
    with monkeypatch.context() as patch:
        crash_at(patch, 16)
        with pytest.raises(CrashError):
            run()
    shutil.rmtree(run.folder / "model")
    folder = run(resume=True)
    assert "the best model so far, is gone" in run.said
    measured = evaluate(load_folder(folder), open_dataset(run.data, "dev")).to_json()["metrics"]
    assert read_results(folder)[0]["metrics"] == measured


def test_a_model_is_exported_in_half_precision_where_asked(run):
    """`export.half` changes how the weights are stored, not which."""
    whole = weights(run("train_cfg.max_epochs=1"))
    folder = run("train_cfg.max_epochs=1", "export.half=True", work_dir="half")
    stored = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert equal(stored, {name: tensor.half() for name, tensor in whole.items()})


def test_without_dev_the_last_epoch_is_exported(run):
    """Then there is nothing to choose by, and no results."""
    folder = run("data.dev=None")
    last = read_checkpoint(list_checkpoints(run.folder / "checkpoints")[-1])
    assert equal(weights(folder), last.average)
    assert not (folder / "results.json").exists()


def test_without_averaging_the_weights_themselves_are_exported(run):
    """`average=None` leaves no mean anywhere."""
    folder = run("average=None", "train_cfg.max_epochs=1")
    last = read_checkpoint(list_checkpoints(run.folder / "checkpoints")[-1])
    assert last.average is None
    assert equal({f"model.{k}": v for k, v in weights(folder).items()}, dict(last.model))


@pytest.mark.parametrize("iteration", [2, 4, 5, 8, 11, 20])
def test_a_run_that_crashed_goes_on_where_it_was(run, monkeypatch, iteration):
    """Before the first checkpoint, within an epoch, at its end: the end is the same."""
    straight = ends(run(work_dir="straight"))
    with monkeypatch.context() as patch:
        crash_at(patch, iteration)
        with pytest.raises(CrashError):
            run()
    assert equal(ends(run(resume=True)), straight)


def test_schedules_by_epoch_and_a_loss_with_parameters_go_on_too(run, monkeypatch):
    """A rate that falls at an epoch falls once, and a learned temperature is not forgotten."""
    settings = [
        "param_scheduler=[{'type': 'MultiStepLR', 'by_epoch': True, 'milestones': [2, 3]}]",
        "loss={'type': 'contrastive', 'learnable': True}",
        "warm_up=None",
        "data.by=caption",
    ]
    straight = ends(run(*settings, work_dir="straight"))
    for iteration in (37, 43):
        with monkeypatch.context() as patch:
            crash_at(patch, iteration)
            with pytest.raises(CrashError):
                run(*settings, resume=True)
    assert equal(ends(run(*settings, resume=True)), straight)


def test_a_damaged_checkpoint_is_passed_over(run, monkeypatch):
    """One flipped bit: a line says so, the one before is used, and the end is the same."""
    straight = ends(run(work_dir="straight"))
    with monkeypatch.context() as patch:
        crash_at(patch, 11)
        with pytest.raises(CrashError):
            run()
    newest = list_checkpoints(run.folder / "checkpoints")[-1] / "train_state.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert equal(ends(run(resume=True)), straight)
    assert "step_00000010 is passed over" in run.said
    assert "resumed at epoch 2, iteration 9" in run.said


def test_the_log_of_a_resumed_run_has_nothing_twice(run, monkeypatch):
    """What came after the checkpoint is dropped, for it comes again."""
    with monkeypatch.context() as patch:
        crash_at(patch, 9)
        with pytest.raises(CrashError):
            run()
    with (run.folder / "log.jsonl").open("a") as file:
        file.write('{"kind": "tra')
    run(resume=True)
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines if line["kind"] == "train"] == list(range(2, 21, 2))


def test_a_run_is_not_started_over_another(run, monkeypatch):
    """A folder with a run in it needs --resume, or another name."""
    with monkeypatch.context() as patch:
        crash_at(patch, 4)
        with pytest.raises(CrashError):
            run()
    with pytest.raises(DataError, match=r"holds an unfinished run.*--resume"):
        run()
    folder = run(resume=True)
    with pytest.raises(DataError, match=r"holds a finished run\. Choose another --work-dir\."):
        run()
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert run(resume=True) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="seed: was 7, is 8"):
        run("seed=8", resume=True)


def test_a_run_that_saved_nothing_is_begun_anew(run, monkeypatch):
    """With other settings too: a mistake in them costs no second folder."""
    with monkeypatch.context() as patch:
        crash_at(patch, 1)
        with pytest.raises(CrashError):
            run()

    assert (run("seed=8") / "model.safetensors").is_file()


def test_a_run_that_is_asked_to_stop_saves_its_last_iteration():
    """At any iteration, also the last of an epoch, and between the regular savings."""
    saved = []
    loader = range(5)
    for done in (7, 10):
        hook = hooks.SavingHook(lambda _, *place: saved.append(place), every=4)
        runner = SimpleNamespace(epoch=1, iter=done - 1, train_dataloader=loader)
        hook.after_train_iter(runner, 0)
        assert saved == []
        hook.asked = 15
        with pytest.raises(SystemExit) as stop:
            hook.after_train_iter(runner, 0)
        assert stop.value.code == 143
        assert saved == [(1, done)]
        saved.clear()


def test_a_run_that_is_asked_to_stop_breaks_its_measurement_off(run, monkeypatch):
    """Dev may take longer than a scheduler waits: it is measured when the run goes on."""
    straight = ends(run(work_dir="straight"))
    asked = []

    def measured(*given, advance, **more):
        if len(asked) < 1:
            asked.append(os.kill(os.getpid(), signal.SIGTERM))
        advance("images", 1, 8)
        return evaluate(*given, **more)

    monkeypatch.setattr("zoo.training.run.evaluate", measured)
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 128 + signal.SIGTERM
    assert run.steps()[-1] == "step_00000005"
    assert run.log("dev") == []
    assert equal(ends(run(resume=True)), straight)
    assert [line["epoch"] for line in run.log("dev")] == [1, 2, 3, 4]


def test_a_job_that_cannot_be_queued_again_is_told_so_before_it_trains(run, monkeypatch):
    """Outside SLURM there is nothing that `--requeue` could ask."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="SLURM_JOB_ID is not set and there is no command scontr"):
        run(requeue=True)
    assert not run.folder.exists()


@pytest.mark.parametrize("record", [True, False])
def test_a_run_is_not_resumed_with_other_settings(run, monkeypatch, record):
    """Settings that change the weights are named, whether run.json is there or not."""
    with monkeypatch.context() as patch:
        crash_at(patch, 7)
        with pytest.raises(CrashError):
            run()
    if not record:
        (run.folder / "run.json").unlink()
    with pytest.raises(InputError, match=r"train_cfg\.max_epochs: was 4, is 6"):
        run("train_cfg.max_epochs=6", resume=True)
    run("data.workers=1", resume=True)


def test_a_run_computes_where_it_is_told(run, monkeypatch):
    """Not on the accelerator that MMEngine would choose; run.json says where."""
    monkeypatch.setattr("mmengine.runner.runner.get_device", lambda: "meta")
    run("train_cfg.max_epochs=1", device="cpu")
    assert json.loads((run.folder / "run.json").read_text())["device"] == "cpu"
    with pytest.raises(InputError, match="The device 'npu7' cannot be used"):
        run(device="npu7")


def test_the_command_takes_a_device(run, tmp_path, capsys):
    """`zoo train --device` reaches the run."""
    work_dir = ["--work-dir", str(tmp_path / "command")]
    given = ["train", str(run.recipe), "--data", str(run.data), *work_dir, "--device", "npu7"]
    assert main(given) == 1
    assert "The device 'npu7' cannot be used" in " ".join(capsys.readouterr().err.split())


def test_a_resumed_run_warns_where_the_last_bits_may_differ(run, monkeypatch):
    """Threads, torch and device are named where they are not those of the beginning."""
    with monkeypatch.context() as patch:
        crash_at(patch, 7)
        with pytest.raises(CrashError):
            run()
    record = json.loads((run.folder / "run.json").read_text())
    record["versions"]["torch"] = "1.0"
    (run.folder / "run.json").write_text(json.dumps(record | {"threads": 99, "device": "cuda:0"}))
    run(resume=True)
    assert f"versions.torch was 1.0 when the run began and is {torch.__version__}" in run.said
    assert "threads was 99" in run.said
    assert "device was cuda:0 when the run began and is cpu" in run.said


def test_a_run_is_not_resumed_on_other_data(run, monkeypatch):
    """Other captions are other data."""
    with monkeypatch.context() as patch:
        crash_at(patch, 7)
        with pytest.raises(CrashError):
            run()
    captions = run.data / "train_caps.txt"
    captions.write_text(captions.read_text().replace("dog", "cow"))
    with pytest.raises(InputError, match="data of train: fingerprint was"):
        run(resume=True)


def test_a_run_is_not_resumed_with_another_file_of_the_same_name(run, monkeypatch, tmp_path):
    """What the recipe names is known by its content."""
    file = tmp_path / "begin.safetensors"
    save_file(toy.ToyImages().state_dict(), file)
    setting = f"initial_weights.image_encoder={file}"
    with monkeypatch.context() as patch:
        crash_at(patch, 7)
        with pytest.raises(CrashError):
            run(setting)
    save_file(toy.ToyImages().state_dict(), file)
    with pytest.raises(
        InputError, match=r"data of initial_weights\.image_encoder: fingerprint was"
    ):
        run(setting, resume=True)


def test_a_part_begins_with_that_of_a_model_folder(run):
    """A rate of nothing leaves it as it was; a folder of another form is refused."""
    begun = weights(run("seed=8", work_dir="first"))
    first = run.folder.parent / "first" / "model"
    setting = f"initial_weights.text_encoder={first}"
    ended = weights(run(setting, "optim_wrapper.optimizer.lr=0.0", "train_cfg.max_epochs=1"))
    assert torch.equal(ended["text_encoder.embed.weight"], begun["text_encoder.embed.weight"])
    with pytest.raises(InputError, match="does not fit the text_encoder of the recipe"):
        run(setting, "model.text_encoder={'type': 'toy_texts', 'dim': 5}", work_dir="other")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim_wrapper.optimizer.type=AdamX", "optim_wrapper cannot be used"),
        ("optim_wrapper.clip_grad={'clip_value': 1}", "clipped by their norm"),
        ("optim_wrapper={'type': 'AmpOptimWrapper', 'optimizer': {}}", "one kind of its own"),
        ("param_scheduler.0.type=LinearX", "param_scheduler cannot be used"),
        ("train_cfg.max_epochs=1.5", "train_cfg cannot be used"),
        ("optim_wrapper.paramwise_cfg={'txt_encoder': {'lr_mult': 0.1}}", "Did you mean 'text_enc"),
        ("autocast=['image_encodr']", "Did you mean 'image_encoder'"),
        ("warm_up={'epochs': 1, 'negative': 'all'}", "has no such attribute"),
        ("loss.margn=1", "Did you mean 'loss.margin'"),
        ("model.features.dim=x", "features.dim"),
        ("data.dev=test", "must not see a test split"),
        ("data.inputs=photos", "has no photographs"),
        ("initial_weights.extractor=absent.npz", "the model has none|in none of these places"),
        ("plugin=chann", "is not installed"),
    ],
)
def test_a_setting_that_cannot_work_is_an_error_that_names_it(run, override, said):
    """And it comes before anything is trained."""
    with pytest.raises(ZooError, match=said):
        run(override)
    assert not list_checkpoints(run.folder / "checkpoints")


def test_features_and_photographs_at_once_are_refused(run, tmp_path):
    """A recipe for photographs would silently not read the features."""
    with pytest.raises(InputError, match="Leave the features out"):
        run("data.inputs=photos", features=tmp_path)


def test_the_warm_up_changes_every_loss_that_has_the_attribute():
    """A mixed loss is reached inside; after the warm-up each part has its own value again."""
    kinds = ("hardest", "all")
    loss = MixedLoss([{"type": "triplet", "negatives": kind} for kind in kinds])
    hook = WarmUpHook(loss, epochs=1, negatives="all")
    seen = []
    for epoch in (0, 1):
        hook.before_train_epoch(type("Runner", (), {"epoch": epoch}))
        seen.append([part.negatives for part in loss.losses])
    assert seen == [["all", "all"], ["hardest", "all"]]


def test_the_average_follows_by_hand():
    """Momentum begins at 1/10 and grows to its limit: 0 -> 0.9 -> 0.9 + 9/11 * 1.1, by hand."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = Average(module, momentum=0.99)
    for value in (1.0, 2.0):
        torch.nn.init.constant_(module.weight, value)
        average.update()
    assert average.tensors["weight"].item() == pytest.approx(0.9 + 9 / 11 * (2 - 0.9))
    with average.applied():
        assert module.weight.item() == average.tensors["weight"].item()
    assert module.weight.item() == 2.0


def test_groups_follow_the_beginning_of_a_name():
    """The longest prefix decides the rate; biases are not decayed; frozen parameters are out."""
    model = toy.make_model()
    model.image_encoder.project.bias.requires_grad_(False)
    pair = TrainedPair(model, MixedLoss([{"type": "contrastive", "learnable": True}]))
    prefixes = {
        "text_encoder": {"lr_mult": 0.5},
        "text_encoder.embed": {"lr_mult": 0.1, "decay_mult": 2},
        "flat_decay_mult": 0.0,
    }
    optimizer = {"type": "AdamW", "lr": 1.0, "weight_decay": 0.1}
    wrapper = GroupByPrefix({"optimizer": optimizer}, prefixes)(pair)
    found = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }
    assert found == {
        id(model.image_encoder.project.weight): (1.0, 0.1),
        id(model.text_encoder.embed.weight): (0.1, 0.2),
        id(next(pair.loss.parameters())): (1.0, 0.0),
    }


def test_autocast_computes_a_part_in_half_precision_and_returns_float(run):
    """Only in training, only the parts that are named, and the loss in float32."""
    model = toy.make_model()
    dataset = open_dataset(run.data, "train")
    batch = Collate(model, dataset, "features", 0)(toy.samples(4))
    seen = {}
    for name in ("image_encoder.project", "text_encoder.embed"):
        model.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.update({name: out.dtype})
        )
    losses = {}
    for parts in ([], ["image_encoder.project"]):
        pair = TrainedPair(model.eval(), MixedLoss([{"type": "contrastive"}]), parts)
        losses[len(parts)] = pair(batch)
    assert seen == {
        "image_encoder.project": torch.bfloat16,
        "text_encoder.embed": torch.float32,
    }
    assert losses[1].dtype == torch.float32
    assert losses[0] != losses[1]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=0.02)


def test_autocast_reaches_what_a_recurrent_network_returns():
    """A packed sequence and its state come back in float32 like any tensor."""
    model = toy.make_model()
    model.text_encoder.rnn = torch.nn.GRU(3, 2, batch_first=True)
    packed = torch.nn.utils.rnn.pack_sequence([torch.ones(2, 3), torch.ones(1, 3)])
    pair = TrainedPair(model, MixedLoss([{"type": "contrastive"}]), ["text_encoder.rnn"])
    with autocast(pair.low_precision, "cpu"):
        states, last = model.text_encoder.rnn(packed)
    assert isinstance(states, torch.nn.utils.rnn.PackedSequence)
    assert states.data.dtype == last.dtype == torch.float32
    full, _ = model.text_encoder.rnn(packed)
    assert not torch.equal(states.data, full.data)
    assert torch.allclose(states.data, full.data, atol=0.02)


def test_a_terminal_shows_a_bar(run, tmp_path):
    """On a terminal a bar tells epoch, loss, rate and the best dev rsum; no plain lines."""
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    train(run.recipe, run.data, tmp_path / "bar", console=console)
    said = console.file.getvalue()
    assert "20/20" in said
    assert "epoch 4/4 loss" in said
    assert "dev rsum" in said
    assert "left" not in said


def test_the_average_leaves_what_does_not_learn_as_it_is():
    """Bit for bit: a fixed extractor's fingerprint is that of its weights, signs of zeros too."""
    module = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.BatchNorm1d(1))
    module[0].requires_grad_(False)
    torch.nn.init.constant_(module[0].weight, -0.0)
    average = Average(module, momentum=0.99)
    module[1].running_mean.fill_(3)

    for _ in range(3):
        average.update()

    assert average.tensors["0.weight"].signbit().all()
    assert average.tensors["1.running_mean"] == 3

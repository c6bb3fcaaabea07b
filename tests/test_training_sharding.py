"""Processes that divide the weights among them end with those of one that has all."""

from __future__ import annotations

import json
import re
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor

pytest.importorskip("mmengine", reason="training needs the extra 'train'")
pytest.importorskip("transformers", reason="BERT needs the extra 'text'")

import toy_matching as toy
from process_trials import SGRAF, Trials, furthest, same
from toy_runs import ToyRun, ends, equal
from zoo.data.dataset import open_dataset
from zoo.errors import InputError
from zoo.evaluation import evaluate
from zoo.loading.weights import load_folder
from zoo.training import sharding
from zoo.training.checkpoint import list_checkpoints, read_checkpoint
from zoo.training.sharding import layers_of
from zoo.training.shards import check_moments

CLOSE = 1e-6
DIVIDED = "strategy=fully_shard"
KEPT = "strategy={'type': 'fully_shard', 'reshard_after_forward': False}"
LARGE = "data.batch_size=8"
HALF = "autocast={'parts': ['aligner'], 'dtype': 'float16'}"
# Adam makes a whole step of a gradient that is nothing but rounding.
PLAIN = ["optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.02, 'momentum': 0.9}"]
# One that is clipped in every step would hide that it is a mean.
PLAIN += ["optim_wrapper.clip_grad=None"]
CLIPPED = "optim_wrapper.clip_grad={'max_norm': 0.5}"
CONTRASTIVE = ["loss={'type': 'contrastive', 'learnable': True}", "warm_up=None"]
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] red green blue dog cat boat near far"


class BertTrials(Trials):
    """Runs of a tiny BERT, random, on words of the toy data."""

    def __init__(self, folder) -> None:
        super().__init__(folder, "transformers.models.bert.modeling_bert")
        words = folder / "vocab.txt"
        words.write_text(WORDS.replace(" ", "\n") + "\n")
        sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 12, "max_position_embeddings": 16}
        sizes |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.bert = [
            "plugin=chan",
            f"vocabulary={{'file': '{words}'}}",
            f"model.text_encoder={{'type': 'bert', 'dim': 8, 'bert': {sizes}}}",
            *PLAIN,
        ]

    def held(self, name: str) -> list[tuple[int, int, int]]:
        """What each of two processes had: divided weights, their moments; and of how many."""
        return [
            tuple(map(int, re.search(r"held (\d+) (\d+) of (\d+)", text).groups()))
            for text in (self.said_by(name, 0), self.said_by(name, 1))
        ]

    def said_by(self, name: str, number: int) -> str:
        """What one process of a run wrote."""
        return (self.folder / f"{name}.{number}.out").read_text()


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """A server for all tests of this file."""
    made = BertTrials(tmp_path_factory.mktemp("trials"))
    yield made
    made.server.communicate(timeout=60)


@pytest.fixture(scope="module")
def bert(trials):
    """The tiny BERT, trained by one process."""
    return trials.finish("bert", 1, *trials.bert, LARGE)


@pytest.fixture(scope="module")
def shares(trials):
    """The same, by two processes that have its weights in shares."""
    return trials.finish("shares", 2, *trials.bert, LARGE, DIVIDED, least=0)


def test_a_bert_in_shares_ends_as_whole(trials, bert, shares):
    """In five groups of weights, with their average: to 1e-6; and each process has half."""
    assert furthest(shares, bert) < CLOSE
    assert "5 groups of weights are divided" in trials.said("shares")
    for held, moments, whole in trials.held("shares"):
        assert held == pytest.approx(whole / 2, rel=0.01)
        assert moments == held  # of SGD: one for each weight


@pytest.mark.usefixtures("bert", "shares")
def test_what_is_exported_of_shares_is_a_model_like_any(trials):
    """The same names and weights, and the figures that its run found; nothing tells it apart."""
    dev = open_dataset(trials.data, "dev")
    toy.register()
    models = [load_folder(trials.folder / name / "model") for name in ("bert", "shares")]
    ours, theirs = (dict(model.state_dict()) for model in models)
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max() for name in ours) < CLOSE
    figures = [evaluate(model, dev).metrics for model in models]
    assert figures[0] == figures[1]
    assert record(trials, "shares")["best"]["rsum"] == figures[1]["rsum"]


def test_pieces_frozen_layers_and_kept_weights_change_nothing(trials):
    """The weights kept after the forward pass, each share in two pieces, the embeddings frozen."""
    settings = [*trials.bert, LARGE, "freeze=['text_encoder.bert.embeddings.*']"]
    whole = trials.finish("frozen", 1, *settings)
    for name, strategy in (("given-back", DIVIDED), ("kept", KEPT)):
        divided = trials.finish(name, 2, *settings, strategy, "accumulate=2", least=0)
        assert furthest(divided, whole) < CLOSE
    assert same(trials.end("given-back"), trials.end("kept"))


@pytest.mark.parametrize(
    ("name", "count", "settings", "pieces"),
    [
        ("bigru", 2, [*SGRAF, *PLAIN, CLIPPED], 1),
        ("temperature", 2, CONTRASTIVE, 1),  # a number that has no axis
        ("three", 3, ["data.batch_size=6", "data.by=caption"], 2),  # shares of unequal sizes
        ("uneven", 2, ["data.batch_size=6", "data.by=caption", *PLAIN], 3),  # fewer images
    ],
)
def test_shares_end_with_the_weights_of_one_process(trials, name, count, settings, pieces):
    """Of encoders without layers too, with losses and aligners that stay whole: to 1e-6."""
    whole = trials.finish(f"{name}-whole", 1, *settings)
    more = [DIVIDED, f"accumulate={pieces}"]
    assert furthest(trials.finish(f"{name}-shares", count, *settings, *more), whole) < CLOSE


def test_batches_of_their_own_and_low_precision_are_as_without_shares(trials):
    """gather=False; bfloat16 in all parts; float16 with a scale that costs updates."""
    for name, settings, how in (
        ("own", ["gather=False", LARGE], {}),
        ("bfloat16", [*trials.bert, "autocast=all"], {"least": 0}),
        ("float16", [HALF], {"scale": 2.0**20}),
    ):
        whole = trials.finish(f"{name}-whole", 2, *settings, **how)
        divided = trials.finish(f"{name}-shares", 2, *settings, DIVIDED, **how)
        assert furthest(divided, whole) < CLOSE, name
    states = [newest(trials, f"float16-{kind}").state["optimizer"] for kind in ("whole", "shares")]
    assert states[0]["overflows"] == states[1]["overflows"] > 0


def test_a_batch_that_is_left_out_is_left_out_by_all(trials):
    """A loss that is no number, in the last iteration of an epoch: nothing of it is left."""
    settings = ["nonfinite=skip", *PLAIN]
    whole = trials.finish("skipped-whole", 2, *settings, poison=5)
    for name, strategy in (("skipped", DIVIDED), ("skipped-kept", KEPT)):
        divided = trials.finish(name, 2, *settings, strategy, poison=5)
        assert furthest(divided, whole) < CLOSE
        assert newest(trials, name).state["skipped"] == 1


def test_a_run_in_shares_goes_on_to_the_same_bits(trials):
    """Killed in the middle of an epoch, and in a measurement; the others end, and say why."""
    settings = [*CONTRASTIVE, DIVIDED, "checkpoint.every=3", "model.image_encoder.dropout=0.3"]
    straight = trials.finish("undisturbed", 2, *settings)
    for name, iteration in (("killed", 8), ("unmeasured", 0)):
        kill = [int(signal.SIGKILL), 1, iteration]
        assert trials.attempt(name, 2, *settings, signal=kill) == [1, -signal.SIGKILL]
        assert "ended, or did not answer in time" in trials.said(name)
        assert same(trials.finish(name, 2, *settings, resume=True), straight)


def test_another_strategy_is_another_setting(trials):
    """Refused, as other processes are; loosely, weights and moments go on in the new shares."""
    stop, straight = [int(signal.SIGTERM), 0, 7], trials.finish("as-it-was", 2)
    for name, began, then in (("in-shares", [], [DIVIDED]), ("no-more", [DIVIDED], [])):
        assert trials.attempt(name, 2, *began, signal=stop) == [143, 143]
        assert trials.attempt(name, 2, *then, resume=True) == [1, 1]
        assert "began with other settings (strategy" in trials.said(name)
        changed = trials.finish(name, 2, *then, resume="loose")
        assert furthest(changed, straight) < CLOSE
        assert "strategy" in json.dumps(record(trials, name)["changes"][0]["changed"])


def test_what_cannot_be_divided_is_refused(trials):
    """Layers that are not there, with the nearest; an optimiser that torch cannot divide."""
    wrong = "strategy={'type': 'fully_shard', 'layers': ['text_encoder.embd']}"
    assert trials.attempt("no-layers", 2, wrong) == [1, 1]
    assert "called so. Did you mean 'text_encoder.embed'" in trials.said("no-layers")
    factored = "optim_wrapper.optimizer={'type': 'TorchAdafactor', 'lr': 0.01, 'weight_decay': 0.0}"
    assert trials.attempt("factored", 2, factored, DIVIDED) == [1, 1]
    assert "Take another, such as AdamW or SGD" in trials.said("factored")


def test_what_an_optimiser_remembers_has_the_shape_of_the_weight():
    """Else it could not be taken apart again; a count of steps is no such thing."""
    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        weight, moment = (distribute_tensor(torch.ones(4, 3), mesh) for _ in range(2))
        optimizer = SimpleNamespace(state={weight: {"moment": moment, "step": torch.tensor(1.0)}})
        check_moments(optimizer)
        optimizer.state[weight]["rows"] = distribute_tensor(torch.ones(4), mesh)
        with pytest.raises(InputError, match=r"remembers 'rows' of shape \(4,\) for \(4, 3\)"):
            check_moments(optimizer)
    finally:
        distributed.destroy_process_group()


def test_one_process_keeps_its_weights_and_says_so(tmp_path):
    """The same bits as without a strategy: there is nobody to divide them with."""
    run = ToyRun(tmp_path)
    without = ends(run("train_cfg.max_epochs=1", work_dir="without"))
    assert equal(ends(run("train_cfg.max_epochs=1", DIVIDED)), without)
    assert "one process has nobody to divide the weights with" in run.said


class Block(nn.Module):
    """Something made of others."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)


def test_layers_are_found_by_what_they_are(monkeypatch):
    """Lists of compound modules of one kind, at any depth; none of linear maps, of two kinds, or
    of layers that are small.
    """
    monkeypatch.setattr(sharding, "LEAST", 20)
    part = nn.ModuleDict(
        {
            "blocks": nn.ModuleList([Block(), Block()]),
            "stages": nn.Sequential(nn.Sequential(Block(), Block()), nn.Sequential(Block())),
            "maps": nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]),
            "mixed": nn.Sequential(Block(), nn.Sequential(nn.Linear(9, 9), nn.ReLU())),
        }
    )
    found = ["blocks.0", "blocks.1", "stages.0", "stages.1", "stages.0.0", "stages.0.1"]
    assert list(layers_of(part)) == found
    monkeypatch.setattr(sharding, "LEAST", 21)
    assert list(layers_of(part)) == ["stages.0"]


def test_what_two_layers_use_stays_whole():
    """A weight that is tied, and a number without an axis; what one layer has is divided."""
    one, two = Block(), Block()
    two.inner.weight = one.inner.weight
    two.scale = nn.Parameter(torch.tensor(1.0))
    kept = sharding._kept_whole([one, two], nn.ModuleList([one, two]))
    assert kept == {one.inner.weight, two.scale}
    assert sharding._kept_whole([one], nn.ModuleList([one])) == set()


def newest(trials, name):
    """The last checkpoint of a run."""
    return read_checkpoint(list_checkpoints(trials.folder / name / "checkpoints")[-1])


def record(trials, name):
    """The content of run.json."""
    return json.loads((trials.folder / name / "run.json").read_text())

"""Several processes that train together end with the weights of one."""

from __future__ import annotations

import signal
import time

import pytest

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

from process_trials import SGRAF, Trials, furthest, same
from zoo.training.checkpoint import list_checkpoints

CLOSE = 1e-6
CONTRASTIVE = ["loss={'type': 'contrastive', 'learnable': True}", "warm_up=None"]
# Adam makes a whole step of a gradient that is nothing but rounding.
PLAIN = ["optim_wrapper.optimizer={'type': 'SGD', 'lr': 0.02, 'momentum': 0.9}"]
MSSAN = [
    "plugin=mssan",
    "vocabulary={'minimum_count': 1}",
    "model.image_encoder={'type': 'mssan_regions', 'feature_dim': 6, 'dim': 8, 'dropout': 0.0,"
    " 'region_drop': 0.2, 'fixed': True}",
    "model.text_encoder={'type': 'mssan_words', 'dropout': 0.0, 'reader':"
    " {'type': 'bigru', 'word_dim': 5, 'dim': 8, 'word_drop': 0.2, 'mask_token': True}}",
    "model.aligner={'type': 'symmetric_alignment'}",
    "loss={'type': 'adaptive_margin', 'momentum': 0.5, 'gain': 2.0, 'negatives': 'mix'}",
    "warm_up={'epochs': 1, 'frozen': True}",
]


@pytest.fixture(scope="module")
def trials(tmp_path_factory):
    """A server for all tests of this file."""
    made = Trials(tmp_path_factory.mktemp("trials"))
    yield made
    made.server.communicate(timeout=30)


@pytest.mark.parametrize(
    ("name", "count", "settings"),
    [
        ("hardest", 2, []),
        ("by-caption", 2, ["data.by=caption", "data.drop_last=False"]),
        ("contrastive", 2, CONTRASTIVE),
        ("mssan", 2, MSSAN),
        ("batch-norm", 2, [*SGRAF, *PLAIN]),
        ("four", 4, []),
    ],
)
def test_processes_end_with_the_weights_of_one(trials, name, count, settings):
    """Losses of all kinds, noise on both sides, buffers, temperatures and batch norms: to 1e-6."""
    alone = trials.finish(f"{name}-alone", 1, *settings)
    together = trials.finish(f"{name}-together", count, *settings)
    assert furthest(together, alone) < CLOSE


@pytest.mark.parametrize(("count", "pieces"), [(2, 1), (2, 2), (1, 2)])
def test_hardest_negatives_are_those_of_all_processes(trials, count, pieces):
    """Found in a first pass without gradients, over the scores of all and in pieces too."""
    settings = ["plugin=chan", "model.aligner={'type': 'hard_alignment', 'pooling': 'mean'}"]
    settings += ["loss={'type': 'triplet'}", "warm_up=None", "data.batch_size=8", *PLAIN]
    once = trials.finish(f"once-{count}-{pieces}", 1, *settings, twice=False)
    name, pieced = f"twice-{count}-{pieces}", f"accumulate={pieces}"
    twice = trials.finish(name, count, *settings, pieced, twice=True)
    assert furthest(twice, once) < CLOSE


@pytest.mark.parametrize("pieces", [2, 4])
def test_pieces_of_a_batch_end_with_the_weights_of_the_whole(trials, pieces):
    """Negatives come from all pieces; alone, and where two processes take their share in pieces."""
    settings = [*MSSAN, *PLAIN, "data.batch_size=8"]
    whole = trials.finish(f"whole-{pieces}", 1, *settings)
    for count in (1, 2):
        apart = trials.finish(f"pieces-{pieces}-{count}", count, *settings, f"accumulate={pieces}")
        assert furthest(apart, whole) < CLOSE


def test_with_batches_of_their_own_processes_share_the_mean_of_their_losses(trials):
    """gather=False: two batches of two are no batch of four, and the buffers stay alike."""
    settings = [*MSSAN, "gather=False", "checkpoint.every=3"]
    straight = trials.finish("own-batches", 2, *settings)
    assert furthest(straight, trials.finish("gathered", 2, *MSSAN, "checkpoint.every=3")) > 1e-3
    stop = [int(signal.SIGTERM), 1, 7]
    assert trials.attempt("own-resumed", 2, *settings, signal=stop) == [143, 143]
    assert same(trials.finish("own-resumed", 2, *settings, resume=True), straight)


def test_one_process_that_is_asked_stops_all_at_one_place(trials):
    """A signal to the second: all save after the same iteration, and go on as if never stopped."""
    settings = ["model.image_encoder.dropout=0.3"]
    straight = trials.finish("straight", 2, *settings)
    stop = [int(signal.SIGTERM), 1, 7]
    assert trials.attempt("stopped", 2, *settings, signal=stop) == [143, 143]
    newest = list_checkpoints(trials.folder / "stopped" / "checkpoints")[-1]
    assert newest.name == "step_00000007"
    assert same(trials.finish("stopped", 2, *settings, resume=True), straight)


def test_a_process_that_is_killed_ends_the_others_at_once(trials):
    """And the run goes on from its newest checkpoint, to the same weights bit for bit."""
    settings = ["checkpoint.every=3"]
    straight = trials.finish("undisturbed", 2, *settings)
    began = time.monotonic()
    kill = [int(signal.SIGKILL), 1, 8]
    assert trials.attempt("killed", 2, *settings, signal=kill) == [1, -signal.SIGKILL]
    assert time.monotonic() - began < 30
    assert "ended, or did not answer in time" in trials.said("killed")
    assert same(trials.finish("killed", 2, *settings, resume=True), straight)


def test_processes_save_before_they_measure(trials):
    """For a measurement that they share is not broken off; killed in it, they go on with it."""
    straight = trials.finish("measured", 2)
    kill = [int(signal.SIGKILL), 1, 0]
    assert trials.attempt("unmeasured", 2, signal=kill) == [1, -signal.SIGKILL]
    saved = list_checkpoints(trials.folder / "unmeasured" / "checkpoints")
    assert [path.name for path in saved] == ["step_00000005"]
    assert same(trials.finish("unmeasured", 2, resume=True), straight)


def test_a_run_is_not_resumed_by_another_number_of_processes(trials):
    """The sums of two processes are rounded otherwise than those of one; all of them are told."""
    stop = [int(signal.SIGTERM), 0, 7]
    assert trials.attempt("begun-by-two", 2, signal=stop) == [143, 143]
    for count in (1, 4):
        statuses = trials.attempt("begun-by-two", count, resume=True)
        assert set(statuses) == {1}
        assert f"processes: were 2, are {count}" in trials.said("begun-by-two", count)


def test_a_batch_that_cannot_be_divided_is_refused(trials):
    """The error has the arithmetic, and a size that works."""
    assert trials.attempt("undivided", 2, "accumulate=3") == [1, 1]
    said = trials.said("undivided")
    assert "cannot be divided by 2 processes x accumulate 3 = 6. Set data.batch_size=6." in said
    assert trials.attempt("rest", 2, "gather=False", "data.drop_last=False") == [1, 1]
    assert "may have fewer samples than there are processes" in trials.said("rest")

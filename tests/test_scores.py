"""Scores on disk: what was finished stays, and nothing else is taken for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo
from photo_models import write_data
from tiny import FEATURES, tiny_model
from zoo.errors import DataError, InputError
from zoo.evaluation.measuring import evaluate, evaluate_scores
from zoo.protocols import Protocol
from zoo.scores import SavedScores, ScoresIndex

HERE = Path(__file__).parent
PAIRS = np.stack([np.arange(6) // 2, np.arange(6)], 1)


def index(**changes):
    """Of three images and six captions."""
    parts = {
        "dataset": "six",
        "split": "test",
        "data_fingerprint": "d",
        "listing": "l",
        "image_ids": ("a", "b", "c"),
        "captions": 6,
        "model": "chan-tiny",
        "model_fingerprint": "m",
    }
    return ScoresIndex(**{**parts, **changes})


@pytest.fixture
def matrix():
    """Scores of three images with six captions."""
    return np.random.default_rng(0).standard_normal((3, 6)).astype("float32")


@pytest.fixture
def dataset(tmp_path):
    """Six images as random features, twelve captions."""
    folder = write_data(tmp_path / "data")
    features = np.random.default_rng(0).standard_normal((6, 5, FEATURES)).astype("float32")
    np.save(folder / "test_ims.npy", features)
    return zoo.open_dataset(folder, "test")


@pytest.fixture
def model():
    """Scores two images at a time."""
    model = tiny_model()
    model.image_block = 2
    return model


def test_rows_come_back_as_they_were_added(tmp_path, matrix):
    """As a map of a file that numpy reads, too."""
    saved = SavedScores.create(tmp_path / "s", index(), PAIRS)
    saved.append(matrix[:2])
    saved.append(matrix[2:])
    saved.tell({"seed": 1})

    opened = SavedScores.open(tmp_path / "s")
    assert isinstance(opened.scores, np.memmap)
    assert np.array_equal(opened.scores, matrix)
    assert np.array_equal(np.load(tmp_path / "s" / "scores.npy"), matrix)
    assert np.array_equal(opened.pairs, PAIRS)
    assert opened.index.facts == {"seed": 1}


def test_a_folder_goes_on_where_it_stopped(tmp_path, matrix):
    """Also behind rows that were only half written."""
    SavedScores.create(tmp_path / "s", index(), PAIRS).append(matrix[:1])
    with (tmp_path / "s" / "scores.npy").open("ab") as file:
        file.write(b"half a row")
    with pytest.raises(DataError, match=r"not complete: 1 of 3 images are scored.*once more"):
        SavedScores.open(tmp_path / "s")

    again = SavedScores.create(tmp_path / "s", index(), PAIRS)
    assert again.rows_done == 1
    again.append(matrix[1:])

    assert np.array_equal(SavedScores.open(tmp_path / "s").scores, matrix)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_fingerprint": "other"}, "model_fingerprint is not the same"),
        ({"data_fingerprint": "x", "listing": "y"}, "listing and data_fingerprint are not"),
        ({"dtype": "float16"}, "dtype is not the same"),
        ({"code": "2"}, r"code is not the same\. Give another folder, or delete"),
    ],
)
def test_scores_of_something_else_are_not_continued(tmp_path, matrix, changes, message):
    """Rows of two models or of two data sets never stand in one matrix."""
    SavedScores.create(tmp_path / "s", index(), PAIRS).append(matrix[:1])

    with pytest.raises(DataError, match=message):
        SavedScores.create(tmp_path / "s", index(**changes), PAIRS)


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    """It is a wrong path."""
    (tmp_path / "letter.txt").write_text("dear")

    with pytest.raises(InputError, match=r"holds no scores\. It stays as it is"):
        SavedScores.create(tmp_path, index(), PAIRS)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_damage_is_told_from_absence(tmp_path, matrix):
    """A file that is too short, no JSON, no folder."""
    with pytest.raises(DataError, match=r"holds no scores: index.json cannot be read.*Make them"):
        SavedScores.open(tmp_path / "none")
    saved = SavedScores.create(tmp_path / "s", index(), PAIRS)
    saved.append(matrix)
    os.truncate(tmp_path / "s" / "scores.npy", 150)
    with pytest.raises(DataError, match="shorter than 3 rows"):
        _ = SavedScores.open(tmp_path / "s").scores
    (tmp_path / "s" / "pairs.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"pairs\.npy is not as it was written"):
        SavedScores.open(tmp_path / "s")
    (tmp_path / "s" / "index.json").write_text("{")
    with pytest.raises(DataError, match=r"index\.json is not as it was written"):
        SavedScores.open(tmp_path / "s")


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("scores.npy", np.asfortranarray, "no float32 matrix"),
        ("scores.npy", np.float64, "no float32 matrix"),
        ("scores.npy", np.transpose, "no float32 matrix"),
        ("pairs.npy", np.float64, "it is float64 of shape"),
        ("pairs.npy", np.ravel, r"it is int64 of shape \(12,\)"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, matrix, file, change, message):
    """Their bytes are never read as something else, which would give figures of nothing."""
    SavedScores.create(tmp_path, index(), PAIRS).append(matrix)
    np.save(tmp_path / file, change(np.load(tmp_path / file)))

    with pytest.raises(DataError, match=message):
        np.asarray(SavedScores.open(tmp_path).scores)


@pytest.mark.parametrize("file", ["scores.npy", "pairs.npy"])
def test_a_number_that_was_changed_is_noticed(tmp_path, matrix, file):
    """Whoever measures the scores again, or goes on with them, does so with those of the model."""
    SavedScores.create(tmp_path / "s", index(), PAIRS).append(matrix)
    place = tmp_path / "s" / file
    content = bytearray(place.read_bytes())
    content[-8] ^= 1
    place.write_bytes(content)

    with pytest.raises(DataError, match=r"scores or pairs were changed.*Delete the folder"):
        SavedScores.open(tmp_path / "s")
    with pytest.raises(DataError, match="scores or pairs were changed"):
        SavedScores.create(tmp_path / "s", index(), PAIRS)


def test_rows_that_do_not_fit_are_refused(tmp_path, matrix):
    """Too many, or of another number of captions."""
    saved = SavedScores.create(tmp_path / "s", index(), PAIRS)

    with pytest.raises(InputError, match=r"shape \(3, 5\) do not fit after 0"):
        saved.append(matrix[:, :5])
    saved.append(matrix)
    with pytest.raises(InputError, match=r"shape \(3, 6\) do not fit after 3"):
        saved.append(matrix)


def test_saving_changes_no_figure(model, dataset, tmp_path):
    """And the folder alone gives them again, with all that the record tells."""
    told = {"seed": 7, "selection": "dev", "epoch": 3}
    plain = evaluate(model, dataset, facts=told)
    saved = evaluate(model, dataset, facts=told, save_scores=tmp_path / "s", model_sha256="f")
    again = evaluate_scores(SavedScores.open(tmp_path / "s"))

    assert saved == again
    for name in ("metrics", "data_fingerprint", "seed", "selection", "code", "date", "parameters"):
        assert getattr(plain, name) == getattr(again, name), name
    assert (again.seed, again.selection) == (7, "dev")
    assert SavedScores.open(tmp_path / "s").index.model_sha256 == "f"


def test_saved_scores_are_measured_under_any_protocol(model, dataset, tmp_path):
    """As the model would be."""
    evaluate(model, dataset, save_scores=tmp_path / "s")
    saved = SavedScores.open(tmp_path / "s")

    for protocol in (Protocol(folds=3), Protocol(captions=1), Protocol(images=4)):
        for ties in ("against", "legacy"):
            here = evaluate_scores(saved, protocol=protocol, ties=ties)
            there = evaluate(model, dataset, protocol=protocol, ties=ties)
            assert (here.metrics, here.protocol) == (there.metrics, there.protocol)


def test_a_streamed_evaluation_holds_no_matrix(model, dataset, tmp_path, monkeypatch):
    """Images are encoded some at a time, and their scores are on disk before the next."""
    monkeypatch.setattr("zoo.evaluation.measuring.HeldScores", None)
    order = []
    monkeypatch.setattr(SavedScores, "count", spy(SavedScores.count, order))

    evaluate(
        model,
        dataset,
        save_scores=tmp_path / "s",
        advance=lambda what, *_: order.append(what),
    )

    assert order == ["captions", *["images", "score", "count"] * 3]


def spy(method, seen):
    """The method, which now also says that it was called."""

    def spied(*arguments):
        seen.append("count")
        return method(*arguments)

    return spied


def test_an_interrupted_evaluation_scores_no_image_twice(model, dataset, tmp_path, monkeypatch):
    """It ends with the matrix of one that was not, and claims no times."""
    evaluate(model, dataset, save_scores=tmp_path / "whole")
    count, seen = SavedScores.count, []

    def interrupted(self, rows_done):
        count(self, rows_done)
        seen.append(rows_done)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(SavedScores, "count", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, dataset, save_scores=tmp_path / "s")
    done: dict[str, list[int]] = {}

    def advance(what, by, total):
        done[what] = [*done.get(what, []), by]
        assert total == {"images": 6, "captions": 12, "score": 72}[what]

    again = evaluate(model, dataset, save_scores=tmp_path / "s", advance=advance)

    assert seen == [2, 4, 6]
    assert done["images"] == [4, 2]
    assert sum(done["score"]) == 72
    assert (again.seconds, again.scoring_seconds) == (None, None)
    whole = SavedScores.open(tmp_path / "whole").scores
    assert np.array_equal(SavedScores.open(tmp_path / "s").scores, whole)
    assert again.metrics == evaluate_scores(SavedScores.open(tmp_path / "whole")).metrics


def test_a_model_of_other_settings_is_another_model(model, dataset, tmp_path):
    """Though an aligner without parameters leaves the weights the same."""
    evaluate(model, dataset, save_scores=tmp_path / "s")
    other = tiny_model(aligner={"type": "hard_alignment", "pooling": "mean"})

    with pytest.raises(DataError, match="model_fingerprint is not the same"):
        evaluate(other, dataset, save_scores=tmp_path / "s")


def test_a_protocol_that_does_not_fit_is_refused_before_the_work(model, dataset, monkeypatch):
    """Scores may take hours."""
    monkeypatch.setattr("zoo.evaluation.measuring.score_in_blocks", None)

    with pytest.raises(InputError, match="do not part into 4 folds"):
        evaluate(model, dataset, protocol=Protocol(folds=4))


SLOWLY = """
import sys, time
sys.path[:0] = [{here!r}, {root!r}, {plugins!r}]
import zoo
from tiny import tiny_model
from zoo.evaluation import evaluate
from zoo.scores import SavedScores
model = tiny_model()
model.image_block = 1
count = SavedScores.count
def slowly(self, rows_done):
    count(self, rows_done)
    print(self.rows_done, flush=True)
    time.sleep(0.1)
SavedScores.count = slowly
evaluate(model, zoo.open_dataset({data!r}, "test"), save_scores={scores!r})
"""


def test_kill_9_loses_no_image_that_was_finished(model, dataset, tmp_path):
    """The next evaluation goes on behind the last of them, and its scores are as they should be."""
    scores = tmp_path / "s"
    program = SLOWLY.format(
        here=str(HERE),
        root=str(HERE.parent),
        plugins=str(HERE.parent / "plugins"),
        data=str(tmp_path / "data"),
        scores=str(scores),
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None
    finished = [int(process.stdout.readline()) for _ in range(3)]
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    assert finished == [1, 2, 3]
    kept = json.loads((scores / "index.json").read_text())["rows_done"]
    assert 3 <= kept < 6

    done: dict[str, list[int]] = {}
    again = evaluate(
        model,
        dataset,
        save_scores=scores,
        advance=lambda what, by, _: done.setdefault(what, []).append(by),
    )

    assert done["images"][0] == kept
    whole = evaluate(model, dataset, save_scores=tmp_path / "whole")
    resumed, at_once = (SavedScores.open(tmp_path / name).scores for name in ("s", "whole"))
    np.testing.assert_allclose(resumed, at_once, atol=1e-5, rtol=1e-5)
    assert again.metrics == whole.metrics

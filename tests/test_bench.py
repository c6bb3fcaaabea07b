"""Measurements of speed are paired, say what they are beside, and can be drawn again."""

from __future__ import annotations

import json

import pytest
import torch

from zoo.bench.cases import CASES, case
from zoo.bench.collection import COCO_LIKE, collection, words_in
from zoo.bench.machine import machine_facts, machine_words
from zoo.bench.published import hard_alignment, widened
from zoo.bench.rounds import Took, rows
from zoo.bench.setting import Setting
from zoo.errors import InputError

SMALL = ("--set", "images=6", "--set", "dim=24", "--set", "regions=4", "--set", "rounds=2")


def test_the_list_has_every_case(run):
    """With its sizes; each can be imported and says what it is beside."""
    status, out, _ = run("bench")

    assert status == 0
    for name, one in CASES.items():
        assert name in out
        assert one.what in out
        assert callable(one.measure)
        assert len(one.baseline) > 20


def test_ratios_are_of_one_round():
    """A round that was slow throughout changes no ratio; the median and the range are told."""
    rounds = [{"a": Took(4 * slow, 1), "b": Took(slow, 1)} for slow in (1, 7, 30)]
    rounds.append({"a": Took(6, 1), "b": Took(1, 1)})

    row = rows(rounds, "a")[1]

    assert (row.ratio, row.low, row.high, row.seconds) == (4, 4, 6, 4)
    assert rows(rounds, "a", by="wall")[1].ratio == 1
    assert rows(rounds, None)[1].ratio is None


@pytest.mark.parametrize("pooling", ["mean", "lse"])
def test_the_published_algorithm_is_what_it_says(pooling):
    """Of each pair alone, without padding, in float64."""
    made = collection(Setting(images=3, captions=7, regions=5, dim=16))

    scores = hard_alignment(made.images.embeddings, widened(made.texts, 40), pooling)

    for i, image in enumerate(made.images.embeddings.double()):
        for t, words in enumerate(made.texts.embeddings.double()):
            best = (words[made.texts.mask[t]] @ image.T).amax(1)
            true = best.mean() if pooling == "mean" else (best / 0.1).logsumexp(0)
            torch.testing.assert_close(scores[i, t].double(), true, rtol=1e-5, atol=1e-5)


def test_captions_have_the_lengths_of_a_file(tmp_path):
    """With begin and end, padded to its longest; COCO-like ones without a file."""
    file = tmp_path / "caps.txt"
    file.write_text("a dog\n\na man on a horse\n" + "a " * 30 + "\n")

    made = collection(Setting(images=2, captions=9, dim=8, lengths=file))

    assert words_in(file) == [4, 7, 32]
    assert set(made.texts.mask.sum(1).tolist()) <= {4, 7, 32}
    assert made.longest == 32
    assert made.lengths == "drawn from caps.txt (3 lines)"
    assert sorted(made.pairs[:, 1].tolist()) == list(range(9))
    assert collection(Setting(images=2, captions=9, dim=8)).lengths == COCO_LIKE


def test_a_sweep_is_reported_and_drawn_again(run, tmp_path):
    """Each size with each variant; the report makes the figure without measuring."""
    report = tmp_path / "r.json"
    sweep = ("--sweep", "captions=6,12", "--json", report)

    status, out, error = run("bench", "scoring", *SMALL, *sweep)
    assert status == 0, error
    found = json.loads(report.read_text())
    status, _, error = run(
        "bench", "--from", report, "--from", report, "--figure", tmp_path / "f.png"
    )

    assert status == 0, error
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    variants = ["published", "float32", "bfloat16 scan", "exact"]
    assert [(row["at"], row["variant"]) for row in found["rows"]] == [
        (at, variant) for at in (6, 12) for variant in variants
    ]
    assert found["setting"] == {
        "images": 6,
        "regions": 4,
        "dim": 24,
        "threads": 1,
        "rounds": 2,
        "pooling": "mean",
    }
    assert (found["sweep"], found["lengths"]) == ("captions", COCO_LIKE)
    assert found["command"].startswith("zoo bench scoring --set images=6")
    assert "Pan et al., CVPR 2023" in found["baseline"]
    assert found["baseline"] in out
    assert machine_words(machine_facts())[:20] in out
    exact = [row for row in found["rows"] if row["variant"] == "exact"]
    assert {row["told"]["ranks"] for row in exact} == {"those of float32"}


def test_a_training_step_has_the_gradients_of_the_published_one(run, tmp_path):
    """In float64, with either choice of negatives."""
    small = ("--set", "batch=16", "--set", "dim=24", "--set", "rounds=1")

    status, _, error = run("bench", "training", *small, "--json", tmp_path / "r.json")

    assert status == 0, error
    found = json.loads((tmp_path / "r.json").read_text())
    assert [row["variant"] for row in found["rows"]] == [
        "published, hardest negatives",
        "all at once, hardest negatives",
        "two passes, hardest negatives",
        "two passes, float32, hardest negatives",
        "published, all negatives",
        "all at once, all negatives",
    ]
    assert all(float(row["told"]["gradients' error"]) < 1e-5 for row in found["rows"])


def test_soft_alignment_is_measured_beside_the_published_loops(run, tmp_path):
    """Either side attends; scores are the same, which the measurement itself checks."""
    small = ("--set", "batch=16", *SMALL[:-1], "rounds=1")

    status, _, error = run("bench", "soft", *small, "--json", tmp_path / "r.json")

    assert status == 0, error
    found = json.loads((tmp_path / "r.json").read_text())
    assert len(found["rows"]) == 2 * (3 + 2 + 3)
    last = found["rows"][-1]
    assert last["variant"] == "two passes: regions attend, training, hardest negatives"
    assert float(last["told"]["gradients' difference"]) < 1e-4
    assert "Lee et al., ECCV 2018" in found["baseline"]
    plain = next(row for row in found["rows"] if row["variant"].startswith("float32"))
    assert float(plain["told"]["largest difference"]) < 1e-5


def test_encoding_is_measured_with_a_model(run, tmp_path):
    """Photographs and captions beside the loop, and the parts of an image's way."""
    small = ("--set", "images=2", "--set", "captions=5", "--set", "rounds=1")

    status, _, error = run("bench", "encoding", *small, "--json", tmp_path / "r.json")

    assert status == 0, error
    found = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert [row["variant"] for row in found if row["ratio"] is None] == [
        "of that, reading",
        "of that, extractor",
        "of that, regions",
    ]
    assert all(row["told"]["captions/s"] > 0 for row in found[:2])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("bench scorin", "no benchmark 'scorin'. Did you mean 'scoring'?"),
        ("bench scoring --set imags=3", "called 'imags'. Did you mean 'images'?"),
        ("bench scoring --set images", "'images' sets nothing. Write NAME=VALUE"),
        ("bench scoring --set images=none", "images is 'none'. Give a number from 1 on"),
        ("bench scoring --sweep captions=5", "has 1 values. Give two at least"),
        ("bench scoring --sweep pooling=mean,lse", "pooling is no number and cannot be swept"),
        ("bench scoring --set images=4 --set captions=3", "3 captions for 4 images. Give each"),
        ("bench scoring --captions absent.txt", "absent.txt cannot be read"),
        ("bench startup --captions absent.txt", "startup reads no captions. Leave --captions out"),
        ("bench scoring --from r.json", "or reports with --from, and not both"),
        ("bench --from absent.json", "absent.json is no report"),
        ("bench encoding --set model=chan-f30k", "No weights are published"),
    ],
)
def test_what_cannot_be_measured_is_refused(run, command, message):
    """With what to give instead."""
    status, _, error = run(*command.split())

    assert status == 1
    assert message in error


def test_a_case_is_found_by_name():
    """Its error is that of the command."""
    assert case("scoring") is CASES["scoring"]
    with pytest.raises(InputError, match="no benchmark 'x'"):
        case("x")

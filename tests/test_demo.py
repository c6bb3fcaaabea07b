"""`zoo demo`: its photographs, its rankings, and what it leaves behind."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import torch

from zoo.demo import CAPTIONS, PHOTOS, Ranking


def test_every_photograph_has_a_source_and_a_licence():
    """And all of them together stay small."""
    photos = sorted(PHOTOS.glob("*.jpg"))
    licences = (PHOTOS / "LICENSES.txt").read_text()
    entries = [entry for entry in licences.split("\n\n") if entry.split()[0].endswith(".jpg")]

    assert [entry.split()[0] for entry in sorted(entries)] == [photo.name for photo in photos]
    for entry in entries:
        assert "From scikit-" in entry
        assert any(words in entry for words in ("public domain", "CC0", "Attribution 2.0"))
    assert sum(photo.stat().st_size for photo in photos) < 500_000


def ranking() -> Ranking:
    """Two photographs, three captions."""
    scores = torch.tensor([[3.0, 1.0, 2.0], [2.9, 1.5, 1.0]])
    return Ranking([Path("a.jpg"), Path("b.jpg")], ["one", "two", "three"], scores)


def test_captions_and_photographs_are_found_best_first():
    """No more than there are."""
    assert ranking().captions_of(0, 2) == [("one", 3.0), ("three", 2.0)]
    assert ranking().photos_of(1, 5) == [("b.jpg", 1.5), ("a.jpg", 1.0)]


def test_the_clearest_pair_stands_out_from_both_its_rows():
    """Caption "one" scores high everywhere; "three" says more of photograph a."""
    assert ranking().clearest_pair() == (0, 2)


@pytest.mark.parametrize(("rows", "best"), [([[1.0, 3.0, 2.0]], (0, 1)), ([[1.0], [2.0]], (1, 0))])
def test_where_there_is_one_photograph_or_caption_the_best_score_is_clearest(rows, best):
    """It has no others to stand out from."""
    photos, captions = [Path("a.jpg")] * len(rows), ["one"] * len(rows[0])

    assert Ranking(photos, captions, torch.tensor(rows)).clearest_pair() == best


def test_the_demo_works_offline(run, model_folder, tmp_path, monkeypatch):
    """It ranks both ways and writes a figure, with no connection to be had."""
    monkeypatch.setattr(socket, "socket", None)
    figure = tmp_path / "figure.png"
    status, out, err = run("demo", "--model", model_folder, "--output", figure)

    assert status == 0, err
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert str(figure) in err
    for photo in PHOTOS.glob("*.jpg"):
        assert photo.name in out
    for caption in CAPTIONS[:6]:
        assert caption in out


def test_the_demo_takes_photographs_and_captions_of_ones_own(run, model_folder, tmp_path):
    """As JSON, in the order in which they were given."""
    (tmp_path / "mine").mkdir()
    for name in ("b.JPG", "a.jpeg"):
        (tmp_path / "mine" / name).write_bytes((PHOTOS / "cat.jpg").read_bytes())
    texts = ("--text", "a cat", "--text", "a dog")
    options = ("--output", tmp_path / "figure.png", "--json", "--model", model_folder)
    status, out, err = run("demo", tmp_path / "mine", *texts, *options)

    assert status == 0, err
    told = json.loads(out)
    assert [Path(photo).name for photo in told["photos"]] == ["a.jpeg", "b.JPG"]
    assert told["captions"] == ["a cat", "a dog"]
    assert told["scores"][0] == pytest.approx(told["scores"][1], abs=1e-5)

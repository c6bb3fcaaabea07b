"""A number that nobody measured cannot stand under "measured": here, and in this repository."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path

import pytest

import zoo
from zoo.errors import DataError
from zoo.files import sha256
from zoo.report.card import FILE as CARD
from zoo.report.card import folder_card
from zoo.report.leaderboard import Leaderboard
from zoo.report.proof import proven, strangers, unproven
from zoo.report.results import paper_results, read_results, read_rows

ROOT = Path(__file__).resolve().parents[1]
RESULTS = [*sorted(ROOT.glob("weights/*/results.json")), *sorted(ROOT.glob("docs/results/*.json"))]
BUNDLED = zoo.list_models(status="bundled")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]
PAGES += ROOT.glob("plugins/*/README.md")
RECALLS = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")
SOUND = {
    "dataset": "f8k",
    "split": "test",
    "protocol": "1k",
    "seed": 1,
    "metrics": dict(zip(RECALLS, (20.01, 40.0, 60.0, 10.0, 30.0, 50.0), strict=True))
    | {"rsum": 210.01},
    "command": "zoo evaluate x --data y",
    "date": "2026-01-02",
    "data_fingerprint": "d" * 64,
    "model_sha256": "a" * 64,
}


def changed(**changes):
    """The sound row with other facts; those in capitals are figures."""
    row = deepcopy(SOUND)
    for key, value in changes.items():
        place = row["metrics"] if key in row["metrics"] else row
        place[key] = value
    return row


def test_a_row_that_tells_how_to_measure_it_again_is_proven():
    """Figures rounded to two decimals may miss their sum by as much."""
    rows = [SOUND, changed(rsum=210.03, seed=2, model_sha256="b" * 64)]
    assert unproven(SOUND) == []
    assert proven(rows, Path("results.json")) is rows


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rsum": 211.0}, r"rsum is 211\.00, but its six parts sum to 210\.01"),
        ({"i2t_r1": 20.1}, r"rsum is 210\.01, but its six parts sum to 210\.10"),
        ({"t2i_r1": 31.0, "t2i_r5": 9.0}, r"t2i recalls \[31\.0, 9\.0, 50\.0\] fall"),
        ({"i2t_r10": 101.0, "rsum": 251.01}, "no percent"),
        ({"rsum": float("nan")}, "rsum is nan"),
        ({"i2t_r1": float("nan"), "rsum": float("nan")}, "rsum is nan"),
        ({"ties": "legacy"}, "ties are 'legacy' and not against"),
        ({"command": None}, "command is None"),
        ({"command": "by hand"}, "command is 'by hand'"),
        ({"date": "yesterday"}, "date is 'yesterday'"),
        ({"data_fingerprint": "d"}, "data_fingerprint is 'd'"),
        ({"model_sha256": ""}, "model_sha256 is ''"),
    ],
)
def test_a_row_that_nobody_can_recompute_is_refused(changes, said):
    """With its place, what it lacks, and the command that measures."""
    with pytest.raises(DataError, match=said) as caught:
        proven([SOUND, changed(**changes)], Path("results.json"))

    assert str(caught.value).startswith("results.json has a row of f8k test (seed 1) that does not")
    assert "zoo evaluate MODEL --data PATH --split test --save-results" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "several rows of one seed; .* several rows of one model_sha256"),
        ({"seed": 2}, "f8k test 1k has several rows of one model_sha256"),
        ({"model_sha256": "b" * 64}, "f8k test 1k has several rows of one seed"),
        (
            {"seed": 2, "model_sha256": "b" * 64, "data_fingerprint": "e" * 64},
            "f8k test 1k has rows of more than one data_fingerprint",
        ),
    ],
)
def test_a_mean_is_over_seeds_of_their_own_on_the_same_data(changes, said):
    """No run counts twice, and no other data are mixed in; another split is another line."""
    proven([SOUND, changed(**changes, split="dev")], Path("results.json"))

    with pytest.raises(DataError, match=said):
        proven([SOUND, changed(**changes)], Path("results.json"))


@pytest.mark.parametrize(
    ("file", "key"), [("results.json", "results"), ("ablation.json", "--ablation")]
)
def test_no_table_shows_a_row_without_proof(tmp_path, run, file, key):
    """Neither that of models nor that of an ablation."""
    row = changed(command=None, row="full")
    content = {"recipe": "toy", "rows": {"full": {}}, "failed": [], "results": [row]}
    (tmp_path / file).write_text(json.dumps(content))
    what = [tmp_path] if key == "results" else [key, tmp_path / file]

    status, _, err = run("results", *what)
    assert status == 1
    assert "does not count as measured: command is None" in err


def test_weights_of_nowhere_are_strangers():
    """The folder's own weights have a row, and others are of other seeds, one each."""
    sibling = changed(model_sha256="b" * 64, seed=2)
    assert strangers([SOUND, changed(split="dev"), sibling], "a" * 64) == []
    assert strangers([SOUND], "c" * 64) == ["no row is of the weights that lie here"]
    assert strangers([SOUND, changed(model_sha256="b" * 64)], "a" * 64) == [
        "seed 1 has rows of different weights: aaaaaaaaaaaa, bbbbbbbbbbbb"
    ]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_result_of_the_repository_is_proven(path):
    """Its six figures add up, and it says what gives them again."""
    assert proven(read_rows(path)["results"], path)


@pytest.mark.parametrize("name", BUNDLED)
def test_results_are_of_the_weights_that_lie_beside_them(name):
    """Or of another seed of them; and of the data set that the card names."""
    card = zoo.info(name)
    rows = read_results(card.folder)

    assert strangers(rows, sha256(card.folder / "model.safetensors")) == []
    assert {row["dataset"] for row in rows} == {card.dataset}
    assert {row["split"] for row in rows} >= {"test"}


@pytest.mark.parametrize("name", BUNDLED)
def test_the_model_card_is_made_from_the_results(name):
    """All of it but what stands between the markers of what is written by hand."""
    card = zoo.info(name)
    text = (card.folder / CARD).read_text()
    again = folder_card(card.folder, load_as=name, license=card.license)
    assert text == again, f"zoo.report.card.write_card makes the card of {name} anew"


def test_every_sum_in_a_text_is_one_that_was_measured_or_printed():
    """What a page says of an rsum stands in a results.json, a card or the leaderboard."""
    rows = [row for path in RESULTS for row in read_rows(path)["results"]]
    rows += [row for name in zoo.list_models() for row in paper_results(zoo.info(name))]
    known = {f"{row['metrics']['rsum']:.1f}" for row in rows}
    entries = Leaderboard.read(ROOT / "docs" / "leaderboard.csv").entries
    known |= {one.cell("rsum") for one in entries} | {str(one.rsum_printed) for one in entries}

    for page in PAGES:
        lines = [line for line in page.read_text().splitlines() if not line.startswith("|")]
        told = re.findall(r"rsum:? (\d{2,3}\.\d)\b", "\n".join(lines))
        assert set(told) <= known, page

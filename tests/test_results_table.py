"""What was measured of several models in one table, and the table in a document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.errors import DataError, InputError
from zoo.files import sha256
from zoo.report.comparison import AblationResults, comparison_table, summaries
from zoo.report.markers import renewed

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")
TOLD = {
    "command": "zoo evaluate x --data y",
    "date": "2026-01-02",
    "data_fingerprint": "d" * 64,
    "model_sha256": "a" * 64,
}


def row(rsum, seed=1, **more):
    """A measurement whose six figures are equal, with all that it must tell."""
    metrics = dict.fromkeys(FIGURES, rsum / 6) | {"rsum": rsum}
    facts = {"dataset": "f8k", "split": "test", "protocol": "1k", "metrics": metrics, "seed": seed}
    return TOLD | {"model_sha256": f"{seed:064x}"} | facts | more


def write(folder, *rows, **more):
    """A folder with these results, and something for weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    content = {"schema_version": 1, "results": rows, **more}
    (folder / "results.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def folders(tmp_path):
    """Two models: one of three seeds, the second of them in the folder; and one of one seed."""
    folder = write(tmp_path / "many")
    own = sha256(folder / "model.safetensors")
    times = {"training_seconds": 60.0, "trained_on": "cpu, 1 thread", "parameters": 2_000_000}
    write(
        folder,
        row(300.0, 1, model_sha256="a" * 64, **times),
        row(303.0, 2, model_sha256=own, **times | {"training_seconds": 120.0}),
        row(306.0, 3, model_sha256="c" * 64, **times),
        row(1.0, 2, split="dev"),
        row(2.0, 2, dataset="coco"),
    )
    write(tmp_path / "one", row(240.0, scoring_seconds=1.5, measured_on="H200"))
    return {"many": folder, "one": tmp_path / "one"}


def lines(table):
    """The rows of a table by their first cell, each by its headers."""
    return {line[0]: dict(zip(table.headers, line, strict=True)) for line in table.rows}


def test_seeds_give_a_mean_and_a_sample_deviation(folders):
    """By n - 1: 300, 303 and 306 have 3. One seed has none."""
    found = lines(comparison_table(summaries(folders, "f8k")))

    assert found["many"]["seeds"] == "3"
    assert found["many"]["rsum"] == "303.0 ± 3.0"
    assert found["many"]["i2t R@1"] == "50.5 ± 0.5"
    assert found["one"]["seeds"] == "1"
    assert found["one"]["rsum"] == "240.0"


def test_sizes_and_times_say_what_they_were_measured_on(folders):
    """A time is the median over seeds, of 60, 120 and 60 s here; what nobody measured is a dash."""
    found = lines(comparison_table(summaries(folders, "f8k")))

    assert found["many"]["parameters"] == "2.00 M"
    assert found["many"]["training"] == "1.0 min (cpu, 1 thread)"
    assert found["many"]["scoring"] == "-"
    assert found["one"]["scoring"] == "1.5 s (H200)"


def test_times_of_different_machines_are_not_averaged(tmp_path):
    """Each machine's stands beside the other's."""
    rows = [
        row(1.0, seed, training_seconds=seconds, trained_on=place)
        for seed, seconds, place in ((1, 60.0, "cpu"), (2, 6.0, "gpu"))
    ]
    found = lines(comparison_table(summaries({"x": write(tmp_path / "x", *rows)})))
    assert found["x"]["training"] == "1.0 min (cpu); 6.0 s (gpu)"


def test_the_seed_that_lies_in_the_folder_is_named(folders):
    """The one whose SHA-256 the weights have."""
    found = lines(comparison_table(summaries(folders, "f8k")))

    assert found["many"]["these weights"] == "seed 2: rsum 303.0"
    assert "these weights" not in comparison_table(summaries({"one": folders["one"]})).headers


def test_other_splits_data_sets_and_protocols_stay_apart(folders):
    """A mean over two protocols would mean nothing."""
    assert lines(comparison_table(summaries(folders, "f8k", "dev")))["many"]["rsum"] == "1.0"
    assert list(lines(comparison_table(summaries(folders)))) == [
        "many (f8k, 1k)",
        "many (coco, 1k)",
        "one",
    ]


def test_the_command_shows_json_and_markdown(folders, run):
    """Of folders as of names."""
    status, out, _ = run("results", *folders.values(), "--dataset", "f8k", "--json")
    many, one = json.loads(out)
    assert status == 0
    assert many["seeds"] == [1, 2, 3]
    assert many["own_seed"] == 2
    assert many["metrics"]["rsum"] == {"mean": 303.0, "deviation": 3.0}
    assert one["metrics"]["rsum"] == {"mean": 240.0, "deviation": None}
    assert len(many["rows"]) == 3

    out = run("results", *folders.values(), "--dataset", "f8k", "--markdown", "--short")[1]
    assert out.startswith("| model | seeds | i2t R@1 | t2i R@1 | rsum | parameters |")


def test_nothing_measured_is_said(folders, run):
    """An empty table alone would puzzle."""
    status, _, err = run("results", folders["one"], "--split", "val")
    assert (status, err) == (0, "Nothing was measured on any data set val.\n")


ABLATION = {
    "recipe": "toy",
    "rows": {"full": {}, "less": {"model.aligner.levels": ["l2l"]}},
    "failed": [{"row": "less", "seed": 3, "error": "nan"}],
}
ABLATED = [
    row(300.0, 1, row="full"),
    row(310.0, 2, row="full"),
    row(290.0, 2, row="less"),
]


def test_a_row_is_compared_over_the_seeds_that_both_have(tmp_path):
    """290 against 310, for the full row's first seed has no counterpart; failures are counted."""
    folder = write(tmp_path / "x", *ABLATED, **ABLATION)
    found = lines(AblationResults.read(folder / "results.json").table("f8k", "test"))

    assert found["less"]["rsum - full"] == "-20.0"
    assert found["less"]["seeds"] == "1 (1 failed)"
    assert found["full"]["rsum"] == "305.0 ± 7.1"


@pytest.mark.parametrize(
    "content", [{"results": []}, {**ABLATION, "results": [row(1.0)]}, {**ABLATION, "results": 3}]
)
def test_a_file_that_is_no_ablation_is_refused(tmp_path, content):
    """With what it lacks."""
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"results\.json does not hold"):
        AblationResults.read(path)


@pytest.fixture
def document(tmp_path, folders):  # noqa: ARG001 - the document names them
    """A document with two markers, the text between them old."""
    write(tmp_path / "docs" / "x", *ABLATED, **ABLATION)
    path = tmp_path / "docs" / "page.md"
    path.write_text(
        "# Results\n\n<!-- zoo results many/ --dataset f8k --short -->\nold\n<!-- end -->\n\n"
        "Text.\n\n<!-- zoo results --ablation docs/x/results.json -->\n<!-- end -->\nEnd.\n"
    )
    return path


def test_a_document_is_renewed_between_its_markers_alone(document, run):
    """By the command that the marker bears, with paths from a folder above it."""
    assert run("results", "--write", document)[0] == 0
    text = document.read_text()

    assert text.startswith(
        "# Results\n\n<!-- zoo results many/ --dataset f8k --short -->\n\n| model |"
    )
    assert "303.0 ± 3.0" in text
    assert "old" not in text
    assert "\nText.\n" in text
    assert "toy on f8k test:" in text
    assert "| less | model.aligner.levels=['l2l'] |" in text
    assert text.endswith("\n\n<!-- end -->\nEnd.\n")
    assert run("results", "--write", document)[2] == "0 of 1 files changed.\n"


def test_a_document_that_is_not_up_to_date_is_told(document, run):
    """With the command that renews it; it is left as it is."""
    before = document.read_text()
    status, _, err = run("results", "--check", document)

    assert status == 1
    assert f"Renew with: zoo results --write {document}" in err
    assert document.read_text() == before
    run("results", "--write", document)
    assert run("results", "--check", document) == (0, "", "")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("no marker", InputError, "has no marker of `zoo results`"),
        ("<!-- zoo results -->\ntable\n", DataError, "nothing ends the text after <!-- zoo res"),
        ("<!-- zoo results -->\n<!-- zoo results -->\n<!-- end -->", DataError, "nothing ends"),
    ],
)
def test_a_document_without_its_marks_is_refused(text, error, said):
    """Text that somebody wrote could be lost otherwise."""
    with pytest.raises(error, match=said):
        renewed(text, Path("page.md"), str)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--splt dev", "unrecognized arguments: --splt"),
        ("--ablation none.json", "names none.json, which is neither beside it"),
        ("chan-f9k", "Did you mean 'chan-f8k'"),
    ],
)
def test_a_wrong_marker_is_named(tmp_path, run, command, said):
    """And nothing is written."""
    page = tmp_path / "page.md"
    page.write_text(f"<!-- zoo results {command} -->\n<!-- end -->\n")
    status, _, err = run("results", "--write", page)

    assert status == 1
    assert said in err
    assert page.read_text().count("\n") == 2


def test_write_needs_a_file(run):
    """Its arguments are files, not models."""
    status, _, err = run("results", "--write")
    assert status == 1
    assert "zoo results --write FILE" in err


def test_a_document_is_renewed_or_compared_and_not_both(document, run):
    """The one would make the other say nothing."""
    before = document.read_text()
    status, _, err = run("results", "--write", "--check", document)
    assert (status, document.read_text()) == (1, before)
    assert "Give one of the two" in err


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_the_documents_are_up_to_date(run, name):
    """Their tables say what the results.json files say."""
    status, _, err = run("results", "--check", ROOT / name)
    assert status == 0, err

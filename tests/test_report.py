"""Tables, result files, model cards and figures."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import zoo
from tiny import tiny_config, tiny_model
from zoo.demo import PHOTOS
from zoo.errors import DataError, InputError
from zoo.files import sha256
from zoo.report.card import BEGIN, END, About, hand_written, model_card, write_card
from zoo.report.figure import Alignment, align, draw
from zoo.report.results import (
    add_result,
    measured_results,
    own_results,
    paper_results,
    read_results,
    training_facts,
)
from zoo.report.tables import Table, evaluation_table, plugin_table, ranking_table, result_table

METRICS = {
    "i2t_r1": 25.0,
    "i2t_r5": 50.0,
    "i2t_r10": 62.5,
    "t2i_r1": 18.0,
    "t2i_r5": 44.0,
    "t2i_r10": 58.25,
    "rsum": 257.75,
    "i2t_medr": 6.0,
    "i2t_meanr": 30.5,
    "t2i_medr": 8.0,
    "t2i_meanr": 41.0,
}
ROW = {"dataset": "flickr8k", "split": "test", "protocol": "1k", "metrics": METRICS, "seed": 7}

BAD_RESULTS = ["{", "[]", '{"dataset": "f8k"}', '{"results": 3}', '{"results": [{}]}', "3"]
BAD_RESULTS += [json.dumps({**ROW, "metrics": bad}) for bad in ({}, 3, METRICS | {"rsum": "x"})]


def as_text(table: Table) -> str:
    """What a terminal of 120 columns would show."""
    console = Console(width=120)
    with console.capture() as captured:
        console.print(table.to_rich())
    return captured.get()


class TestTables:
    """For a terminal and for Markdown."""

    def test_markdown_cells_cannot_break_the_table(self):
        """A bar is escaped, a line break becomes one of HTML."""
        table = Table("", ("a", "b"), [("x|y", "1\n2")], ("b",))

        assert table.to_markdown() == "| a | b |\n| --- | ---: |\n| x\\|y | 1<br>2 |"

    def test_a_terminal_shows_brackets_as_they_are(self):
        """A file name is no markup."""
        assert "[red]dog[/red].jpg" in as_text(Table("", ("file",), [("[red]dog[/red].jpg",)]))

    def test_results_of_one_title_only(self):
        """Six figures and their sum to one decimal, and the source where there is one."""
        measured = result_table("Measured", [ROW])
        paper = result_table("Paper", [{**ROW, "source": "Table 3"}])

        assert measured.rows[0][3:] == ("25.0", "50.0", "62.5", "18.0", "44.0", "58.2", "257.8")
        assert "source" not in measured.headers
        assert paper.rows[0][-1] == "Table 3"

    def test_an_evaluation_has_a_row_for_each_direction(self):
        """With both means of the ranks."""
        texts, images = evaluation_table("", METRICS).rows

        assert texts == ("texts for an image (i2t)", "25.00", "50.00", "62.50", "6.0", "30.5")
        assert images == ("images for a text (t2i)", "18.00", "44.00", "58.25", "8.0", "41.0")

    def test_a_ranking_names_its_query_once(self):
        """Beside the best that was found."""
        rows = ranking_table("", "photo", "text", [("a.jpg", [("dog", 2.0), ("cat", 1.5)])]).rows

        assert rows == [("a.jpg", "1", "dog", "2.00"), ("", "2", "cat", "1.50")]

    def test_a_plugin_that_failed_says_why(self):
        """In the row of its own."""
        record = SimpleNamespace(
            name="bad",
            distribution="itm-bad",
            version="1",
            status="import-error",
            api="",
            reason="ImportError: no",
            components=(),
            notes=(),
        )

        assert "ImportError: no" in as_text(plugin_table([record]))


class TestResults:
    """results.json of a model folder."""

    def test_a_new_measurement_replaces_the_one_of_its_kind(self, tmp_path):
        """Another split, and another seed of the model, stand beside it."""
        add_result(tmp_path, ROW)
        add_result(tmp_path, {**ROW, "split": "dev"})
        add_result(tmp_path, {**ROW, "seed": 8, "model_sha256": "b"})
        add_result(tmp_path, {**ROW, "date": "later"})
        add_result(tmp_path, {**ROW, "seed": 9, "model_sha256": "b"})

        rows = read_results(tmp_path)
        kinds = [(row["split"], row["seed"], row.get("date")) for row in rows]
        assert kinds == [("dev", 7, None), ("test", 7, "later"), ("test", 9, None)]

    def test_of_several_seeds_one_is_the_folder_s_own(self, tmp_path):
        """That whose SHA-256 the weights have; its training is what is told of them."""
        (tmp_path / "model.safetensors").write_bytes(b"weights")
        own = {**ROW, "seed": 8, "model_sha256": sha256(tmp_path / "model.safetensors")}
        add_result(tmp_path, {**ROW, "model_sha256": "b", "training_seconds": 1.0})
        add_result(tmp_path, {**own, "training_seconds": 2.0})

        assert own_results(tmp_path) == [{**own, "training_seconds": 2.0}]
        assert training_facts(tmp_path) == {"seed": 8, "training_seconds": 2.0}
        table = result_table("", read_results(tmp_path))
        assert [row[table.headers.index("seed")] for row in table.rows] == ["7", "8"]

    def test_no_file_means_nothing_measured(self, tmp_path):
        """Not an error."""
        assert read_results(tmp_path) == []

    @pytest.mark.parametrize("content", BAD_RESULTS)
    def test_a_damaged_file_is_refused(self, tmp_path, content):
        """With its path and the command that writes it anew."""
        (tmp_path / "results.json").write_text(content)

        with pytest.raises(DataError, match=r"results\.json does not hold .* zoo evaluate"):
            read_results(tmp_path)

    def test_paper_results_have_the_form_of_ours(self):
        """So that one table shows either, and never both."""
        card = zoo.info("chan-f30k")

        (row,) = paper_results(card)
        assert row["metrics"]["i2t_r1"] == 79.7
        assert row["metrics"]["rsum"] == 507.7
        assert measured_results(card) == []


class TestCard:
    """README.md of a model folder."""

    def test_a_card_shows_use_parts_results_and_their_origin(self):
        """Each figure with the command and data that made it."""
        record = {**ROW, "command": "zoo evaluate chan-tiny", "data_fingerprint": "ab12"}
        card = model_card(tiny_config(), [record], About("chan-tiny", license="Apache-2.0"))

        assert card.startswith("---\nlibrary_name: itm-zoo\nlicense: apache-2.0\n")
        assert 'zoo.load("chan-tiny")' in card
        assert "| aligner | `hard_alignment` |" in card
        assert "257.8" in card
        assert "| command | zoo evaluate chan-tiny |" in card
        assert "| data fingerprint | ab12 |" in card

    def test_a_model_without_an_extractor_is_shown_with_features(self):
        """The example would not run with file names."""
        assert "model.encode_images(features)" in model_card(tiny_config(), [], About("x"))

    def test_text_written_by_hand_is_kept(self, tmp_path):
        """However often the card is made again, and whatever it says."""
        folder = tiny_model().save(tmp_path / "model")
        path = write_card(folder)
        notes = "Trained twice.\n\n| a | b |"
        before, _, rest = path.read_text().partition(BEGIN)
        path.write_text(f"{before}{BEGIN}\n{notes}\n{END}{rest.partition(END)[2]}")
        add_result(folder, ROW)

        write_card(folder)
        write_card(folder)

        assert hand_written(path.read_text(), path) == notes
        assert "257.8" in path.read_text()

    @pytest.mark.parametrize("lost", [BEGIN, END])
    def test_a_card_that_lost_a_marker_is_not_overwritten(self, tmp_path, lost):
        """Text written by hand would be lost with it."""
        folder = tiny_model().save(tmp_path / "model")
        path = write_card(folder)
        path.write_text(path.read_text().replace(lost, ""))
        before = path.read_text()

        with pytest.raises(DataError, match=r"README\.md lacks the line"):
            write_card(folder)
        assert path.read_text() == before

    def test_the_card_of_a_saved_model_loads_it_by_its_folder(self, tmp_path):
        """The name that `zoo.load` takes."""
        folder = tiny_model().save(tmp_path / "model")

        assert 'zoo.load("local-dir:model")' in write_card(folder).read_text()


def left_and_right(words: list[str], similarity: list[list[float]]) -> Alignment:
    """A photograph of 40 x 20 pixels with one region for each half."""
    return Alignment(
        photo=Image.new("RGB", (40, 20), "grey"),
        text=" ".join(words),
        score=1.0,
        words=words,
        similarity=np.array(similarity, np.float32),
        boxes=np.array([[0, 0, 20, 20], [20, 0, 40, 20]], np.float32),
    )


class TestFigure:
    """Which region answers which word."""

    def test_a_word_is_hot_where_its_region_lies(self):
        """Left half, right half, in a map of the photograph's shape."""
        alignment = left_and_right(["dog", "cat"], [[0.9, 0.1], [0.2, 0.3]])

        dog, cat = (alignment.heat(position, across=8).round(6) for position in (0, 1))
        assert dog.shape == (4, 8)
        assert (dog[:, :4] == 1).all()
        assert (dog[:, 4:] == 0).all()
        assert (cat == 1 - dog).all()
        assert (alignment.winner(0), alignment.winner(1)) == (0, 1)

    def test_function_words_are_left_out(self):
        """Unless there are no others."""
        words = ["<start>", "a", "dog", "of", "<end>"]
        similarity = [[0.5, 0.1]] * len(words)

        assert left_and_right(words, similarity).shown == [2]
        assert left_and_right(["<start>", "of", "<end>"], similarity[:3]).shown == [1]

    def test_of_many_words_the_strongest_eight_are_shown(self):
        """In the order of the text."""
        words = [f"w{number}" for number in range(12)]
        similarity = [[number / 12, 0.0] for number in range(12)]

        assert left_and_right(words, similarity).shown == list(range(4, 12))

    def test_a_figure_needs_no_display(self, monkeypatch):
        """It is drawn without pyplot, as PNG."""
        monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
        picture = draw(left_and_right(["dog", "cat"], [[0.9, 0.1], [0.2, 0.3]]))

        assert picture.startswith(b"\x89PNG")

    def test_a_figure_shows_what_the_score_is_made_of(self, model_folder):
        """Each word's best region, pooled as CHAN pools, is the score."""
        model = zoo.load(f"local-dir:{model_folder}")
        alignment = align(model, PHOTOS / "cat.jpg", "a dog runs on the grass")

        codes = torch.from_numpy(alignment.similarity).amax(dim=1)
        assert alignment.words == ["<start>", "a", "dog", "runs", "on", "the", "grass", "<end>"]
        assert alignment.similarity.shape == (8, 36)
        assert alignment.boxes[-1].tolist() == [0, 0, 451, 300]
        assert float((codes / 0.1).logsumexp(0)) == pytest.approx(alignment.score, abs=1e-4)

    def test_a_model_of_features_has_nothing_to_draw_on(self):
        """The message names one that has."""
        with pytest.raises(InputError, match=r"no photograph to draw on\. Choose a model with"):
            align(tiny_model(), PHOTOS / "cat.jpg", "a dog")


def test_a_part_within_a_part_is_shown_in_brackets():
    """Settings read as words, not as Python."""
    from zoo.report.card import _settings

    reader = {"type": "bigru", "dim": 4}
    assert _settings({"type": "shan_words", "reader": reader, "weights": {"words": 1}}) == (
        "`shan_words`, reader (`bigru`, dim 4), weights (words 1)"
    )

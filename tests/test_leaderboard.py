"""What papers report: a file of rows that is checked as it is read, its tables and its drawing."""

from __future__ import annotations

import csv
import json
import re
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest

import zoo
from zoo.errors import DataError, InputError
from zoo.report.entries import COLUMNS, FIGURES, GROUPS, PROTOCOLS
from zoo.report.leaderboard import Leaderboard
from zoo.report.results import paper_results
from zoo.report.standing import SCALE, standing_alt, standing_figure

ROOT = Path(__file__).resolve().parents[1]
CSV = ROOT / "docs" / "leaderboard.csv"
GIVEN = {
    "protocol": "f30k-1k",
    "group": "regions",
    "method": "SCAN",
    "year": "2018",
    "images": "BUTD",
    "texts": "BiGRU",
    "ensemble": "yes",
    "i2t_r1": "67.4",
    "i2t_r5": "90.3",
    "i2t_r10": "95.8",
    "t2i_r1": "48.6",
    "t2i_r5": "77.7",
    "t2i_r10": "85.2",
    "rsum": "465.0",
    "source": "its README; another",
}
LACKING = {"i2t_r10": "", "rsum": ""}
REGISTRY = {"f30k": {"1k": "f30k-1k"}, "coco": {"5k": "coco-5k", "5 folds of 1k": "coco-1k"}}


def write(path: Path, *changes: dict[str, str]) -> Path:
    """A file with the row above once for each set of changes."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows({**GIVEN, **change} for change in changes)
    return path


def shipped() -> Leaderboard:
    """That of the repository."""
    return Leaderboard.read(CSV)


def test_the_row_of_every_model_says_what_its_card_says():
    """Both are of the same papers: figure by figure, and none is in one place alone."""
    cards = {
        (name, REGISTRY[row["dataset"]][row["protocol"]]): row["metrics"]
        for name in zoo.list_models()
        for row in paper_results(zoo.info(name))
    }
    rows = {
        (one.model, one.protocol): {name: float(value) for name, value in one.figures.items()}
        for one in shipped().entries
        if one.model
    }
    assert rows == cards


def test_every_group_and_protocol_has_rows_with_known_errors_marked():
    """Those that are known of the sources are not passed on in silence."""
    board = shipped()
    assert all(board.under(protocol, "regions") for protocol in PROTOCOLS)

    def remark(method, protocol, **more):
        (one,) = (
            one
            for one in board.entries
            if (one.method, one.protocol) == (method, protocol)
            and all(getattr(one, key) == value for key, value in more.items())
        )
        return one.note, one.rsum_printed

    swin = {"images": "Swin-B, 224 px"}
    assert remark("VSE++", "coco-5k")[1] == Decimal("409.8")
    assert "swaps the two" in remark("LAPS", "coco-1k", **swin)[0]
    assert "repeats the COCO figures" in remark("ALBEF, fine-tuned", "f30k-1k")[0]
    assert "labels this single model" in remark("NAAF", "coco-1k", ensemble=False)[0]
    assert "digit for digit" in remark("IMEB", "f30k-1k")[0]
    assert "25,010 captions" in remark("BLIP base, fine-tuned", "coco-5k")[0]
    for method in ("HREM", "ESL-H", "LAPS", "D2S-VSE"):
        notes = [one.note for one in board.entries if one.method == method]
        assert all("chooses the epoch on test" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rsum": "465.1"}, r"line 2: rsum is 465\.1, but its six parts sum to 465\.0"),
        ({"rsum": ""}, "rsum is empty, but its six parts"),
        ({"i2t_r10": ""}, "rsum is 465.0, but some of its six parts are not given"),
        ({"rsum_printed": "465.0"}, "rsum_printed is 465.0, and no other sum"),
        ({"t2i_r1": "87.7", "rsum": "504.1"}, "t2i recalls 87.7, 77.7, 85.2 fall"),
        ({"i2t_r10": "195.8", "rsum": "565.0"}, "no percent"),
        ({"i2t_r1": "much"}, "line 2: i2t_r1 is 'much' and no number"),
        ({"source": " "}, "source is empty"),
        ({"protocol": "coco"}, "protocol is 'coco' and not one of f30k-1k"),
        ({"group": "mine"}, "group is 'mine'"),
        ({"ensemble": "maybe"}, "ensemble is 'maybe'"),
        ({"t2i_r5": "NaN"}, "t2i_r5 is 'NaN' and no number"),
        ({"rsum": "inf"}, "rsum is 'inf' and no number"),
        ({"rsum_printed": "NaN"}, "rsum_printed is 'NaN' and no number"),
        ({"year": "late"}, "line 2: year is 'late' and no number"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused(tmp_path, change, said):
    """With its line, and where to look."""
    with pytest.raises(DataError, match=said) as caught:
        Leaderboard.read(write(tmp_path / "x.csv", change))
    assert str(caught.value).endswith("Compare the row with its source.")


def test_a_row_that_stands_twice_is_refused(tmp_path):
    """Which of the two would be shown?"""
    with pytest.raises(DataError, match="has 2 rows of"):
        Leaderboard.read(write(tmp_path / "x.csv", {}, {"year": "2019"}))


@pytest.mark.parametrize("line", ["f30k-1k,regions\n", "," * len(COLUMNS) + "\n"])
def test_a_line_that_lost_a_cell_or_gained_one_is_refused(tmp_path, line):
    """Its figures would stand under other names."""
    path = write(tmp_path / "x.csv", {})
    path.write_text(path.read_text() + line)
    with pytest.raises(DataError, match="line 3: it has more or fewer cells"):
        Leaderboard.read(path)


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\xfe"])
def test_a_file_of_another_form_is_refused(tmp_path, content):
    """Rather than read in part."""
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"x\.csv (has other columns|cannot be read)"):
        Leaderboard.read(path)


def test_the_highest_stands_first_and_those_without_a_sum_last(tmp_path):
    """A sum of fewer than six parts would compare with nothing."""
    more = {"method": "B", "i2t_r1": "70.0", "rsum": "467.6"}
    board = Leaderboard.read(write(tmp_path / "x.csv", LACKING | {"method": "C"}, {}, more))

    (table, sources) = board.tables("f30k-1k")
    assert [row[0] for row in table.rows] == ["B *", "SCAN *", "C *"]
    assert table.rows[2][table.headers.index("rsum")] == "-"
    assert sources.rows == [("1", "its README"), ("2", "another")]


def test_remarks_and_printed_sums_stand_beside_the_figures(tmp_path):
    """A letter for each remark, which a list explains; equal remarks share theirs."""
    notes = ({"note": "odd; old", "rsum_printed": "466.0"}, {"method": "B", "note": "old"})
    table, remarks, _ = Leaderboard.read(write(tmp_path / "x.csv", *notes)).tables("f30k-1k")

    found = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [row["remark"] for row in found] == ["a b", "b"]
    assert [row["printed"] for row in found] == ["466.0", ""]
    assert [row["rsum"] for row in found] == ["465.0", "465.0"]
    assert remarks.rows == [("a", "odd"), ("b", "old")]


def test_a_protocol_that_is_none_is_told_which_there_are():
    """By name."""
    with pytest.raises(InputError, match=r"'5k'\. Choose one of f30k-1k, coco-1k, coco-5k"):
        shipped().tables("5k")


class TestDrawing:
    """Dots at their sums."""

    def dots(self, board: Leaderboard) -> dict[str, tuple[float, str]]:
        """The place across and the classes of each dot, by what is told of it."""
        root = ElementTree.fromstring(standing_figure(board))
        return {
            circle[0].text: (float(circle.attrib["cx"]), circle.attrib["class"])
            for circle in root.iter("{http://www.w3.org/2000/svg}circle")
            if len(circle)
        }

    def test_a_point_of_rsum_is_as_wide_everywhere(self, tmp_path):
        """In all columns, so that differences compare."""
        b = {"method": "B", "i2t_r1": "70.0", "rsum": "467.6", "ensemble": "no", "model": "b-f30k"}
        coco = [one | {"protocol": "coco-1k"} for one in ({}, b)]
        dots = self.dots(Leaderboard.read(write(tmp_path / "x.csv", {}, b, *coco)))

        for protocol in ("Flickr30K, 1K", "COCO 1K, five folds"):
            b, scan = (across for told, (across, _) in dots.items() if told.endswith(protocol))
            assert b - scan == pytest.approx(2.6 * SCALE, abs=0.1)
        assert {classes for _, classes in dots.values()} == {"ring", "dot ours"}

    def test_every_sum_of_the_file_is_drawn_once(self):
        """And no row without one."""
        root = ElementTree.fromstring(standing_figure(shipped()))
        circles = [one for one in root.iter("{http://www.w3.org/2000/svg}circle") if len(one)]
        summed = [one for one in shipped().entries if "rsum" in one.figures]
        assert len(circles) == len(summed)

    def test_names_cannot_break_it(self, tmp_path):
        """A method may be called as it likes."""
        board = Leaderboard.read(write(tmp_path / "x.csv", {"method": "<A & B>"}))
        assert any("<A & B>" in told for told in self.dots(board))

    def test_it_is_told_in_words(self):
        """For those who do not see it."""
        root = ElementTree.fromstring(standing_figure(shipped()))
        assert root.attrib["role"] == "img"
        assert root.find("{http://www.w3.org/2000/svg}desc").text == standing_alt(shipped())
        assert "TVRN with BERT 445.2" in standing_alt(shipped())

    def test_nothing_is_fetched(self):
        """No address but the name of the format."""
        addresses = re.findall(r"https?://[^\"]*", standing_figure(shipped()))
        assert addresses == ["http://www.w3.org/2000/svg"]


class TestCommand:
    """`zoo results --leaderboard`."""

    def test_the_page_is_up_to_date(self, run):
        """Its tables and its drawing say what the file says."""
        status, _, err = run("results", "--check", ROOT / "docs" / "leaderboard.md")
        assert status == 0, err

    def test_a_drawing_that_is_not_up_to_date_is_told_and_renewed(self, tmp_path, run):
        """With the document that shows it."""
        write(tmp_path / "x.csv", {})
        page = tmp_path / "page.md"
        page.write_text("<!-- zoo results --leaderboard x.csv --figure x.svg -->\n<!-- end -->\n")
        assert run("results", "--write", page)[2] == "2 of 2 files changed.\n"
        (tmp_path / "x.svg").write_text("other")

        status, _, err = run("results", "--check", page)
        assert status == 1
        assert (
            f"Not up to date: {tmp_path / 'x.svg'}. Renew with: zoo results --write {page}" in err
        )
        run("results", "--write", page)
        assert run("results", "--check", page) == (0, "", "")
        assert "](x.svg)" in page.read_text()

    def test_it_shows_a_table_json_and_a_drawing(self, tmp_path, run):
        """Under one protocol or all."""
        path = write(tmp_path / "x.csv", {"rsum_printed": "466.0"}, {"protocol": "coco-5k"})

        assert "SCAN *" in run("results", "--leaderboard", path)[1]
        (row,) = json.loads(
            run("results", "--leaderboard", path, "--protocol", "f30k-1k", "--json")[1]
        )
        assert (row["figures"]["rsum"], row["rsum_printed"]) == (465.0, 466.0)
        assert set(row["figures"]) == {*FIGURES, "rsum"}
        status, _, err = run("results", "--leaderboard", path, "--figure", tmp_path / "a.svg")
        assert (status, err) == (0, f"The drawing is in {tmp_path / 'a.svg'}.\n")
        assert (tmp_path / "a.svg").read_text().startswith("<svg ")

    @pytest.mark.parametrize("option", [["--protocol", "coco-5k"], ["--figure", "x.svg"]])
    def test_its_options_need_it(self, run, option):
        """They would be ignored otherwise."""
        status, _, err = run("results", *option)
        assert status == 1
        assert f"{option[0]} belongs to a leaderboard" in err

    def test_groups_keep_apart_what_does_not_compare(self, run):
        """Each has a table of its own."""
        out = run("results", "--leaderboard", CSV, "--markdown")[1]
        assert all(
            out.count(f"**{title}**") == len(PROTOCOLS) - 1 for title in [GROUPS["pretrained"]]
        )
        assert out.count(f"**{GROUPS['regions']}**") == len(PROTOCOLS)

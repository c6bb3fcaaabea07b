"""The page of an evaluation: ranks as drawings, what goes wrong; one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from shutil import which
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zoo.data.dataset import open_dataset
from zoo.errors import DataError
from zoo.evaluation.measuring import evaluate_scores
from zoo.metrics import retrieval_ranks
from zoo.protocols import Protocol, folds_of, measure
from zoo.report.charts import rank_bars, rank_shares, recall_curve, recall_lines
from zoo.report.failures import Fold, find_failures
from zoo.report.page import report_page
from zoo.report.recalls import WAYS
from zoo.report.thumbnails import thumbnail
from zoo.scores import SavedScores, ScoresIndex, listing_fingerprint

SVG = "{http://www.w3.org/2000/svg}"
EMPTY = {"meta", "img", "input", "br"}
EVIL = "<script>alert('a')</script> & \"quoted\""


def folded(scores, pairs, protocol=Protocol(), ties="against"):  # noqa: B008
    """The folds of a matrix, with their ranks."""
    measured = measure(scores, pairs, protocol, ties)
    parts = folds_of(protocol, pairs, scores.shape)
    return [Fold(*part, ranks) for part, ranks in zip(parts, measured.ranks, strict=True)]


def one_each(count):
    """One caption an image."""
    return np.stack([np.arange(count)] * 2, 1)


class TestCharts:
    """Ranks as bars, recall as curves."""

    def test_bars_have_the_shares_of_their_ranks(self):
        """Ranks count from 0 within and from 1 in words; worked by hand."""
        ranks = np.array([0, 1, 4, 5, 9, 10, 99, 100, 499, 500])

        assert rank_shares(ranks, 1000) == {
            "1": 10.0,
            "2-5": 20.0,
            "6-10": 20.0,
            "11-20": 10.0,
            "21-50": 0.0,
            "51-100": 10.0,
            "101-500": 20.0,
            ">500": 10.0,
        }

    @given(st.lists(st.integers(0, 29), min_size=1), st.integers(30, 60))
    def test_bars_leave_no_query_out(self, ranks, candidates):
        """Nor count one twice, nor tell of ranks that there are not."""
        shares = rank_shares(np.array(ranks), candidates)

        assert sum(shares.values()) == pytest.approx(100)
        assert list(shares)[-1] in {f"21-{candidates}", "21-50", f"51-{candidates}", "51"}

    def test_a_curve_goes_through_the_recalls_that_are_reported(self):
        """R@1, R@5 and R@10, as means over the folds."""
        scores = np.random.default_rng(0).normal(size=(60, 60))
        measured = measure(scores, one_each(60), Protocol(folds=3))
        curve = recall_curve([ranks.texts for ranks in measured.ranks], 20)

        assert [curve[k - 1] for k in (1, 5, 10)] == pytest.approx(
            [measured.metrics[f"t2i_r{k}"] for k in (1, 5, 10)]
        )

    def test_a_bar_is_as_high_as_its_share(self):
        """Half the scale is half the height, and the highest share fits."""
        bars = ElementTree.fromstring(rank_bars("i2t", {"1": 40.0, "2-5": 20.0}, 40.0))
        heights = [float(bar.attrib["height"]) for bar in bars.iter("rect")]

        assert heights[1] == pytest.approx(heights[0] / 2)
        assert "1: 40.0 %, 2-5: 20.0 %" in bars.attrib["aria-label"]

    def test_a_curve_rises_from_its_first_recall_to_its_last(self):
        """In a drawing the higher place is the smaller number."""
        curves = {"i2t": np.array([0.0, 50.0, 100.0]), "t2i": np.array([0.0, 25.0, 50.0])}
        drawing = ElementTree.fromstring(recall_lines(curves))
        first, second = (
            [float(point.split(",")[1]) for point in line.attrib["points"].split()]
            for line in drawing.iter("polyline")
        )
        assert first == sorted(first, reverse=True)
        assert first[0] - first[2] == pytest.approx(2 * (second[0] - second[2]))
        assert "R@1 0.0, R@2 50.0" in drawing.attrib["aria-label"]


class TestFailures:
    """The queries that are shown."""

    SCORES = np.array([[0.9, 0.1, 0.2], [0.8, 0.7, 0.6], [0.5, 0.4, 0.3]])

    def test_the_worst_and_the_nearest_miss_by_hand(self):
        """Image 0 is right; image 1 misses by 0.1 and image 2 by 0.2, which ranks lowest."""
        worst, near = (
            one
            for one in find_failures(self.SCORES, folded(self.SCORES, one_each(3)), "against", 1)
            if one.way == "i2t"
        )
        assert (worst.kind, worst.number, worst.rank, worst.among) == ("worst", 2, 3, 3)
        assert worst.gap == pytest.approx(0.2)
        assert [one.number for one in worst.top] == [0, 1, 2]
        assert [one.match for one in worst.top] == [False, False, True]
        assert [(one.number, one.score) for one in worst.matches] == [(2, 0.3)]
        assert (near.kind, near.number, near.rank) == ("near", 1, 2)
        assert near.gap == pytest.approx(0.1)

    def test_near_misses_begin_with_the_nearest(self):
        """By the difference of scores, not by the rank: all three rank second."""
        scores = np.array([[0.1, 0.4, 0.0], [0.0, 0.2, 0.3], [0.5, 0.0, 0.3]])
        found = find_failures(scores, folded(scores, one_each(3)), "against", 1)
        shown = [one for one in found if one.way == "i2t"]
        assert [(one.kind, one.number) for one in shown] == [("worst", 0), ("near", 1)]
        assert shown[1].gap == pytest.approx(0.1)

    def test_what_is_right_is_not_shown(self):
        """However many are asked for."""
        scores = np.eye(4)
        assert find_failures(scores, folded(scores, one_each(4)), "against", 9) == []

    def test_none_is_shown_as_both_kinds(self):
        """There are two wrong images, so two are shown."""
        found = find_failures(self.SCORES, folded(self.SCORES, one_each(3)), "against", 9)
        assert [one.number for one in found if one.way == "i2t"] == [2, 1]

    @settings(max_examples=60)
    @given(st.data(), st.sampled_from(["against", "legacy"]))
    def test_the_first_match_shown_stands_at_the_rank_that_is_told(self, data, ties):
        """Also among equal scores, and with several matches a query."""
        images, texts = data.draw(st.integers(1, 5)), data.draw(st.integers(5, 8))
        values = data.draw(
            st.lists(st.integers(0, 2), min_size=images * texts, max_size=images * texts)
        )
        scores = np.array(values, np.float32).reshape(images, texts)
        pairs = np.stack([np.arange(texts) % images, np.arange(texts)], 1)
        ranks = retrieval_ranks(scores, pairs, ties)

        for one in find_failures(scores, folded(scores, pairs, ties=ties), ties, 20):
            told = (ranks.images if one.way == "i2t" else ranks.texts)[one.number]
            places = [place for place, found in enumerate(one.top, 1) if found.match]
            assert one.rank == told + 1 > 1
            assert places[:1] == ([one.rank] if one.rank <= len(one.top) else [])
            assert one.gap == pytest.approx(one.top[0].score - one.matches[0].score)

    def test_candidates_are_of_the_fold_and_numbers_of_the_whole(self):
        """Rows 2 and 3 with columns 2 and 3 know nothing of the others."""
        scores = np.array(
            [[9.0, 0, 8, 8], [0, 9.0, 8, 8], [8, 8, 1.0, 2.0], [8, 8, 0.0, 3.0]], np.float32
        )
        found = find_failures(scores, folded(scores, one_each(4), Protocol(folds=2)), "against", 5)

        assert [(one.way, one.number, one.among) for one in found] == [("i2t", 2, 2)]
        assert [one.number for one in found[0].top] == [3, 2]

    def test_blocks_do_not_change_what_is_found(self, monkeypatch):
        """A matrix is read some rows at a time."""
        scores = np.random.default_rng(1).normal(size=(20, 40)).astype(np.float32)
        pairs = np.stack([np.arange(40) // 2, np.arange(40)], 1)
        at_once = find_failures(scores, folded(scores, pairs), "against", 6)
        monkeypatch.setattr("zoo.report.failures.ROWS", 3)

        assert find_failures(scores, folded(scores, pairs), "against", 6) == at_once


class TestThumbnail:
    """Small pictures inside the page."""

    def test_it_is_small_upright_and_bears_no_note_of_its_camera(self, tmp_path):
        """A place or a name must not leave the data set with a page."""
        path, exif = tmp_path / "a.jpg", Image.Exif()
        exif[0x0112], exif[0x013B] = 6, "somebody"
        Image.new("RGB", (400, 200), "red").save(path, exif=exif)

        address, width, height = thumbnail(path, side=100)
        bytes_inside = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
        small = Image.open(io.BytesIO(bytes_inside))
        assert (width, height) == small.size == (50, 100)
        assert not small.getexif()
        assert b"somebody" not in bytes_inside

    def test_a_damaged_picture_has_none(self, tmp_path):
        """The page shows its id instead."""
        path = tmp_path / "a.jpg"
        path.write_bytes(b"no picture")
        assert thumbnail(path) is None


class Reader(HTMLParser):
    """What a browser sees: elements with their attributes, and text; unbalanced ones are faults."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.open, self.words = [], [], {}
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        """An element begins."""
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """An empty one, as XML writes it."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        """It ends what began last."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Text of the innermost element."""
        where = self.open[-1] if self.open else ""
        self.words[where] = self.words.get(where, "") + data

    def all(self, tag):
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def dataset(data_folder):
    """Six photographs with two captions each, one of them written to break a page."""
    dataset = open_dataset(data_folder, "test")
    return replace(dataset, captions=(EVIL, *dataset.captions[1:]))


@pytest.fixture
def saved(dataset, tmp_path):
    """Random scores of them."""
    index = ScoresIndex(
        dataset="six",
        split="test",
        data_fingerprint="d" * 64,
        listing=listing_fingerprint(dataset.image_ids, dataset.captions, dataset.pairs),
        image_ids=dataset.image_ids,
        captions=len(dataset.captions),
        model="toy & co",
        model_fingerprint="m",
        model_sha256="a" * 64,
        code="0.1.0 (abc)",
        facts={"seed": 7, "date": "2026-01-02"},
    )
    saved = SavedScores.create(tmp_path / "scores", index, dataset.pairs)
    scores = np.random.default_rng(3).normal(size=index.shape).astype(np.float32)
    scores[0, 0] = -9  # the caption that is written to break the page is the worst
    saved.append(scores)
    return saved


@pytest.fixture
def page(saved, dataset):
    """The page of all of it."""
    return report_page(saved, evaluate_scores(saved), dataset=dataset)


class TestPage:
    """One HTML file."""

    def test_its_elements_are_closed_in_their_order(self, page):
        """So every browser reads it alike."""
        read = Reader(page)
        assert read.open == []
        assert [tag for tag, _ in read.elements].count("h1") == 1
        assert read.all("html") == [{"lang": "en"}]

    def test_nothing_is_fetched_and_nothing_may_be(self, page):
        """Pictures are inside, and the browser is told to refuse all else."""
        read = Reader(page)
        addresses = [
            value
            for _, attributes in read.elements
            for name, value in attributes.items()
            if name in ("src", "href", "srcset", "action", "data", "poster")
        ]
        assert addresses
        assert all(address.startswith("data:image/jpeg;base64,") for address in addresses)
        assert "url(" not in read.words["style"]
        assert "@import" not in read.words["style"]
        assert not re.search(r"fetch|XMLHttp|import", read.words["script"])
        (policy,) = (one["content"] for one in read.all("meta") if "http-equiv" in one)
        assert policy.startswith("default-src 'none'; img-src data:;")
        for tag in ("style", "script"):
            digest = base64.b64encode(hashlib.sha256(read.words[tag].encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
            assert len(read.all(tag)) == 1
        assert not any("style" in attributes for _, attributes in read.elements)

    def test_a_caption_cannot_break_it(self, page):
        """It is shown as it was written, and runs nowhere."""
        read = Reader(page)
        assert EVIL in read.words["h3"]
        assert "alert" not in read.words["script"]
        assert "toy & co on six test" in read.words["h1"]
        assert any(EVIL.lower() in one["data-words"] for one in read.all("article"))

    def test_every_picture_is_told_in_words(self, page, dataset):
        """Photographs by a caption, drawings by their figures, fields by a label."""
        read = Reader(page)
        told = {
            f"Image {name}: {dataset.captions_of(row)[0]}"
            for row, name in enumerate(dataset.image_ids)
        }
        assert {one["alt"] for one in read.all("img")} <= told
        assert all(one["role"] == "img" and one["aria-label"] for one in read.all("svg"))
        assert len(read.all("svg")) == 3
        assert len(read.all("label")) == len(read.all("input")) + len(read.all("select"))
        assert "prefers-color-scheme: dark" in read.words["style"]

    def test_it_says_all_that_the_figures_depend_on(self, saved, page):
        """What nobody recorded is said to be unknown."""
        facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
        assert facts["protocol"] == "own: 6 images, 12 captions, no folds"
        assert facts["ties"].startswith("against: a candidate that scores like the match")
        assert facts["epoch chosen on"] == "not recorded"
        assert facts["seed of the training"] == "7"
        assert facts["weights (sha256)"] == "a" * 64
        assert facts["code"] == "0.1.0 (abc)"
        assert facts["computed in"] == "float32"
        assert facts["data fingerprint"] == "d" * 64
        assert f"{evaluate_scores(saved).metrics['rsum']:.1f}" in Reader(page).words["b"]

    def test_it_is_measured_under_its_protocol(self, saved, dataset):
        """Folds and ties too."""
        protocol = Protocol(folds=2)
        evaluation = evaluate_scores(saved, protocol=protocol, ties="legacy")
        page = report_page(saved, evaluation, protocol=protocol, dataset=dataset)

        assert "2 folds of 3 images" in page
        assert "legacy: among equal scores the highest number" in page
        assert " of 3, " in page
        assert f"{evaluation.metrics['t2i_r1']:.1f}" in page

    def test_without_a_data_set_ids_stand_in(self, saved):
        """Scores can be looked at where the data are not."""
        read = Reader(report_page(saved, evaluate_scores(saved), failures=2))
        assert read.all("img") == []
        assert "caption 0" in read.words["h3"]
        assert len(read.all("article")) == 8
        assert f"image {saved.index.image_ids[0]}" in read.words["div"]

    def test_another_data_set_is_refused(self, saved, dataset):
        """Captions would stand beside scores that are not theirs."""
        other = replace(dataset, captions=dataset.captions[::-1])
        with pytest.raises(DataError, match=r"is not what was scored in .*Give the data set that"):
            report_page(saved, evaluate_scores(saved), dataset=other)

    def test_a_perfect_model_has_nothing_to_show(self, dataset, tmp_path, saved):
        """And its page says so."""
        best = SavedScores.create(tmp_path / "best", saved.index, dataset.pairs)
        best.append(dataset.matches().numpy().astype(np.float32))
        read = Reader(report_page(best, evaluate_scores(best), dataset=dataset))
        assert "Nothing: every best match ranks first." in read.words["p"]
        assert read.all("form") == []

    @pytest.mark.skipif(which("node") is None, reason="no node to run the script with")
    def test_the_filter_hides_what_does_not_fit(self, tmp_path):
        """By words, way and kind together; without a script the form stays hidden."""
        stub = """
        const card = (way, kind, words) => ({ dataset: { way, kind, words }, hidden: false });
        const cards = [card("i2t", "worst", "a dog"), card("t2i", "worst", "a dog runs"),
          card("t2i", "near", "cat")];
        const output = {};
        const form = { hidden: true, words: { value: "" }, way: { value: "" }, kind: { value: "" },
          querySelector: () => output, addEventListener: (name, act) => (form[name] = act) };
        globalThis.document = { querySelector: () => form, querySelectorAll: () => cards };
        """
        script = files("zoo.report").joinpath("page.js").read_text()
        script = script.replace("const form", "const found").replace("const cards", "const all")
        acts = """
        const told = [form.hidden, output.textContent];
        form.words.value = "RUNS dog"; form.input(); told.push(output.textContent);
        form.words.value = ""; form.way.value = "t2i"; form.kind.value = "near"; form.input();
        console.log(JSON.stringify([...told, cards.map((one) => one.hidden)]));
        """
        program = tmp_path / "run.js"
        program.write_text(f"{stub}{{{script}}}{acts}")
        done = subprocess.run(["node", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == ('[false,"3 of 3 shown","1 of 3 shown",[true,true,false]]')


def colours():
    """The colours of the style, of the light and of the dark page."""
    style = files("zoo.report").joinpath("page.css").read_text()
    return [
        dict(re.findall(r"--([\w]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]


def luminance(colour):
    """Of WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    parts = (int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4))
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", colours(), ids=["light", "dark"])
def test_text_can_be_read_on_both_grounds(scheme):
    """WCAG 2.2 asks for a contrast of 4.5 for text and 3 for drawings."""
    for ground in ("surface", "raised"):
        for ink in ("ink", "soft", "good", "bad", *WAYS):
            high, low = sorted((luminance(scheme[ground]), luminance(scheme[ink])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (ground, ink)


class TestCommands:
    """`zoo report` and `zoo evaluate --report`."""

    def test_an_evaluation_writes_its_page(self, run, model_folder, data_folder, tmp_path):
        """Scores that nobody asked for are gone afterwards; those that are kept give it again."""
        out, again, scores = tmp_path / "out.html", tmp_path / "again.html", tmp_path / "scores"
        status, _, err = run("evaluate", model_folder, "--data", data_folder, "--report", out)
        assert status == 0, err
        assert f"The report is in {out}" in err
        assert [path.name for path in tmp_path.iterdir()] == ["out.html"]

        options = ("--data", data_folder, "--save-scores", scores, "--report", again)
        assert run("evaluate", model_folder, *options)[0] == 0
        assert Reader(again.read_text()).words["h3"] == Reader(out.read_text()).words["h3"]
        assert run("report", scores, "-o", again, "--data", data_folder, "--failures", "1")[0] == 0
        assert len(Reader(again.read_text()).all("article")) <= 4
        assert run("evaluate", "--scores", scores, "--report", again)[0] == 0
        assert Reader(again.read_text()).all("img") == []

    def test_a_place_that_cannot_be_written_is_told_before_the_work(self, run, saved, tmp_path):
        """And not after it."""
        place = tmp_path / "none" / "x.html"
        commands = {"--out": ["report", saved.folder], "--report": ["evaluate", "chan-f8k"]}
        for option, command in commands.items():
            status, _, err = run(*command, option, place)
            assert status == 1
            assert f"Give {option} the path of a file in a folder that exists." in err

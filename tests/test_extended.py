"""CxC and ECCV Caption: more matches than the data set has."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from zoo.errors import DataError, InputError
from zoo.evaluation.coco_ids import Joined, coco_id, join, read_annotations
from zoo.evaluation.extended import (
    METRICS,
    ExtendedCaptions,
    extended_report,
    match_places,
    retrieval_metrics,
)

KNOWN = {70: (1, 2), 80: (3, 5), 90: (7, 9)}
PAIRS = np.array([[0, 0], [0, 1], [1, 2], [1, 3], [2, 4], [2, 5]])
TEXTS = ("A dog .", "a cat", "it 's late", "two men", "rain", "snow")
SPOKEN = {1: "A dog.", 2: "A cat", 3: "It's late!", 5: "Two  men", 7: "Snow", 9: "rain."}


def by_definition(scores, matches):
    """The metrics of each query from a list sorted best first, matches last among equals."""
    rows = []
    for row, wanted in matches.items():
        order = sorted(range(scores.shape[1]), key=lambda one: (-scores[row, one], one in wanted))
        hits = [one in wanted for one in order]
        count = len(wanted)
        precision = [sum(hits[:place]) / place for place in range(1, count + 1)]
        found = [value for value, hit in zip(precision, hits, strict=False) if hit]
        rows.append([any(hits[:k]) for k in (1, 5, 10)] + [precision[-1], sum(found) / count])
    return (100 * np.mean(rows, 0)).tolist()


class TestMetrics:
    """`retrieval_metrics` and `match_places`."""

    @pytest.mark.parametrize("distinct", [None, 8, 2])
    def test_metrics_are_those_of_their_definitions(self, distinct):
        """On random scores, and on such with many ties, queries with one to nine matches."""
        generator = np.random.default_rng(0)
        scores = generator.normal(size=(30, 60))
        if distinct:
            scores = np.floor(generator.random((30, 60)) * distinct)
        matches = {
            row: set(generator.choice(60, generator.integers(1, 10), replace=False).tolist())
            for row in range(0, 30, 2)
        }
        numbers = {one: one for one in range(60)}

        found = retrieval_metrics(scores, matches, numbers, numbers)

        assert list(found) == list(METRICS)
        assert list(found.values()) == pytest.approx(by_definition(scores, matches))

    def test_metrics_by_hand(self):
        """Matches in places 1 and 3 of three: two of three are there, one of them after a miss."""
        scores = np.array([[0.9, 0.8, 0.7, 0.1]])
        rows, columns = {5: 0}, {10: 0, 11: 1, 12: 2, 13: 3}

        found = retrieval_metrics(scores, {5: [10, 12, 13]}, rows, columns)

        assert found["r1"] == 100
        assert found["rprecision"] == pytest.approx(100 * 2 / 3)
        assert found["map_at_r"] == pytest.approx(100 * (1 + 2 / 3) / 3)

    def test_a_constant_score_earns_nothing(self):
        """Among equals, matches stand last."""
        assert match_places(np.zeros(6), [0, 4]).tolist() == [4, 5]

    def test_a_match_that_is_no_candidate_is_one_never_found(self):
        """It is among the R: the best of rankings has half of two, and the second place counts."""
        rows, columns = {5: 0}, {10: 0, 11: 1}
        first = retrieval_metrics(np.array([[1.0, 0.0]]), {5: [10, 99]}, rows, columns)
        second = retrieval_metrics(np.array([[0.0, 1.0]]), {5: [10, 99]}, rows, columns)

        assert (first["r1"], first["rprecision"], first["map_at_r"]) == (100, 50, 50)
        assert (second["r1"], second["rprecision"], second["map_at_r"]) == (0, 50, 25)

    def test_columns_that_are_no_candidates_are_not_ranked(self):
        """A caption beyond those that are known takes no place."""
        found = retrieval_metrics(np.array([[0.5, 0.9, 0.1]]), {5: [10]}, {5: 0}, {10: 0, 11: 2})

        assert found["r1"] == 100

    def test_a_score_that_is_no_number_is_refused(self):
        """NaN beside the matches, too."""
        with pytest.raises(InputError, match="NaN or infinite"):
            retrieval_metrics(np.array([[0.5, np.nan]]), {5: [10]}, {5: 0}, {10: 0, 11: 1})

    def test_queries_without_a_row_or_a_match_are_refused(self):
        """The message says that the whole split is wanted."""
        with pytest.raises(DataError, match="The id 6, which is asked about"):
            retrieval_metrics(np.zeros((1, 1)), {6: [10]}, {5: 0}, {10: 0})
        with pytest.raises(DataError, match="None of the 1 matches"):
            retrieval_metrics(np.zeros((1, 1)), {5: [99]}, {5: 0}, {10: 0})

    def test_both_sources_are_measured_both_ways(self):
        """Each with its own matches, images against captions and back."""
        known = ExtendedCaptions(KNOWN, {"cxc": {"i2t": {70: [1]}, "t2i": {1: [70]}}})
        joined = Joined({70: 0, 80: 1}, {1: 1, 3: 0}, "by text")
        scores = np.array([[0.9, 0.5], [0.1, 0.3]])  # caption 3 first for image 70

        report = extended_report(scores, known, joined)["cxc"]

        assert (report["i2t_r1"], report["t2i_r1"]) == (0, 100)


class TestJoin:
    """`join` and what it reads."""

    @pytest.mark.parametrize("names", [("70", "80", "90"), ("a/x_70.jpg", "x_0080.jpg", "90.jpg")])
    def test_by_order_the_captions_of_an_image_are_those_known_in_turn(self, names):
        """Whether the data set knows images by id or by file name."""
        joined = join(KNOWN, names, PAIRS)

        assert joined.images == {70: 0, 80: 1, 90: 2}
        assert joined.captions == {1: 0, 2: 1, 3: 2, 5: 3, 7: 4, 9: 5}
        assert joined.how == "by order"

    def test_by_text_captions_are_told_by_letters_and_digits(self):
        """Spaces, case and punctuation may differ; here two captions changed places."""
        joined = join(KNOWN, ("70", "80", "90"), PAIRS, TEXTS, SPOKEN)

        assert joined.captions == {1: 0, 2: 1, 3: 2, 5: 3, 7: 5, 9: 4}
        assert joined.how == "by text"

    def test_images_may_stand_in_any_order(self):
        """They are told by their ids."""
        joined = join(KNOWN, ("90", "70", "80"), PAIRS)

        assert (joined.images[90], joined.captions[7], joined.captions[1]) == (0, 0, 2)

    def test_captions_beyond_the_known_ones_are_left_out(self):
        """Of 25,010 captions, 25,000 are candidates."""
        pairs = np.concatenate([PAIRS, [[1, 6]]])

        assert 6 not in join(KNOWN, ("70", "80", "90"), pairs).captions.values()
        texts = (*TEXTS[:2], "another", *TEXTS[3:], "it 's late")
        assert join(KNOWN, ("70", "80", "90"), pairs, texts, SPOKEN).captions[3] == 6

    def test_the_last_caption_left_belongs_to_the_last_id_left(self):
        """One text that was written otherwise is no obstacle."""
        joined = join(KNOWN, ("70", "80", "90"), PAIRS, TEXTS, {**SPOKEN, 3: "It is late"})

        assert joined.captions[3] == 2

    def test_two_texts_that_are_not_there_are_refused(self):
        """They could be told apart by nothing."""
        with pytest.raises(
            DataError, match=r"The caption 3 of the image 80 .'quite other'. is none"
        ):
            join(KNOWN, ("70", "80", "90"), PAIRS, TEXTS, {**SPOKEN, 3: "quite other", 5: "words"})

    def test_missing_images_and_others_are_told(self):
        """With how many, and one of each."""
        with pytest.raises(
            DataError, match=r"1 are missing \(such as 90\); 1 are of no such split"
        ):
            join(KNOWN, ("70", "80", "91"), PAIRS)
        with pytest.raises(DataError, match="1 are there twice"):
            join(KNOWN, ("70", "80", "90", "90"), PAIRS)

    def test_missing_captions_are_told(self):
        """A split with one caption an image will not do."""
        with pytest.raises(DataError, match="The image 80 has 1 captions"):
            join(KNOWN, ("70", "80", "90"), np.delete(PAIRS, 2, 0))

    def test_a_name_without_a_number_is_no_image_of_coco(self):
        """Flickr8k's names end in letters, say."""
        with pytest.raises(DataError, match="beach is no id of an image of COCO"):
            coco_id("beach")

    def test_annotations_are_read_by_caption_id(self, tmp_path):
        """And anything else is refused."""
        path = tmp_path / "captions_val2014.json"
        path.write_text(json.dumps({"annotations": [{"id": 5, "image_id": 70, "caption": "a"}]}))
        assert read_annotations(path) == {5: "a"}

        path.write_text("[]")
        with pytest.raises(DataError, match="is no file of COCO's captions"):
            read_annotations(path)


def test_without_the_package_the_message_says_how_to_install_it(monkeypatch):
    """It is an extra."""
    monkeypatch.setattr("zoo.evaluation.extended.find_spec", lambda _name: None)

    with pytest.raises(InputError, match=r"pip install 'itm-zoo\[eccv\]'"):
        ExtendedCaptions.read()


@pytest.fixture(scope="module")
def package():
    """The installed package, whose own program the figures are compared with."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it misses a faster reader of JSON
        return pytest.importorskip("eccv_caption", reason="eccv_caption is not installed")


@pytest.mark.usefixtures("package")
def test_the_package_knows_what_its_paper_says():
    """5,000 images with five captions; 1,261 images and 1,332 captions were asked about."""
    known = ExtendedCaptions.read()

    assert len(known.captions) == 5000
    assert {len(ids) for ids in known.captions.values()} == {5}
    assert [len(known.matches["eccv"][way]) for way in ("i2t", "t2i")] == [1261, 1332]
    assert [len(known.matches["cxc"][way]) for way in ("i2t", "t2i")] == [5000, 24972]


@pytest.mark.usefixtures("package")
def test_figures_equal_those_of_the_package():
    """R@K, R-Precision and mAP@R on random scores, of some queries with all their candidates."""
    from eccv_caption._metrics import compute_eccv_metrics, compute_r_at_k

    known, generator = ExtendedCaptions.read(), np.random.default_rng(0)
    candidates = {one: column for column, one in enumerate(sum(known.captions.values(), ()))}
    for source, matches in known.matches.items():
        some = dict(list(matches["i2t"].items())[:60])
        scores = generator.normal(size=(60, 25000)).astype(np.float32)
        for row, ids in enumerate(some.values()):
            scores[row, [candidates[one] for one in ids if one in candidates]] += 3
        ids = np.array(list(candidates))
        ranked = {
            query: ids[np.argsort(-line)].tolist() for query, line in zip(some, scores, strict=True)
        }

        found = retrieval_metrics(
            scores, some, {one: row for row, one in enumerate(some)}, candidates
        )

        theirs = compute_eccv_metrics(ranked, some)
        assert found["rprecision"] == pytest.approx(100 * theirs["eccv_rprecision"])
        assert found["map_at_r"] == pytest.approx(100 * theirs["eccv_map_at_r"])
        for k in (1, 5, 10):
            assert found[f"r{k}"] == pytest.approx(100 * compute_r_at_k(ranked, some, k)), source


@pytest.mark.usefixtures("package")
def test_the_captions_of_the_precomputed_split_are_those_of_the_package(shared_data):
    """SCAN's testall has the images of the package, row for row, each with its five captions."""
    lines = (shared_data / "coco_precomp" / "testall_ids.txt").read_text().split()
    pairs = np.stack([np.repeat(np.arange(5000), 5), np.arange(25000)], 1)

    joined = join(ExtendedCaptions.read().captions, lines[::5], pairs)

    assert list(joined.images.values()) == list(range(5000))
    assert list(joined.captions.values()) == list(range(25000))
    texts = (shared_data / "coco_precomp" / "testall_caps.txt").read_text(encoding="utf-8")
    captions = texts.splitlines()
    assert captions[joined.captions[770337]].startswith("A man with a red helmet")
    assert captions[joined.captions[38]].lower().startswith("a black honda motorcycle")

"""`zoo compare`, `zoo ensemble` and `zoo extended`: what they print and what they refuse."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from saved_scores import pairs_of, save
from zoo.evaluation.statistics import FIGURES, paired_test
from zoo.metrics import retrieval_ranks, retrieval_report

PAIRS = pairs_of(40, 3)


def scores_of(seed, strength=1.0):
    """Of random scores where what belongs together scores `strength` more."""
    scores = np.random.default_rng(seed).normal(size=(40, 120)).astype(np.float32)
    scores[PAIRS[:, 0], PAIRS[:, 1]] += strength
    return scores


@pytest.fixture
def weak(tmp_path):
    """Saved scores of a model that finds little."""
    return save(tmp_path / "weak", scores_of(0, 0.3), PAIRS, model="weak").folder


@pytest.fixture
def strong(tmp_path):
    """Saved scores of a model that finds more."""
    return save(tmp_path / "strong", scores_of(1, 3.0), PAIRS, model="strong").folder


class TestCompare:
    """`zoo compare`."""

    def test_two_models_are_set_side_by_side(self, run, weak, strong):
        """Both with intervals, then how far the second is ahead, and p."""
        status, out, _ = run("compare", weak, strong, "--samples", 200)

        lines = out.splitlines()
        expected = retrieval_report(scores_of(1, 3.0), PAIRS)["i2t_r1"]
        assert status == 0
        subject = "made test, 40 images, 120 captions, no folds; 95 % intervals over 200 draws"
        assert subject in " ".join(out.split())
        assert any("i2t R@1" in line and f"{expected:.1f} (" in line for line in lines)
        assert any("How far strong is ahead of weak" in line for line in lines)
        assert [line for line in lines if "rsum" in line][-1].split()[-1] == "0.0050"

    def test_json_has_what_the_functions_give(self, run, weak, strong):
        """Figures, intervals and p of one seed, under the folds that were asked for."""
        arguments = ("--samples", 100, "--seed", 4, "--level", 0.9, "--folds", 2, "--json")
        _, out, _ = run("compare", weak, strong, *arguments)

        found = json.loads(out)
        halves = [
            [
                retrieval_ranks(
                    scores,
                    PAIRS,
                    images=np.arange(20 * half, 20 * half + 20),
                    texts=np.arange(60 * half, 60 * half + 60),
                )
                for half in (0, 1)
            ]
            for scores in (scores_of(0, 0.3), scores_of(1, 3.0))
        ]
        expected = paired_test(*halves, samples=100, seed=4, level=0.9)["rsum"]
        assert found["protocol"] == "2 folds of 20 images, 120 captions in all"
        assert [model["name"] for model in found["models"]] == ["weak", "strong"]
        assert list(found["models"][0]["figures"]) == list(FIGURES)
        assert found["differences"][0]["figures"]["rsum"] == vars(expected)

    def test_one_model_alone_has_intervals(self, run, weak):
        """And no table of differences."""
        status, out, _ = run("compare", weak, "--samples", 50)

        assert status == 0
        assert "rsum" in out
        assert "ahead" not in out

    def test_models_are_scored_where_there_is_data(self, run, model_folder, data_folder):
        """A model against itself: the difference is nothing, and nothing is left behind."""
        status, out, _ = run(
            "compare", model_folder, model_folder, "--data", data_folder, "--samples", 50, "--json"
        )

        figures = json.loads(out)["differences"][0]["figures"]
        assert status == 0
        assert {one["difference"] for one in figures.values()} == {0}

    def test_other_data_and_absent_data_are_refused(self, run, weak, tmp_path):
        """With what to do."""
        other = save(tmp_path / "other", scores_of(0), PAIRS, listing="other").folder

        status, _, err = run("compare", weak, other)
        assert status == 1
        assert "Evaluate all models on one split of one data set" in err
        status, _, err = run("compare", weak, "chan-f8k")
        assert status == 1
        assert "chan-f8k is no folder of scores" in err


class TestEnsemble:
    """`zoo ensemble`."""

    def test_an_ensemble_is_measured_beside_its_models(self, run, weak, strong, tmp_path):
        """The record has the figures of the weighted mean, and what it was made of."""
        record = tmp_path / "record.json"
        status, out, _ = run(
            "ensemble", weak, strong, "--weights", "1,3", "--json", record, "--folds", 2
        )

        found = json.loads(record.read_text())
        mean = scores_of(0, 0.3).astype(float) / 4 + scores_of(1, 3.0) * np.float64(0.75)
        halves = [
            retrieval_report(mean[rows, columns], pairs_of(20, 3))
            for rows, columns in ((slice(0, 20), slice(0, 60)), (slice(20, 40), slice(60, 120)))
        ]
        rsum = np.mean([half["rsum"] for half in halves])
        assert status == 0
        assert found["metrics"]["rsum"] == pytest.approx(rsum, abs=0.01)
        assert found["ensemble"]["models"] == ["weak", "strong"]
        assert found["command"].startswith("zoo ensemble ")
        assert f"{rsum:.2f}" in out

    def test_saved_ensembles_can_be_measured_again(self, run, weak, strong, tmp_path):
        """With `zoo evaluate --scores`, to the same figures; saving twice changes nothing."""
        kept, first, again = tmp_path / "kept", tmp_path / "a.json", tmp_path / "b.json"
        arguments = ("ensemble", weak, strong, "--standardise", "--save-scores", kept)

        assert run(*arguments, "--json", first)[0] == 0
        assert run(*arguments)[0] == 0
        assert run("evaluate", "--scores", kept, "--json", again)[0] == 0

        one, two = (json.loads(path.read_text()) for path in (first, again))
        assert one["metrics"] == two["metrics"]
        assert two["model"] == "weak + strong"

    def test_weights_that_are_no_numbers_are_refused(self, run, weak, strong):
        """Before anything is read."""
        status, _, err = run("ensemble", weak, strong, "--weights", "1;2")

        assert status == 1
        assert "--weights is '1;2'. Give a number for each model" in err


class TestExtended:
    """`zoo extended`."""

    @pytest.fixture
    def package(self, tmp_path, monkeypatch):
        """A package with the files of eccv_caption, for three images with two captions each."""
        data = tmp_path / "site" / "eccv_caption" / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise ImportError('only its data are read')\n")
        captions = {11: [70], 12: [70], 21: [80], 22: [80], 31: [90], 32: [90]}
        np.save(data / "coco_test_ids.npy", np.array(list(captions)))
        more = {70: [11, 12, 21], 80: [21, 22]}
        for name, content in {
            "original_caption_to_image": captions,
            "cxc_caption_to_image": captions,
            "cxc_image_to_caption": more,
            "eccv_caption_to_image": {21: [80, 70]},
            "eccv_image_to_caption": more,
        }.items():
            (data / f"{name}.json").write_text(json.dumps(content))
        monkeypatch.delitem(sys.modules, "eccv_caption", raising=False)  # the real one, if any
        monkeypatch.syspath_prepend(data.parents[1])

    @pytest.fixture
    def scores(self, tmp_path):
        """Image 70 ranks captions 11, 21, 31, 12; caption 12 finds image 80 first."""
        scores = np.array(
            [[0.9, 0.6, 0.8, 0.2, 0.7, 0.1], [0, 0.65, 0.9, 0.7, 0, 0], [0, 0, 0, 0, 0.9, 0.8]]
        )
        return save(tmp_path / "scores", scores, pairs_of(3, 2), image_ids=("70", "80", "90"))

    @pytest.mark.usefixtures("package")
    def test_it_reads_the_package_and_measures_saved_scores(self, run, scores, tmp_path):
        """By hand: image 70 has two of three among the first three, in places 1 and 2."""
        record = tmp_path / "record.json"
        status, out, _ = run("extended", scores.folder, "--json", record)

        found = json.loads(record.read_text())
        assert status == 0
        assert "captions told by order" in out
        assert found["captions_told"] == "by order"
        assert found["metrics"]["eccv"]["i2t_rprecision"] == pytest.approx((200 / 3 + 100) / 2)
        assert found["metrics"]["eccv"]["i2t_map_at_r"] == pytest.approx((200 / 3 + 100) / 2)
        assert found["metrics"]["eccv"]["t2i_rprecision"] == 100
        assert found["metrics"]["cxc"]["t2i_r1"] == pytest.approx(500 / 6)

    @pytest.mark.usefixtures("package")
    def test_captions_are_told_by_text_where_coco_has_them(self, run, scores, tmp_path):
        """The captions of the data folder, which must be those that were scored."""
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "test_ids.txt").write_text("70\n70\n80\n80\n90\n90\n")
        (folder / "test_caps.txt").write_text("one\ntwo\nthree\nfour\nfive\nsix\n")
        spoken = {12: "One", 11: "Two", 21: "Three", 22: "Four", 31: "Five", 32: "Six"}
        rows = [{"id": one, "caption": text} for one, text in spoken.items()]
        (tmp_path / "spoken.json").write_text(json.dumps({"annotations": rows}))
        arguments = ("--data", folder, "--annotations", tmp_path / "spoken.json")

        status, _, err = run("extended", scores.folder, *arguments)
        assert status == 1
        assert "other images or captions" in err

        from zoo.data.dataset import open_dataset
        from zoo.scores import listing_fingerprint

        dataset = open_dataset(folder, "test")
        listing = listing_fingerprint(dataset.image_ids, dataset.captions, dataset.pairs)
        told = {"image_ids": dataset.image_ids, "listing": listing}
        same = save(tmp_path / "same", scores.scores, scores.pairs, **told)
        status, out, _ = run("extended", same.folder, *arguments)
        assert status == 0
        assert "captions told by text" in out

    @pytest.mark.usefixtures("package")
    def test_scores_of_other_images_are_refused(self, run, weak):
        """CxC and ECCV Caption are of one split of COCO."""
        status, _, err = run("extended", weak)

        assert status == 1
        assert "are missing" in err

    @pytest.mark.usefixtures("package")
    def test_texts_need_both_sides(self, run, scores, tmp_path):
        """Annotations alone say nothing of the columns."""
        status, _, err = run("extended", scores.folder, "--annotations", tmp_path / "spoken.json")

        assert status == 1
        assert "Give both --data and --annotations" in err

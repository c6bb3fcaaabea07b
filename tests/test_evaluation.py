"""A measurement is of the whole split, in the data set's order, and says what it was made on."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import zoo
from photo_models import photo_model
from tiny import FEATURES, tiny_model
from zoo.components import build
from zoo.errors import DataError, InputError
from zoo.evaluation import split_scores
from zoo.evaluation.measuring import evaluate
from zoo.evaluation.split_scores import score_dataset
from zoo.vision.extraction import extract


@pytest.fixture
def model():
    """Reads photographs; untrained."""
    return photo_model()


@pytest.fixture
def dataset(data_folder):
    """Six photographs, twelve captions."""
    return zoo.open_dataset(data_folder, "test")


def test_scores_stand_in_the_order_of_the_data_set(model, dataset):
    """Captions are encoded by length, images in blocks, and neither shows."""
    model.image_block, model.text_block = 4, 5
    images = model.encode_images(list(dataset.image_paths))
    texts = model.encode_texts(list(dataset.captions))

    assert_close(score_dataset(model, dataset), model.score(images, texts))


def test_a_measurement_can_be_made_again(model, dataset):
    """The same figures, and the same fingerprint of the data."""
    first, second = evaluate(model, dataset), evaluate(model, dataset)

    assert first.metrics == second.metrics
    assert first.data_fingerprint == dataset.fingerprint
    assert (first.images, first.captions, first.ties) == (6, 12, "against")
    assert first.to_json()["protocol"] == "6 images, 12 captions, no folds"


@pytest.mark.parametrize("able", [True, False])
def test_ranks_do_not_depend_on_what_the_machine_multiplies(model, dataset, monkeypatch, able):
    """Exact scoring where it can be had, float32 elsewhere; the record says which it was."""
    model.image_block, model.text_block = 4, 5
    monkeypatch.setattr(split_scores, "multiplies_bfloat16", lambda _: able)

    measured = evaluate(model, dataset)

    assert measured.precision == ("exact" if able else "float32")
    plain = evaluate(model, dataset, precision="float32")
    assert plain.precision == "float32"
    assert measured.metrics == plain.metrics


def test_a_method_without_a_scan_is_scored_in_float32(model, dataset, monkeypatch):
    """CHAN's soft coding has none."""
    monkeypatch.setattr(split_scores, "multiplies_bfloat16", lambda _: True)
    model.aligner = build("aligner", {"type": "hard_alignment", "coding": "vsa"})

    assert evaluate(model, dataset).precision == "float32"


def test_saved_scores_are_float32(model, dataset, tmp_path):
    """They may be averaged with others: exact scoring would leave most of them approximate."""
    assert evaluate(model, dataset, save_scores=tmp_path / "scores").precision == "float32"
    with pytest.raises(InputError, match="Scores that are saved, or shown on a page, are float32"):
        evaluate(model, dataset, precision="exact", save_scores=tmp_path / "others")
    assert not (tmp_path / "others").exists()


def test_its_six_parts_add_up(model, dataset):
    """Also after they were rounded to two decimals."""
    metrics = evaluate(model, dataset).to_json()["metrics"]
    parts = [metrics[f"{way}_r{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10)]

    assert metrics["rsum"] == pytest.approx(sum(parts), abs=0.05)


def test_stored_features_stand_in_for_photographs(model, dataset, data_folder, tmp_path):
    """In float32 they give the scores of the photographs."""
    extract(dataset.image_paths, tmp_path / "store", model.extractor, dtype="float32")
    stored = zoo.open_dataset(data_folder, "test", features=tmp_path / "store")

    assert_close(score_dataset(model, stored), score_dataset(model, dataset))


def test_features_of_another_extractor_are_refused(model, data_folder, dataset, tmp_path):
    """They have the right shape and would give a wrong number."""
    extract(dataset.image_paths, tmp_path / "store", model.extractor)
    stored = zoo.open_dataset(data_folder, "test", features=tmp_path / "store")
    with torch.no_grad():
        model.extractor.backbone.head.bias += 1

    with pytest.raises(InputError, match=r"made by an extractor with the weights .* --model NAME"):
        evaluate(model, stored)


def test_features_of_another_dim_give_way_to_photographs(model, data_folder, dataset, tmp_path):
    """They are not the model's; the measurement is that of the photographs, its record too."""
    folder = shutil.copytree(data_folder, tmp_path / "data")
    np.save(folder / "test_ims.npy", torch.randn(6, 5, FEATURES).numpy())
    both = zoo.open_dataset(folder, "test")
    assert both.features is not None

    assert evaluate(model, both).metrics == evaluate(model, dataset).metrics
    assert evaluate(model, both).data_fingerprint == dataset.fingerprint
    assert evaluate(tiny_model(), both).data_fingerprint == both.fingerprint


def test_a_data_set_that_the_model_cannot_read_is_refused(model, dataset, tmp_path):
    """The message has the dim found and the dim wanted."""
    with pytest.raises(DataError, match=r"no features and pictures, .* of dim 12\. Give such"):
        evaluate(tiny_model(), dataset)
    write = {"test_ids.txt": "a\nb\n", "test_caps.txt": "one\ntwo\n"}
    for name, text in write.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match="no features and no pictures"):
        evaluate(model, zoo.open_dataset(tmp_path, "test"))
    np.save(tmp_path / "test_ims.npy", np.arange(70, dtype="f4").reshape(2, 5, 7))
    with pytest.raises(DataError, match=r"of dim 7 .* of dim 1280 or photographs"):
        evaluate(model, zoo.open_dataset(tmp_path, "test"))


def test_progress_tells_what_is_done(model, dataset):
    """Images, captions and pairs, each up to its total."""
    done: dict[str, list[int]] = {}

    def advance(what, by, total):
        done[what] = [done.get(what, [0])[0] + by, total]

    evaluate(model, dataset, advance=advance)

    assert done == {"images": [6, 6], "captions": [12, 12], "score": [72, 72]}

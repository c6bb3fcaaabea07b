"""Checkpoints in the layout of TVRN's released program score as that program does."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import zoo
from test_tvrn import (
    CAPTIONS,
    VOCABULARY,
    Weights,
    checkpoint,
    neighbours,
    released_scores,
    some_regions,
)
from zoo.data.vocabulary import Vocabulary
from zoo.errors import InputError, WeightsError
from zoo.importers import import_checkpoint

LEFT_OUT = {
    *(f"{name}.{part}" for name in ("fcv", "scan_attention.fcv") for part in ("weight", "bias")),
    *("sim_trancon_w.weight", "sim_trancon_w.bias"),
    *("v_global_w.embedding_common.0.bias", "t_global_w.embedding_common.0.bias"),
}
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def save(path: Path, parts: tuple[Weights, Weights, Weights], **options: object) -> Path:
    """A checkpoint with the released program's default options, unless others are given."""
    defaults = {
        "data_name": "f30k_precomp",
        "no_imgnorm": False,
        "no_txtnorm": False,
        "focal_type": "glo",
        "module_name": "SGR",
    }
    saved = {
        "epoch": 31,
        "model": [dict(part) for part in parts],
        "best_rsum": np.float64(490.2),
        "opt": argparse.Namespace(**{**defaults, **options}),
        "Eiters": 14000,
    }
    torch.save(saved, path)
    return path


@pytest.fixture
def words(tmp_path) -> Path:
    """The vocabulary of the checkpoints, as SCAN's programs keep it."""
    path = tmp_path / "f30k_precomp_vocab.json"
    path.write_text(VOCABULARY.to_json())
    return path


@pytest.mark.parametrize(
    ("head", "name"), [("sgr", "tvrn-f30k.bigru_butd_sgr"), ("saf", "tvrn-f30k.bigru_butd_saf")]
)
def test_a_checkpoint_scores_as_the_released_program(tmp_path, words, head, name):
    """Through file, importer and model folder, in float32; every tensor is accounted for."""
    parts, images = checkpoint(head), some_regions(36, 36, 36)
    near = [neighbours(boxes) for boxes in images.boxes]

    found = import_checkpoint("tvrn", save(tmp_path / "a.pth.tar", parts), vocabulary=words)

    model = zoo.load(f"local-dir:{found.model.save(tmp_path / 'model')}")
    scores = model.score(model.encode_images(images), model.encode_texts(CAPTIONS))
    expected = released_scores(parts, images, near, CAPTIONS)
    assert expected.std() > 1e-3
    assert_close(scores.double(), expected, rtol=0, atol=1e-4)
    assert (model.config.name, found.imported.card) == (name, name)
    assert (model.image_block, model.text_block) == (100, 100)
    account = found.imported.account
    keys = {f"SGR_module.{step}.graph_key_w.bias" for step in range(3)}
    norm = {f"SAF_module.bn.{part}" for part in BATCH_NORM}
    left_out = LEFT_OUT | (keys if head == "sgr" else norm)
    assert {one.removeprefix("similarity ") for one in account.ignored} == left_out
    assert len(set(account.origins.values())) + len(account.ignored) == sum(map(len, parts))


def test_scores_of_a_released_model_are_said_to_depend_on_company(tmp_path, words):
    """A user is told, and where the letter of the released evaluation is."""
    found = import_checkpoint("tvrn", save(tmp_path / "a.pth", checkpoint("saf")), vocabulary=words)

    said = " ".join(found.imported.notes)
    assert "which image is the first of its block of 100" in said
    assert "score_as_released" in said


@pytest.mark.parametrize(
    ("change", "words_of_error"),
    [
        ({"fcz.weight": torch.zeros(1)}, "holds similarity fcz.weight, which has no place"),
        (
            {"SGR_module.7.sim_graph_w.bias": torch.zeros(4)},
            "lacks similarity SGR_module.7.graph_q",
        ),
        ({"SAF_module.attn_sim_w.bias": torch.zeros(1)}, "holds similarity SAF_module.attn_sim_w"),
        ({"sim_eval_w.bias": torch.zeros(2)}, r"sim_eval_w.bias is \(2,\), wanted \(1,\)"),
        ({"sim_tranloc_w.weight": torch.zeros(4)}, "where 2 axes are wanted"),
    ],
)
def test_a_checkpoint_of_another_program_is_refused(tmp_path, words, change, words_of_error):
    """SGRAF's has most of the same names."""
    image, text, between = checkpoint("sgr")
    path = save(tmp_path / "a.pth", (image, text, Weights(between | change)))

    with pytest.raises(WeightsError, match=words_of_error):
        import_checkpoint("tvrn", path, vocabulary=words)


def test_a_batch_norm_that_cannot_be_folded_is_refused(tmp_path, words):
    """Of more channels than one, or absent."""
    image, text, between = checkpoint("saf")
    wide = Weights(between | {"SAF_module.bn.bias": torch.zeros(3)})
    less = Weights({name: one for name, one in between.items() if name != "SAF_module.bn.weight"})

    for changed, said in (
        (wide, "holds 3 numbers where one"),
        (less, "lacks similarity SAF_module"),
    ):
        with pytest.raises(WeightsError, match=said):
            import_checkpoint(
                "tvrn", save(tmp_path / "a.pth", (image, text, changed)), vocabulary=words
            )


@pytest.mark.parametrize("options", [{"focal_type": "prob"}, {"no_imgnorm": True}])
def test_options_that_the_zoo_does_not_have_are_refused(tmp_path, words, options):
    """They change what the weights compute."""
    path = save(tmp_path / "a.pth", checkpoint("saf"), **options)

    with pytest.raises(WeightsError, match=f"was made with {next(iter(options))} "):
        import_checkpoint("tvrn", path, vocabulary=words)


def test_the_vocabulary_must_be_given(tmp_path):
    """A TVRN checkpoint does not have its words."""
    with pytest.raises(InputError, match=r"does not say of which words.*--vocab FILE"):
        import_checkpoint("tvrn", save(tmp_path / "a.pth", checkpoint("saf")))


def test_no_mask_is_made_up_for_a_word_that_is_missing(tmp_path, words):
    """TVRN has none: a vocabulary of one word less is another one."""
    words.write_text(Vocabulary(VOCABULARY.words[:-1]).to_json())

    with pytest.raises(WeightsError, match="word embeddings and the vocabulary"):
        import_checkpoint("tvrn", save(tmp_path / "a.pth", checkpoint("saf")), vocabulary=words)

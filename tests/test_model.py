"""What a user does with a model: encode, score, and read what went wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tiny import CAPTIONS, FEATURES, tiny_model
from zoo import Regions
from zoo.errors import InputError


@pytest.fixture
def model():
    """A small CHAN."""
    return tiny_model()


def test_scoring_in_blocks_changes_no_number(model):
    """Bounded memory is free."""
    images = model.encode_images(torch.randn(7, 5, FEATURES))
    texts = model.encode_texts(CAPTIONS)
    whole = model.score(images, texts)

    model.image_block, model.text_block = 2, 3

    assert whole.shape == (7, 4)
    assert_close(model.score(images, texts), whole)


def test_features_come_in_four_forms(model):
    """A tensor, an array, a list of arrays, and the record."""
    features = torch.randn(3, 5, FEATURES)
    forms = [
        features,
        features.numpy(),
        [row.numpy() for row in features],
        Regions(features, torch.ones(3, 5, dtype=torch.bool)),
    ]

    for form in forms:
        encoded = model.encode_images(form)
        assert_close(encoded.embeddings, model.encode_images(features).embeddings)


def test_encoding_in_batches_changes_no_number(model):
    """Captions of several lengths, images of several numbers of regions."""
    images = [np.random.default_rng(n).normal(size=(n, FEATURES)) for n in (1, 5, 3)]

    for size in (1, 2):
        few = model.encode_images(images, batch_size=size).embeddings
        assert_close(few, model.encode_images(images).embeddings, atol=1e-6, rtol=1e-5)
        few = model.encode_texts(CAPTIONS, batch_size=size).embeddings
        assert_close(few, model.encode_texts(CAPTIONS).embeddings, atol=1e-6, rtol=1e-5)


def test_encoding_leaves_the_mode_as_it_was(model):
    """Dropout is off while encoding, and on again afterwards."""
    model.train()
    model.encode_texts(CAPTIONS)

    assert model.training
    assert model.text_encoder.training


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("beach.jpg", r"One item was given \('beach.jpg'\) where a list of images is wanted"),
        ([], "There are no images to encode"),
        (["beach.jpg"], "chan-tiny reads region features and has no extractor for pictures"),
        (torch.zeros(2, 5, 7), r"\(5, 7\)|\(2, 5, 7\)"),
        ([np.full((2, FEATURES), np.nan)], "features of image 0 hold NaN"),
        ([np.ones((2, FEATURES))] * 40 + [np.zeros((0, FEATURES))], "Image 40 has no regions"),
        ([object()], "Image 0 is a object"),
        (None, "given as NoneType, which is no list of images"),
        ({"a": "beach.jpg"}, "given as dict"),
        (
            Regions(torch.zeros(1, 4, FEATURES), torch.ones(1, 4)),
            r"mask is \(1, 4\) of torch.float32 where \(1, 4\) of torch.bool is wanted",
        ),
        (
            Regions(torch.zeros(1, 4, FEATURES), torch.ones(1, 3, dtype=torch.bool)),
            r"mask is \(1, 3\)",
        ),
    ],
)
def test_bad_images_are_refused_by_their_position(model, items, message):
    """What was found, and what to pass instead."""
    with pytest.raises(InputError, match=message):
        model.encode_images(items)


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ("a dog", r"One item was given \('a dog'\) where a list of captions is wanted"),
        ([], "There are no captions"),
        (["a dog", ""], "Caption 1"),
        (["a dog", 3], "Caption 1"),
    ],
)
def test_bad_captions_are_refused_by_their_position(model, captions, message):
    """An empty caption has no words to compare."""
    with pytest.raises(InputError, match=message):
        model.encode_texts(captions)


@pytest.mark.parametrize("make", [iter, set])
def test_what_is_no_sequence_is_to_be_made_a_list(model, make):
    """A generator would be used up by the first look; a set has no order to score in."""
    with pytest.raises(InputError, match=r"given as \w+, .* list\(captions\)"):
        model.encode_texts(make(CAPTIONS))
    with pytest.raises(InputError, match=r"given as \w+, .* list\(images\)"):
        model.encode_images(make(["beach.jpg"]))


def test_a_score_that_is_not_finite_names_its_pair(model):
    """Broken weights cannot pass for a ranking."""
    images = model.encode_images(torch.randn(3, 5, FEATURES))
    images.embeddings[2] = torch.nan

    with pytest.raises(InputError, match="The score of image 2 with text 0 is nan"):
        model.score(images, model.encode_texts(CAPTIONS))


def test_progress_is_told_item_by_item(model):
    """A caller can draw a bar."""
    seen = []
    model.encode_images(torch.randn(5, 5, FEATURES), batch_size=2, advance=seen.append)

    assert seen == [2, 2, 1]


def test_features_of_another_precision_are_read(model):
    """In a record too."""
    features = torch.randn(2, 5, FEATURES)
    double = Regions(features.double(), torch.ones(2, 5, dtype=torch.bool))

    assert_close(model.encode_images(double).embeddings, model.encode_images(features).embeddings)


def test_items_are_encoded_before_they_are_scored(model):
    """The message names the call that is missing."""
    texts = model.encode_texts(CAPTIONS)

    with pytest.raises(InputError, match=r"given a list .* first: model\.encode_images"):
        model.score(["beach.jpg"], texts)
    with pytest.raises(InputError, match=r"first: model\.encode_texts"):
        model.score(texts, CAPTIONS)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_has_at_least_one_item(model, size):
    """Else nothing would ever be encoded."""
    with pytest.raises(InputError, match=f"batch_size is {size}"):
        model.encode_texts(CAPTIONS, batch_size=size)
    with pytest.raises(InputError, match=f"batch_size is {size}"):
        model.encode_images(torch.randn(2, 5, FEATURES), batch_size=size)


def test_captions_of_any_order_are_encoded_by_length(monkeypatch):
    """In batches that are no wider than they must be, and given back in their order."""
    model, widths = tiny_model(), []
    captions = ["a dog runs on the green grass", "a dog", *CAPTIONS, "water", "a man rides"]
    monkeypatch.setattr(
        model.text_encoder,
        "prepare",
        lambda items, prepare=model.text_encoder.prepare: (
            widths.append(prepared := prepare(items)) or prepared
        ),
    )

    together = model.encode_texts(captions, batch_size=3)

    assert [batch.ids.shape[1] for batch in widths] == sorted(b.ids.shape[1] for b in widths)
    assert widths[0].ids.shape[1] < widths[-1].ids.shape[1]
    for row, caption in enumerate(captions):
        alone = model.encode_texts([caption])
        real = alone.mask.sum()
        assert together.mask[row].sum() == real
        assert_close(together.embeddings[row, :real], alone.embeddings[0, :real])


@pytest.mark.parametrize("bad", [7, "  ", None])
def test_a_caption_that_is_none_is_named_by_its_place(bad):
    """In the list that was given, not in the order of encoding."""
    with pytest.raises(InputError, match="Caption 4 is"):
        tiny_model().encode_texts([*CAPTIONS, bad, *CAPTIONS], batch_size=2)


@pytest.mark.parametrize(("coding", "blocks"), [("vha", 16), ("tha", 16), ("vsa", 1)])
def test_more_images_are_scored_at_once_where_kernels_store_codes_alone(
    coding, blocks, monkeypatch
):
    """A block that suits a CPU would leave most of a GPU idle; numbers stay as they are."""
    model = tiny_model(aligner={"type": "hard_alignment", "coding": coding})
    model.image_block = 2
    images = model.encode_images(torch.randn(7, 5, FEATURES))
    texts = model.encode_texts(CAPTIONS)
    in_blocks = model.score(images, texts)
    assert model.images_at_once == 2

    monkeypatch.setattr("zoo_chan.model.uses_triton", lambda _: True)

    assert model.images_at_once == 2 * blocks
    assert_close(model.score(images, texts), in_blocks)

"""A protocol is a choice of rows and columns of one matrix, and says what it chose."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.errors import InputError
from zoo.metrics import retrieval_report
from zoo.protocols import PROTOCOLS, Protocol, choose_protocol, folds_of, measure


def random_split(images=20, captions=5, seed=0):
    """Scores with something in them, and the pairs of so many captions an image."""
    columns = np.arange(images * captions)
    pairs = np.stack([columns // captions, columns], 1)
    scores = np.random.default_rng(seed).standard_normal((images, len(columns))).astype("float32")
    scores[pairs[:, 0], pairs[:, 1]] += 1.5
    return scores, pairs


def test_folds_are_those_cut_by_hand():
    """Every metric is the mean over consecutive parts, median and mean ranks too."""
    scores, pairs = random_split()

    measured = measure(scores, pairs, Protocol(folds=4))

    parts = [scores[5 * n : 5 * n + 5, 25 * n : 25 * n + 25] for n in range(4)]
    reports = [retrieval_report(part, pairs[:25]) for part in parts]
    assert measured.metrics.keys() == reports[0].keys()
    for name, value in measured.metrics.items():
        assert value == pytest.approx(np.mean([report[name] for report in reports]), abs=1e-9)
    assert measured.words == "4 folds of 5 images, 100 captions in all"
    assert (measured.images, measured.captions, len(measured.ranks)) == (20, 100, 4)


def test_coco_1k_is_five_folds_of_the_5k_matrix():
    """As the field defines it: images 1000 k on, with their five captions each."""
    assert PROTOCOLS["coco-1k"] == Protocol(5, 5000, 5, "coco-1k")

    columns = np.arange(25_010)
    images = np.minimum(columns // 5, 4999)  # the last image has fifteen captions
    folds = folds_of(PROTOCOLS["coco-1k"], np.stack([images, columns], 1), (5000, 25_010))

    for number, (rows, texts) in enumerate(folds):
        assert rows.tolist() == list(range(1000 * number, 1000 * number + 1000))
        assert texts.tolist() == list(range(5000 * number, 5000 * number + 5000))


def test_the_first_captions_of_each_image_are_kept():
    """25,000 of COCO's 25,010 are so; captions may lie in any order."""
    scores, _ = random_split(2, 4)
    pairs = np.array([[1, 0], [0, 1], [0, 2], [1, 3], [0, 4], [1, 5], [0, 6], [1, 7]])

    measured = measure(scores, pairs, Protocol(captions=2))

    kept = [0, 1, 2, 3]
    assert measured.metrics == retrieval_report(scores[:, kept], [[1, 0], [0, 1], [0, 2], [1, 3]])
    assert measured.words == "2 images, 4 of 8 captions, no folds"


def test_the_first_images_are_kept_with_their_captions():
    """Of the 1,014 of Flickr30K's dev split the field takes a thousand."""
    scores, pairs = random_split()

    measured = measure(scores, pairs, Protocol(images=8))

    assert measured.metrics == retrieval_report(scores[:8, :40], pairs[:40])
    assert measured.words == "8 of 20 images, 40 of 100 captions, no folds"


def test_a_caption_of_two_images_is_measured_in_the_fold_of_each():
    """There it has the matches that the fold has."""
    scores = np.random.default_rng(0).standard_normal((4, 4))
    pairs = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [3, 0]])

    measured = measure(scores, pairs, Protocol(folds=2))

    second = retrieval_report(scores[2:][:, [0, 2, 3]], [[0, 1], [1, 2], [1, 0]])
    first = retrieval_report(scores[:2, :2], [[0, 0], [1, 1]])
    assert measured.metrics["rsum"] == pytest.approx((first["rsum"] + second["rsum"]) / 2)


@pytest.mark.parametrize(
    ("dataset", "images", "captions", "protocol", "name"),
    [
        ("f8k", 1000, 5, "auto", "f8k"),
        ("f30k", 1000, 5, "auto", "f30k-1k"),
        ("mine", 1000, 5, "auto", "own"),
        ("mine", 1000, 5, "f30k-1k", "f30k-1k"),
        ("f30k", 1014, 5, "auto", "own"),
        ("f30k", 1014, 5, "f30k-1k", "f30k-1k"),
        ("coco", 1000, 5, "auto", "own"),
        ("f8k", 1000, 1, "f8k", "own"),
    ],
)
def test_a_name_stands_for_what_was_done(dataset, images, captions, protocol, name):
    """Whether it was asked for or found; a fold or a caption less has another name."""
    columns = np.arange(images * captions)
    pairs = np.stack([columns // captions, columns], 1)
    scores = np.zeros((images, len(columns)), "float32")

    measured = measure(scores, pairs, choose_protocol(protocol), dataset=dataset)

    assert measured.name == name


def test_what_is_given_beside_a_protocol_takes_its_place():
    """And then the result no longer goes by its name, unless it is the same thing."""
    assert choose_protocol() == Protocol()
    assert choose_protocol("coco-1k", captions="all") == Protocol(5, 5000, None)
    assert choose_protocol("coco-5k", folds=10) == Protocol(10, 5000, 5)
    assert choose_protocol(images=3, folds=3) == Protocol(3, 3)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (Protocol(folds=3), r"20 images do not part into 3 folds.*divides"),
        (PROTOCOLS["coco-5k"], r"coco-5k takes 5,000 images, and the split has 20\. Choose"),
        (Protocol(images=21), r"that was given takes 21 images, and the split has 20\."),
    ],
)
def test_a_split_that_a_protocol_does_not_fit_is_refused(protocol, message):
    """With the counts."""
    with pytest.raises(InputError, match=message):
        measure(*random_split(), protocol)


def test_numbers_below_one_and_unknown_names_are_refused():
    """With what to give."""
    with pytest.raises(InputError, match=r"folds=0\. Give a number from 1 on"):
        Protocol(folds=0)
    with pytest.raises(InputError, match=r"'coco1k'\. Did you mean 'coco-1k'"):
        choose_protocol("coco1k")


def test_a_data_set_has_no_name_of_another_ones_table():
    """Flickr8k's test split has the counts of Flickr30K's; a folder of any other name may be it."""
    scores = np.zeros((1000, 5000), np.float32)
    pairs = np.stack([np.arange(5000) // 5, np.arange(5000)], 1)
    f30k = choose_protocol("f30k-1k")

    names = [measure(scores, pairs, f30k, dataset=name).name for name in ("f8k", "f30k", "mine")]

    assert names == ["own", "f30k-1k", "f30k-1k"]

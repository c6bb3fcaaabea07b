"""How sure a figure is: intervals and tests from ranks."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from saved_scores import pairs_of
from zoo.errors import InputError
from zoo.evaluation.statistics import FIGURES, intervals, paired_test, tally
from zoo.metrics import ranks_report, retrieval_ranks

FIVE_EACH = pairs_of(60, 5)


def ranks_of(seed, strength=1.5, pairs=FIVE_EACH, shape=(60, 300)):
    """Of random scores where what belongs together scores `strength` more."""
    scores = np.random.default_rng(seed).normal(size=shape)
    scores[pairs[:, 0], pairs[:, 1]] += strength
    return retrieval_ranks(scores, pairs)


def by_loop(ranks, drawn):
    """The recalls over drawn images and their captions, by going through them one by one."""
    found = {name: [] for name in FIGURES[:-1]}
    for image in drawn:
        captions = ranks.pairs[ranks.pairs[:, 0] == image, 1]
        for k in (1, 5, 10):
            found[f"i2t_r{k}"].append(ranks.images[image] < k)
            found[f"t2i_r{k}"] += [ranks.texts[caption] < k for caption in captions]
    recalls = [100 * float(np.mean(values)) for values in found.values()]
    return [*recalls, sum(recalls)]


def test_every_image_once_gives_the_figures_that_are_reported():
    """The figures beside the intervals are those of `ranks_report`, also many to many."""
    pairs = np.array([[0, 0], [0, 1], [1, 1], [2, 1], [2, 2], [3, 3]])
    for ranks in (ranks_of(0), ranks_of(1, 0.3, pairs, (4, 4))):
        report = ranks_report(ranks)
        found = intervals([ranks], samples=20)
        assert {name: found[name].figure for name in FIGURES} == pytest.approx(
            {name: report[name] for name in FIGURES}
        )


def test_a_drawn_image_brings_its_captions():
    """Weighted sums give what a loop over the drawn images and their captions gives."""
    pairs = FIVE_EACH[np.random.default_rng(0).random(300) < 0.7]
    columns, pairs[:, 1] = np.unique(pairs[:, 1], return_inverse=True)
    ranks = ranks_of(2, 1.0, pairs, (60, len(columns)))  # images with one to five captions
    drawn = np.random.default_rng(1).integers(0, 60, 60)

    figures = tally(ranks).figures(np.bincount(drawn, minlength=60)[None].astype(float))

    assert figures[0].tolist() == pytest.approx(by_loop(ranks, drawn))


def test_the_interval_is_that_of_a_bootstrap_by_hand():
    """Low and high are percentiles over drawn images, to what chance leaves open."""
    ranks, generator = ranks_of(3), np.random.default_rng(5)
    slow = [by_loop(ranks, generator.integers(0, 60, 60))[-1] for _ in range(400)]

    fast = intervals([ranks], samples=4000)["rsum"]

    low, high = np.quantile(slow, [0.025, 0.975])
    assert low == pytest.approx(fast.low, abs=6)
    assert high == pytest.approx(fast.high, abs=6)
    assert fast.low < fast.figure < fast.high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    """Of models whose R@1 is known, about nine in ten 90 % intervals hold it."""
    truth, covered = 40.0, 0
    generator = np.random.default_rng(0)
    pairs = pairs_of(200, 1)
    template = ranks_of(0, 1.0, pairs, (200, 200))
    for _ in range(100):
        found = np.where(generator.random(200) < truth / 100, 0, 50)
        ranks = type(template)(found, found, pairs)
        interval = intervals([ranks], samples=200, level=0.9)["i2t_r1"]
        covered += interval.low <= truth <= interval.high
    assert 82 <= covered <= 97


def test_captions_of_one_image_are_not_taken_for_independent():
    """Where all captions of an image fare alike, more captions make no interval narrower."""
    alike = np.random.default_rng(0).integers(0, 2, 60) * 50
    widths = []
    for captions in (1, 5):
        ranks = type(ranks_of(0))(alike, np.repeat(alike, captions), pairs_of(60, captions))
        found = intervals([ranks], samples=2000)["t2i_r1"]
        widths.append(found.high - found.low)
    assert widths[0] == pytest.approx(widths[1])


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    """Intervals and p-values can be made again."""
    first, second = ranks_of(0), ranks_of(1)

    one, same, other = (
        paired_test([first], [second], samples=500, seed=seed) for seed in (1, 1, 2)
    )

    assert one == same
    assert one != other
    assert intervals([first], samples=500) == intervals([first], samples=500)


def test_a_model_against_itself_differs_by_nothing():
    """The difference and its interval are 0, and p is 1."""
    ranks = ranks_of(0)

    for found in paired_test([ranks], [ranks], samples=200).values():
        assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_p_is_that_of_mcnemars_exact_test_for_images():
    """R@1 of images: the test swaps just the images that one model alone finds."""
    generator = np.random.default_rng(3)
    pairs, kind = pairs_of(80, 1), type(ranks_of(0))
    first, second = (np.where(generator.random(80) < share, 0, 3) for share in (0.4, 0.52))
    ahead, behind = (
        int(((second == 0) & (first > 0)).sum()),
        int(((first == 0) & (second > 0)).sum()),
    )
    apart = ahead + behind
    tail = sum(comb(apart, k) for k in range(min(ahead, behind) + 1)) / 2**apart

    found = paired_test([kind(first, first, pairs)], [kind(second, second, pairs)], samples=20_000)[
        "i2t_r1"
    ]

    assert 0.005 < tail < 0.2
    assert found.p == pytest.approx(2 * tail, rel=0.1)
    assert found.difference == pytest.approx(100 * (ahead - behind) / 80)


def test_chance_alone_seldom_gives_a_small_p():
    """Of models that do not differ, about one in ten has p below 0.1."""
    found = [
        paired_test([ranks_of(2 * seed)], [ranks_of(2 * seed + 1)], samples=200)["rsum"].p
        for seed in range(100)
    ]
    assert 2 <= sum(p < 0.1 for p in found) <= 19


def test_a_model_that_is_better_is_told_from_chance():
    """A difference that is there: p is small, and the interval does not reach 0."""
    found = paired_test([ranks_of(0, 1.0)], [ranks_of(0, 2.5)], samples=1000)["rsum"]

    assert found.difference == pytest.approx(found.second - found.first)
    assert found.p < 0.01
    assert 0 < found.low < found.difference < found.high


def test_the_same_drawn_images_are_used_for_both_models():
    """A model that finds one image more has a narrow difference, however wide its own interval."""
    ranks = ranks_of(0)
    better = type(ranks)(ranks.images.copy(), ranks.texts, ranks.pairs)
    better.images[np.flatnonzero(better.images > 9)[0]] = 0

    found = paired_test([ranks], [better], samples=1000)["i2t_r1"]
    alone = intervals([ranks], samples=1000)["i2t_r1"]

    assert found.high - found.low < (alone.high - alone.low) / 3


def test_folds_are_averaged_and_images_drawn_within_theirs():
    """Figures are the mean over folds; two equal folds narrow the interval by the root of two."""
    folds = [ranks_of(0), ranks_of(1, 2.5)]

    both = intervals(folds, samples=300)
    one, two = (intervals([fold], samples=4000)["rsum"] for fold in (folds[0], folds[0]))
    pair = intervals([folds[0], folds[0]], samples=4000)["rsum"]

    means = [np.mean([ranks_report(fold)[name] for fold in folds]) for name in FIGURES]
    assert [both[name].figure for name in FIGURES] == pytest.approx(means)
    assert pair.high - pair.low == pytest.approx((one.high - one.low) / 2**0.5, rel=0.1)
    assert one == two


def test_other_queries_and_impossible_settings_are_refused():
    """Other captions, a level that is no share, no samples: each said in words."""
    pairs = FIVE_EACH[:-1]
    with pytest.raises(InputError, match="not measured on the same queries"):
        paired_test([ranks_of(0)], [ranks_of(0, 1.0, pairs, (60, 299))], samples=10)
    with pytest.raises(InputError, match="The level 95 is no share"):
        intervals([ranks_of(0)], samples=10, level=95)
    with pytest.raises(InputError, match="0 samples"):
        intervals([ranks_of(0)], samples=0)

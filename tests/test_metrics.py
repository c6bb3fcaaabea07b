"""Ranks and recall, as the field reports them."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import InputError
from zoo.metrics import ROWS, retrieval_ranks, retrieval_report

FIVE_CAPTIONS_EACH = np.stack([np.arange(100) // 5, np.arange(100)], 1)


def by_sorting(scores, matches):
    """Ranks by an explicit sort that puts each match behind every equal candidate."""
    ranks = []
    for row, belongs in zip(scores.tolist(), matches.tolist(), strict=True):
        order = sorted(zip(row, belongs, strict=True), key=lambda pair: (-pair[0], pair[1]))
        ranks.append(next(place for place, (_, match) in enumerate(order) if match))
    return ranks


def as_the_field(scores, matches, kind="stable"):
    """The loop of the field's programs: sort ascending, reverse, take the first match's place."""
    ranks = []
    for row, belongs in zip(scores, matches, strict=True):
        order = np.argsort(row, kind=kind)[::-1]
        ranks.append(min(int(np.where(order == match)[0][0]) for match in np.flatnonzero(belongs)))
    return ranks


def ragged_case(images, texts, seed, values=4):
    """Scores with many ties, and matches many to many; each image and text has one at least."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, values, (images, texts)).astype("float32")
    matches = generator.random((images, texts)) < 0.2
    matches[np.arange(images), generator.integers(0, texts, images)] = True
    matches[generator.integers(0, images, texts), np.arange(texts)] = True
    return scores, matches, generator.permutation(np.argwhere(matches))


def test_a_perfect_matrix_has_full_recall():
    """One of five captions in the top place is enough."""
    perfect = np.eye(20).repeat(5, axis=1)
    report = retrieval_report(perfect, FIVE_CAPTIONS_EACH)

    assert report["rsum"] == pytest.approx(600)
    assert (report["i2t_medr"], report["t2i_meanr"]) == (1, 1)


def test_a_constant_score_earns_nothing():
    """Ties count against the match."""
    report = retrieval_report(np.zeros((20, 100)), FIVE_CAPTIONS_EACH)

    assert report["rsum"] == 0
    assert (report["i2t_medr"], report["t2i_medr"]) == (96, 20)


def test_ranks_by_hand():
    """Image 0 ranks its caption third; image 1 has two captions, the better one second."""
    ranks = retrieval_ranks([[0.1, 0.2, 0.3], [0.9, 0.5, 0.8]], [[0, 0], [1, 1], [1, 2]])

    assert ranks.images.tolist() == [2, 1]
    assert ranks.texts.tolist() == [1, 0, 0]


def test_the_median_rank_is_floored_before_one_is_added():
    """Zero-based ranks 0 and 3 have the median 1.5, which the field prints as 2."""
    scores = [[4.0, 3, 2, 1], [4, 3, 2, 1]]

    report = retrieval_report(scores, [[0, 0], [0, 1], [0, 2], [1, 3]])

    assert (report["i2t_medr"], report["i2t_meanr"]) == (2, 2.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_counting_equals_sorting(images, texts, seed):
    """Also where many scores are equal, and images and texts have several matches."""
    scores, matches, pairs = ragged_case(images, texts, seed)

    with patch("zoo.metrics.ROWS", 4):
        ranks = retrieval_ranks(scores, pairs)

    assert ranks.images.tolist() == by_sorting(scores, matches)
    assert ranks.texts.tolist() == by_sorting(scores.T, matches.T)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 10_000))
def test_legacy_ties_are_those_of_a_reversed_sort(images, texts, seed):
    """Among equal scores the highest number ranks first, whoever it belongs to."""
    scores, matches, pairs = ragged_case(images, texts, seed)

    with patch("zoo.metrics.ROWS", 4):
        ranks = retrieval_ranks(scores, pairs, "legacy")

    assert ranks.images.tolist() == as_the_field(scores, matches)
    assert ranks.texts.tolist() == as_the_field(scores.T, matches.T)


def test_without_ties_every_policy_equals_the_field():
    """On more rows than are looked at at once, by numpy's own choice of a sort."""
    generator = np.random.default_rng(0)
    images = ROWS + 44
    scores = generator.standard_normal((images, 5 * images)).astype("float32")
    captions = np.arange(5 * images)
    scores[captions // 5, captions] += 1
    matches = np.arange(images)[:, None] == captions // 5
    pairs = np.stack([captions // 5, captions], 1)

    for ties in ("against", "legacy"):
        ranks = retrieval_ranks(scores, pairs, ties)
        assert ranks.images.tolist() == as_the_field(scores, matches, "quicksort")
        assert ranks.texts.tolist() == as_the_field(scores.T, matches.T, "quicksort")


def test_a_constant_score_in_the_field_favours_the_last():
    """What the legacy policy reproduces, and why it is not ours."""
    report = retrieval_report(np.zeros((20, 100)), FIVE_CAPTIONS_EACH, "legacy")

    assert (report["i2t_r1"], report["t2i_r1"]) == (5, 5)
    assert (report["i2t_r10"], report["t2i_r10"]) == (10, 50)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["against", "legacy"]))
def test_some_rows_and_columns_are_ranked_as_a_matrix_of_their_own(seed, ties):
    """What is left out might not be there."""
    generator = np.random.default_rng(seed)
    scores, matches, pairs = ragged_case(9, 14, seed)
    rows = np.sort(generator.permutation(9)[:5])
    columns = np.flatnonzero(matches[rows].any(0))
    kept = matches[np.ix_(rows, columns)]

    ranks = retrieval_ranks(scores, pairs, ties, images=rows, texts=columns)
    alone = retrieval_ranks(scores[np.ix_(rows, columns)], np.argwhere(kept), ties)

    assert ranks.images.tolist() == alone.images.tolist()
    assert ranks.texts.tolist() == alone.texts.tolist()


@pytest.mark.parametrize("ties", ["against", "legacy"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused_by_its_place(value, ties):
    """One NaN would otherwise earn a perfect rank; of a match or of another candidate."""
    pairs = [[0, 0], [1, 1], [2, 2], [2, 3]]
    for column in (1, 2):
        scores = np.zeros((3, 4))
        scores[2, column] = value
        with pytest.raises(InputError, match=rf"image 2 with text {column} is -?(nan|inf)"):
            retrieval_ranks(scores, pairs, ties)


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8, np.float16])
@pytest.mark.parametrize("ties", ["against", "legacy"])
def test_the_type_of_scores_changes_no_rank(kind, ties):
    """Counts and yes or no are scores, too."""
    scores = np.array([[0, 1, 1, 0], [1, 0, 0, 1]])
    pairs = np.array([[0, 0], [0, 1], [1, 2], [1, 3]])

    found, expected = (
        retrieval_ranks(scores.astype(each), pairs, ties) for each in (kind, np.float64)
    )

    assert found.images.tolist() == expected.images.tolist()
    assert found.texts.tolist() == expected.texts.tolist()


def test_the_scores_stay_as_they_are():
    """They may be a map of a file that is only read."""
    scores = np.random.default_rng(0).standard_normal((3, 3))
    before = scores.copy()
    scores.flags.writeable = False

    retrieval_ranks(scores, [[0, 0], [1, 1], [2, 2]])

    assert np.array_equal(scores, before)


def test_a_query_without_a_match_is_refused():
    """Its rank has no meaning."""
    with pytest.raises(InputError, match="Image 1 has no match among those that are ranked"):
        retrieval_ranks(np.zeros((2, 3)), [[0, 0], [0, 1], [0, 2]])
    with pytest.raises(InputError, match=r"Text 2 has no match .* \(1 such of 3\)"):
        retrieval_ranks(np.zeros((2, 3)), [[0, 0], [1, 1]])


@pytest.mark.parametrize("pairs", [[[0, 2]], [[-1, 0]], [[0, 0, 0]], [0, 1]])
def test_pairs_that_are_not_of_the_matrix_are_refused(pairs):
    """Columns for rows are the likely slip."""
    with pytest.raises(InputError, match=r"shape \(3, 2\) and pairs of shape .* do not fit"):
        retrieval_ranks(np.zeros((3, 2)), pairs)


def test_an_unknown_tie_policy_is_refused():
    """With the two that there are."""
    with pytest.raises(InputError, match="Choose against or legacy"):
        retrieval_ranks(np.zeros((1, 1)), [[0, 0]], "optimistic")

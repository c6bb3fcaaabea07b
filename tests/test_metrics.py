"""Recall, as the field reports it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import InputError
from zoo.metrics import first_match_rank, retrieval_report

FIVE_CAPTIONS_EACH = torch.eye(20, dtype=torch.bool).repeat_interleave(5, dim=1)


def by_sorting(scores, matches):
    """Ranks by an explicit sort that puts each match behind every equal candidate."""
    ranks = []
    for row, belongs in zip(scores.tolist(), matches.tolist(), strict=True):
        order = sorted(zip(row, belongs, strict=True), key=lambda pair: (-pair[0], pair[1]))
        ranks.append(next(place for place, (_, match) in enumerate(order) if match))
    return ranks


def test_a_perfect_matrix_has_full_recall():
    """One of five captions in the top place is enough."""
    report = retrieval_report(FIVE_CAPTIONS_EACH.float(), FIVE_CAPTIONS_EACH)

    assert report["rsum"] == pytest.approx(600)
    assert (report["i2t_medr"], report["t2i_meanr"]) == (1, 1)


def test_a_constant_score_earns_nothing():
    """Ties count against the match."""
    report = retrieval_report(torch.zeros(20, 100), FIVE_CAPTIONS_EACH)

    assert report["rsum"] == 0
    assert (report["i2t_medr"], report["t2i_medr"]) == (96, 20)


def test_ranks_by_hand():
    """Image 0 ranks its caption third; image 1 has two captions, the better one first."""
    scores = torch.tensor([[0.1, 0.2, 0.3], [0.9, 0.5, 0.8]])
    matches = torch.tensor([[True, False, False], [False, True, True]])

    assert first_match_rank(scores, matches).tolist() == [2, 1]
    assert first_match_rank(scores.T, matches.T).tolist() == [1, 0, 0]


def test_the_median_rank_is_floored_before_one_is_added():
    """Zero-based ranks 0 and 3 have the median 1.5, which the field prints as 2."""
    scores = torch.tensor([[4.0, 3, 2, 1], [4, 3, 2, 1]])
    matches = torch.tensor([[True, True, True, False], [False, False, False, True]])

    report = retrieval_report(scores, matches)

    assert (report["i2t_medr"], report["i2t_meanr"]) == (2, 2.5)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10_000))
def test_counting_equals_sorting(queries, candidates, seed):
    """Also where many scores are equal and queries have several matches."""
    generator = np.random.default_rng(seed)
    scores = torch.from_numpy(generator.integers(0, 4, (queries, candidates)).astype("float32"))
    matches = torch.from_numpy(generator.random((queries, candidates)) < 0.3)
    matches[torch.arange(queries), torch.from_numpy(generator.integers(0, candidates, queries))] = (
        True
    )

    assert first_match_rank(scores, matches).tolist() == by_sorting(scores, matches)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused_by_its_place(value):
    """One NaN would otherwise earn a perfect rank."""
    scores = torch.zeros(3, 4)
    scores[2, 1] = value

    with pytest.raises(InputError, match=r"query 2 with candidate 1 is -?(nan|inf)"):
        first_match_rank(scores, torch.ones(3, 4, dtype=torch.bool))


def test_a_query_without_a_match_is_refused():
    """Its rank has no meaning."""
    with pytest.raises(InputError, match="Query 1 has no match among 3 candidates"):
        first_match_rank(torch.zeros(2, 3), torch.tensor([[True] * 3, [False] * 3]))


def test_shapes_that_differ_are_refused():
    """A transposed mask is the likely slip."""
    with pytest.raises(InputError, match=r"\(2, 3\) and matches of shape \(3, 2\)"):
        first_match_rank(torch.zeros(2, 3), torch.ones(3, 2, dtype=torch.bool))

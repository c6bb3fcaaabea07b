"""SCAN's aligner against the paper's equations, written out pair by pair in float64."""

from __future__ import annotations

import itertools

import pytest
import torch

from itm_zoo_scan.model import StackedAttention
from zoo import Fragments
from zoo.ops import l2_normalize, pad

CHOICES = list(itertools.product(("t2i", "i2t"), ("mean", "lse"), (0.0, 0.1)))


def literal(queries, sources, pooling, sharpness, pooling_sharpness, leak):
    """The score of one pair: equations 1 to 6, query by query."""
    shaped = [[float(x @ y) for y in sources] for x in queries]
    shaped = torch.tensor([[s if s > 0 else leak * s for s in row] for row in shaped]).double()
    relevance = []
    for query, row in zip(queries, shaped / shaped.square().sum(dim=0).sqrt(), strict=True):
        seen = sum(
            weight * y for weight, y in zip((sharpness * row).softmax(0), sources, strict=True)
        )
        relevance.append(query @ seen / (query.norm() * seen.norm()))
    relevance = torch.stack(relevance)
    if pooling == "mean":
        return relevance.mean()
    return (pooling_sharpness * relevance).exp().sum().log() / pooling_sharpness


def items(lengths):
    """Fragments of unit length, and each item's own ones."""
    rows = [l2_normalize(torch.randn(length, 6, dtype=torch.float64)) for length in lengths]
    return Fragments(*pad(rows)), rows


@pytest.mark.parametrize(("direction", "pooling", "leak"), CHOICES)
def test_scores_are_those_of_the_equations(direction, pooling, leak):
    """Each pair's score is the paper's to 1e-7, whatever its lengths (the norm has 1e-8 added)."""
    torch.manual_seed(0)
    (images, regions), (texts, words) = items((3, 1, 6)), items((4, 2, 1, 7))
    aligner = StackedAttention(direction, pooling, 5.0, 3.0, leak)

    scores = aligner(images, texts).scores

    for i, t in itertools.product(range(3), range(4)):
        sides = (words[t], regions[i]) if direction == "t2i" else (regions[i], words[t])
        if leak == 0 and (sides[0] @ sides[1].T <= 0).all(dim=0).any():
            continue  # a source that no query likes has the norm 0, and the equations no value
        expected = literal(*sides, pooling, 5.0, 3.0, leak)
        assert scores[i, t].item() == pytest.approx(expected.item(), abs=1e-7)


def test_a_wrong_choice_is_refused_in_words():
    """The direction is named, with those that there are."""
    with pytest.raises(ValueError, match=r"direction is 'both'\. Use one of t2i, i2t"):
        StackedAttention("both")

"""Scoring in bfloat16 with a bound, and in float32 where that decides a rank."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Fragments
from zoo.kernels.rounding import Rounded
from zoo.metrics import retrieval_ranks
from zoo.ops import l2_normalize
from zoo.protocols import Protocol, measure
from zoo.scoring.blocks import score_all
from zoo.scoring.exact import ExactScorer
from zoo_chan.bounds import BOUNDS
from zoo_chan.model import POOLINGS, HardAligner

DIM = 64


def fragments(lengths: list[int], scale: float = 1.0, center: float = 0.0) -> Fragments:
    """Random fragments, near one another where they have a center. Padding holds large numbers."""
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    vectors = scale * l2_normalize(torch.randn(len(lengths), longest, DIM) + center)
    return Fragments(vectors.masked_fill(~mask[..., None], 1e4), mask)


SIDES = {
    "unit vectors": {},
    "close to one another": {"center": 3.0},
    "large": {"scale": 300.0},
    "tiny": {"scale": 1e-6},
    "zero": {"scale": 0.0},
}


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", ["vha", "tha"])
@pytest.mark.parametrize("kind", SIDES)
def test_no_score_is_further_away_than_its_bound(coding, pooling, kind):
    """Of float64, and of float32, for ragged items, one region and one word among them."""
    images = fragments([36, 1, 17, 30, 36], **SIDES[kind])
    texts = fragments([1, 4, 12, 12, 31, 7], **SIDES[kind])
    temperature = 0.1 * max(SIDES[kind].get("scale", 1.0), 1e-3) ** 2
    aligner = HardAligner(coding, pooling, temperature)

    scan = aligner.scan(aligner.rounded(images), aligner.rounded(texts))

    for dtype in (torch.float32, torch.float64):
        sides = [Fragments(side.embeddings.to(dtype), side.mask) for side in (images, texts)]
        assert ((scan.scores - aligner(*sides).scores).abs() <= scan.errors).all()


@pytest.mark.parametrize("small", [2.0**-8, -(2.0**-9), 3 * 2.0**-8])
def test_the_bound_holds_where_the_product_alone_is_rounded(small):
    """Numbers that bfloat16 has, whose product lies half way between two that it has."""
    vectors = torch.tensor([[[1.0, small, *[0.0] * 30]], [[1.0, 1.0, *[0.0] * 30]]])
    sides = (Fragments(vector[None], torch.ones(1, 1, dtype=torch.bool)) for vector in vectors)
    aligner = HardAligner("vha", "max")

    scan = aligner.scan(*map(aligner.rounded, sides))

    away = (scan.scores - (1 + small)).abs()
    assert away >= 2.0**-9
    assert 0.4 * scan.errors < away <= scan.errors


def test_the_bound_holds_where_all_roundings_add_up():
    """Vectors whose every number is rounded up by nearly the most that there is."""
    worst = torch.full((1, 1, 4096), 1 + 2**-8 + 2**-20)
    one = Fragments(worst, torch.ones(1, 1, dtype=torch.bool))
    aligner = HardAligner("vha", "max")

    scan = aligner.scan(aligner.rounded(one), aligner.rounded(one))

    away = (scan.scores.double() - (worst.double() ** 2).sum()).abs()
    assert 0.3 * scan.errors < away <= scan.errors


@pytest.mark.parametrize("temperature", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_no_pooled_score_moves_further_than_its_bound_wherever_its_codes_move(pooling, temperature):
    """All up, all down, each the way that moves the score most, and any way; bounds of any size."""
    codes = torch.randn(40, 7, 5) * torch.tensor([0.01, 0.1, 0.3, 1.0]).repeat(10)[:, None, None]
    errors = torch.rand(40, 7, 5) * 10 ** torch.empty(40, 7, 5).uniform_(-6, 0)
    errors[::4] *= 0.003
    pool, bound = POOLINGS[pooling], BOUNDS[pooling](codes, errors, temperature)
    ways = [torch.ones(40, 7, 5), *(2 * torch.rand(10, 40, 7, 5) - 1).unbind()]
    for step in range(40):  # on from each as it slopes where it has got to
        moved = (codes.double() + ways[step] * errors).requires_grad_()
        (slope,) = torch.autograd.grad(pool(moved, temperature).sum(), moved)
        ways += [slope.sign(), -slope.sign()]

    for way in ways:
        moved = pool(codes.double() + way * errors, temperature)
        assert ((moved - pool(codes, temperature)).abs() <= bound).all()


@pytest.mark.parametrize("pooling", ["lse", "max"])
def test_a_word_that_counts_for_little_widens_no_bound(pooling):
    """Its code is far below the others', so what is not known of it changes nothing."""
    codes = torch.tensor([[[0.9], [0.85], [-0.5]]])
    errors = torch.tensor([[[0.001], [0.001], [0.04]]])
    alike = torch.full_like(errors, 0.001)

    narrow, wide = (BOUNDS[pooling](codes, moved, 0.1) for moved in (alike, errors))

    assert wide < 2.5 * narrow


def test_bounds_are_tight_enough_to_decide():
    """Of unit vectors a mean is known to half a hundredth."""
    images, texts = fragments([36] * 4), fragments([12] * 6)
    aligner = HardAligner("vha", "mean")

    errors = aligner.scan(aligner.rounded(images), aligner.rounded(texts)).errors

    assert errors.max() < 0.006


def collection(images: int = 40, spread: float = 1.0) -> tuple[Fragments, Fragments, Tensor]:
    """Images with five captions each that resemble them, many of which are near ties."""
    regions = torch.randn(images, 9, DIM)
    lengths = torch.randint(1, 14, (5 * images,)).tolist()
    words = torch.randn(5 * images, max(lengths), DIM)
    words += spread * regions.repeat_interleave(5, dim=0)[:, torch.arange(max(lengths)) % 9]
    words[7::5] = words[2:-5:5]  # and captions that two images share
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    mask[7::5] = mask[2:-5:5]
    pairs = torch.stack([torch.arange(images).repeat_interleave(5), torch.arange(5 * images)], 1)
    whole = torch.ones(images, 9, dtype=torch.bool)
    return Fragments(l2_normalize(regions), whole), Fragments(l2_normalize(words), mask), pairs


def exactly(aligner: HardAligner, images: Fragments, texts: Fragments, pairs: Tensor) -> np.ndarray:
    """All scores, in blocks that no number of items divides."""
    image_blocks, text_blocks = images.split(17), texts.split(33)
    scorer = ExactScorer(aligner, image_blocks, text_blocks, pairs)
    starts = range(0, len(images), 17)
    rows = [scorer.rows(block, first) for block, first in zip(image_blocks, starts, strict=True)]
    return torch.cat(rows).numpy()


@pytest.mark.parametrize("ties", ["against", "legacy"])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", ["vha", "tha"])
def test_every_rank_is_that_of_float32(coding, pooling, ties):
    """With ties and near ties; of all captions, and of the first captions of each image alone."""
    images, texts, pairs = collection()
    aligner = HardAligner(coding, pooling)
    with torch.no_grad():
        plain = score_all(aligner, images.split(9), texts.split(50)).numpy()

    scores = exactly(aligner, images, texts, pairs)

    assert (scores != plain).mean() > 0.1  # otherwise nothing was saved
    for first in (5, 3, 1):
        kept = pairs[pairs[:, 1] % 5 < first].numpy()
        args = {"images": np.arange(len(images)), "texts": np.unique(kept[:, 1])}
        ours, theirs = (retrieval_ranks(s, kept, ties, **args) for s in (scores, plain))
        assert (ours.images == theirs.images).all()
        assert (ours.texts == theirs.texts).all()


@pytest.mark.parametrize("seed", range(6))
def test_every_rank_is_that_of_float32_on_fresh_data(monkeypatch, seed):
    """Embeddings in half precision, many of them the same; captions of one word, captions that two
    images share, images that occur twice; any pooling.
    """
    monkeypatch.setattr("zoo.scoring.exact.MOST_IN_DOUBT", 1.0)
    torch.manual_seed(seed)
    images, texts, pairs = collection(24, spread=float(torch.rand(())) + 0.3)
    images.embeddings[5] = images.embeddings[4]
    texts.embeddings[::11] = texts.embeddings[:1]
    sides = [Fragments(side.embeddings.half(), side.mask) for side in (images, texts)]
    shared = torch.cat([pairs, torch.tensor([[3, 17], [20, 17], [5, 20]])])
    aligner = HardAligner("vha", list(POOLINGS)[seed % len(POOLINGS)], 0.05)
    with torch.no_grad():
        plain = score_all(aligner, [sides[0]], [sides[1]]).numpy()

    for own in (pairs, shared):
        scores = exactly(aligner, *sides, own)
        ours, theirs = (retrieval_ranks(s, own.numpy(), "against") for s in (scores, plain))
        assert (scores != plain).any()
        assert (ours.images == theirs.images).all()
        assert (ours.texts == theirs.texts).all()


def test_a_shared_caption_ranks_as_float32_has_it_when_a_protocol_takes_it_for_another_image(
    monkeypatch,
):
    """Image 0 has a poor, a perfect and a fair caption; the fair one is the first of image 1."""
    monkeypatch.setattr("zoo.scoring.exact.MOST_IN_DOUBT", 1.0)
    count = 20
    regions = l2_normalize(torch.randn(count, 3, DIM))
    fair = regions[0] + 0.1 * torch.randn(3, DIM)
    near = fair + 1e-4 * torch.randn(count, 3, DIM)  # the first captions of all other images
    words = l2_normalize(torch.cat([torch.randn(1, 3, DIM), regions[:1], fair[None], near[2:]]))
    images, texts = (
        Fragments(side, torch.ones(side.shape[:2]).bool()) for side in (regions, words)
    )
    own = [[0, 0], [0, 1], [0, 2], [1, 2], *([image, image + 1] for image in range(2, count))]
    pairs = torch.tensor(own)
    aligner = HardAligner("vha", "mean")
    with torch.no_grad():
        plain = score_all(aligner, [images], [texts]).numpy()

    scores = exactly(aligner, images, texts, pairs)

    first_captions = Protocol(captions=1)
    ours, theirs = (measure(s, pairs.numpy(), first_captions).ranks[0] for s in (scores, plain))
    assert 0 < theirs.images[0] < count - 2
    assert (ours.images == theirs.images).all()
    assert (ours.texts == theirs.texts).all()


def test_near_ties_of_one_float32_step_are_decided_as_float32_does():
    """Captions that differ from one another in the last bits of a word."""
    images, texts, pairs = collection(8)
    steps = torch.randint(-2, 3, (40, 1, 1)) * 2.0**-24
    alike = texts[torch.zeros(40, dtype=torch.long)]
    near = Fragments(alike.embeddings * (1 + steps), alike.mask)
    aligner = HardAligner("vha", "mean")
    with torch.no_grad():
        plain = score_all(aligner, [images], [near]).numpy()

    scores = exactly(aligner, images, near, pairs)

    assert len(np.unique(plain[0])) > 2
    ours, theirs = (retrieval_ranks(s, pairs.numpy(), "against") for s in (scores, plain))
    assert (ours.images == theirs.images).all()
    assert (ours.texts == theirs.texts).all()


def test_a_pair_scores_the_same_to_the_last_bit_in_any_company():
    """Alone, with others, and in blocks of other sizes: only so are two roads to a rank one."""
    images, texts, _ = collection(12)
    every = torch.cartesian_prod(torch.arange(12), torch.arange(60))
    for coding, pooling in itertools.product(["vha", "tha"], POOLINGS):
        aligner = HardAligner(coding, pooling)
        with torch.no_grad():
            whole = score_all(aligner, [images], [texts])
            parts = score_all(aligner, images.split(1), texts.split(7))
            alone = torch.cat(
                [aligner.score_pairs(images, texts, one[None]).scores for one in every[::17]]
            )
            some = every[torch.rand(len(every)) < 0.3]
            listed = aligner.score_pairs(images, texts, some).scores
        assert torch.equal(whole, parts)
        assert torch.equal(whole.flatten()[::17], alone)
        assert torch.equal(whole[*some.T], listed)


def test_where_most_pairs_are_in_doubt_the_block_is_scored_in_float32():
    """An image whose captions are all alike; the scores are then the plain ones."""
    images, texts, pairs = collection(8)
    alike = texts[torch.zeros(40, dtype=torch.long)]
    aligner = HardAligner("vha", "mean")
    with torch.no_grad():
        plain = score_all(aligner, [images], [alike])

    assert_close(torch.from_numpy(exactly(aligner, images, alike, pairs)), plain, atol=0, rtol=0)


def test_rounded_padding_counts_for_nothing():
    """Whatever stands in it."""
    side = fragments([2, 5])

    rounded = Rounded.of(side)

    assert (rounded.embeddings[~side.mask] == 0).all()
    assert (rounded.errors[~side.mask] == 0).all()
    assert rounded.lengths.max() < 1.001

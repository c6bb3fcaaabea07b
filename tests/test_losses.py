"""Losses over a block of similarities; numbers without another source are worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.components import build
from zoo.errors import InputError
from zoo.interfaces import Pairs, Similarity
from zoo.losses import ContrastiveLoss, MixedLoss, TripletLoss

SCORES = torch.tensor([[0.9, 0.8, 0.1], [0.3, 0.6, 0.55], [0.2, 0.7, 0.5]])
# With margin 0.2 and the diagonal as matches, the hinges that are not 0 are
#   image 0: text 1 0.1      image 1: text 2 0.15     image 2: text 1 0.4
#   text 1: image 0 0.4, image 2 0.3     text 2: image 1 0.25
HARDEST = 0.1 + 0.15 + 0.4 + 0.4 + 0.25
ALL = HARDEST + 0.3


def diagonal(size: int) -> Pairs:
    """One caption for each image."""
    return Pairs(torch.arange(size), torch.arange(size), torch.eye(size, dtype=torch.bool))


def two_captions_an_image() -> Pairs:
    """Images 0 and 1; texts 0 and 1 describe the first, texts 2 and 3 the second."""
    return Pairs(torch.arange(2), torch.arange(4), torch.eye(2).repeat_interleave(2, 1).bool())


def released_triplet(scores: Tensor, margin: float, hardest: bool) -> Tensor:
    """The loss of CHAN's released code as its specification defines it, for a square block."""
    total = torch.zeros(())
    for i in range(len(scores)):
        texts = [margin + scores[i, j] - scores[i, i] for j in range(len(scores)) if j != i]
        images = [margin + scores[j, i] - scores[i, i] for j in range(len(scores)) if j != i]
        for hinges in (texts, images):
            relu = torch.stack(hinges).clamp(min=0)
            total = total + (relu.max() if hardest else relu.sum())
    return total


@pytest.mark.parametrize(("negatives", "expected"), [("hardest", HARDEST), ("all", ALL)])
def test_triplet_adds_the_hinges_of_rows_and_columns(negatives, expected):
    """A match competes with the negatives of its image and with those of its text."""
    loss = TripletLoss(margin=0.2, negatives=negatives)

    assert loss(Similarity(SCORES), diagonal(3)).item() == pytest.approx(expected)


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_triplet_equals_released_code_with_one_caption_an_image(negatives):
    """The departure from it shows only where an image has several captions in the block."""
    scores = torch.randn(7, 7)

    loss = TripletLoss(margin=0.3, negatives=negatives)(Similarity(scores), diagonal(7))

    assert_close(loss, released_triplet(scores, 0.3, hardest=negatives == "hardest"))


def test_triplet_mean_is_over_matches():
    """So the size of a block does not scale the gradient."""
    loss = TripletLoss(margin=0.2, reduction="mean")

    assert loss(Similarity(SCORES), diagonal(3)).item() == pytest.approx(HARDEST / 3)


@pytest.mark.parametrize("negatives", ["hardest", "all"])
def test_another_caption_of_the_same_image_is_no_negative(negatives):
    """Texts 1 and 2 score high with their own images, and rightly so."""
    scores = torch.tensor([[0.5, 0.9, 0.1, 0.2], [0.1, 0.1, 0.9, 0.5]])

    loss = TripletLoss(margin=0.2, negatives=negatives)(Similarity(scores), two_captions_an_image())

    assert loss.item() == pytest.approx(0.0)


def test_an_image_that_occurs_twice_is_no_negative_of_itself():
    """Blocks that are drawn by caption repeat images; each repeat matches each of its captions."""
    pairs = Pairs(torch.tensor([4, 4]), torch.arange(2), torch.ones(2, 2, dtype=torch.bool))

    assert TripletLoss()(Similarity(torch.rand(2, 2)), pairs).item() == 0
    assert ContrastiveLoss()(Similarity(torch.rand(2, 2)), pairs).item() == 0


def test_warm_up_changes_the_negatives_by_their_attribute():
    """Training sets `negatives` between epochs; the next block obeys."""
    loss = TripletLoss(margin=0.2)
    loss.negatives = "all"

    assert loss(Similarity(SCORES), diagonal(3)).item() == pytest.approx(ALL)


def test_contrastive_equals_cross_entropy_on_a_diagonal():
    """With one caption an image it is the symmetric loss of CLIP."""
    scores = torch.randn(6, 6)
    target = torch.arange(6)
    rows = torch.nn.functional.cross_entropy(scores / 0.5, target)
    columns = torch.nn.functional.cross_entropy(scores.T / 0.5, target)

    loss = ContrastiveLoss(temperature=0.5)(Similarity(scores), diagonal(6))

    assert_close(loss, (rows + columns) / 2)


def test_contrastive_leaves_other_matches_out_of_the_denominator():
    """Image 0 has the negatives text 2 and 3; text 0 has the negative image 1 alone."""
    scores = torch.zeros(2, 4)
    scores[0, 1] = 50.0  # a match: were it a rival of text 0, the loss would be near 50 there
    from_images = [math.log(3), math.log(1 + 2 * math.exp(-50)), math.log(3), math.log(3)]
    from_texts = [math.log(2), math.log(1 + math.exp(-50)), math.log(2), math.log(2)]

    loss = ContrastiveLoss(temperature=1.0)(Similarity(scores), two_captions_an_image())

    assert loss.item() == pytest.approx((sum(from_images) + sum(from_texts)) / 8)


def test_a_learnable_temperature_has_a_gradient_and_comes_back_from_its_limit():
    """A clamp on the way would stop the gradient at the limit for ever."""
    loss = ContrastiveLoss(temperature=0.01, learnable=True)
    with torch.no_grad():
        loss.log_temperature.sub_(1.0)

    loss(Similarity(-torch.eye(3)), diagonal(3)).backward()

    assert loss.temperature().item() == pytest.approx(0.01)
    assert loss.log_temperature.grad.item() < 0


def test_a_fixed_temperature_is_not_trained_but_is_saved():
    """Its value is state of the run."""
    loss = ContrastiveLoss(temperature=0.2)

    assert not any(parameter.requires_grad for parameter in loss.parameters())
    assert loss.state_dict()["log_temperature"].exp().item() == pytest.approx(0.2)


def test_mixed_is_the_weighted_sum_of_its_parts():
    """A part without a weight counts once."""
    similarity, pairs = Similarity(SCORES), diagonal(3)
    parts = [{"type": "triplet", "margin": 0.2, "weight": 0.5}, {"type": "contrastive"}]

    mixed = build("loss", {"type": "mixed", "losses": parts})

    expected = 0.5 * HARDEST + ContrastiveLoss()(similarity, pairs)
    assert_close(mixed(similarity, pairs), expected)


def test_warm_up_reaches_the_parts_of_a_mixed_loss():
    """Setting `negatives` on the whole sets it on each part that has it."""
    mixed = MixedLoss([{"type": "contrastive"}, {"type": "triplet"}])
    assert mixed.negatives == "hardest"

    mixed.negatives = "all"

    assert mixed.losses[1].negatives == "all"


@pytest.mark.parametrize(
    "config",
    [
        {"type": "triplet"},
        {"type": "triplet", "negatives": "all"},
        {"type": "contrastive", "learnable": True},
        {"type": "mixed", "losses": [{"type": "triplet"}, {"type": "contrastive"}]},
    ],
)
def test_every_loss_has_finite_gradients_without_a_negative(config):
    """A last block may hold a single image."""
    scores = torch.rand(1, 1, requires_grad=True)

    build("loss", config)(Similarity(scores), diagonal(1)).backward()

    assert scores.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TripletLoss(negatives="hard"), "negatives is 'hard'. Use one of hardest, all."),
        (lambda: TripletLoss(reduction="max"), "reduction is 'max'. Use one of sum, mean."),
        (lambda: ContrastiveLoss(temperature=0), "temperature is 0. Use a number above 0."),
        (lambda: MixedLoss([]), "losses is empty. List at least one loss with its type."),
    ],
)
def test_wrong_options_are_refused(make, words):
    """The message names the option, the value and what would do."""
    with pytest.raises(InputError) as caught:
        make()

    assert str(caught.value) == words

"""A batch in pieces: gone through twice with the same random numbers, and equal to the whole."""

from __future__ import annotations

import pytest
import torch
from torch import nn

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

import toy_matching as toy
from zoo.data.dataset import open_dataset
from zoo.losses import MixedLoss
from zoo.training.comparing import Comparison
from zoo.training.data import Collate
from zoo.training.pair import TrainedPair


@pytest.fixture
def batch(tmp_path):
    """Seven images, of which two pieces are four and three, with a caption each."""
    dataset = open_dataset(toy.write_data(tmp_path), "train")
    return Collate(toy.make_model(), dataset, "features", 0)(toy.samples(7))


def gradients(pieces, batch):
    """Of the weights of one model, by name, and the loss."""
    torch.manual_seed(0)
    model = toy.make_model()
    model.image_encoder.dropout.p = 0.0
    loss = MixedLoss([{"type": "contrastive", "learnable": True}, {"type": "triplet"}])
    pair = TrainedPair(model, loss, accumulate=pieces)
    value = pair(batch)
    value.backward()
    found = {name: one.grad for name, one in pair.named_parameters() if one.requires_grad}
    return {**found, "loss": value.detach()}


@pytest.mark.parametrize("pieces", [2, 3, 7, 9])
def test_loss_and_gradient_are_those_of_the_whole(batch, pieces):
    """Whatever the pieces, more of them than items too: to rounding."""
    whole, apart = gradients(1, batch), gradients(pieces, batch)
    for name, expected in whole.items():
        assert torch.allclose(apart[name], expected, atol=1e-6), name


def test_low_precision_holds_in_both_passes(batch):
    """A gradient of float32 would be of something that the loss never saw."""
    model, seen = toy.make_model(), []
    model.image_encoder.project.register_forward_hook(lambda *given: seen.append(given[-1].dtype))
    loss = MixedLoss([{"type": "contrastive"}])
    TrainedPair(model, loss, ["image_encoder"], accumulate=2)(batch).backward()
    assert seen == [torch.bfloat16] * 4
    assert not torch.is_autocast_enabled("cpu")


def test_a_piece_is_gone_through_twice_with_the_same_dropout(batch):
    """Otherwise the gradient would be of something that the loss never saw."""
    model, seen = toy.make_model(), []
    dropout = model.image_encoder.dropout
    dropout.register_forward_hook(lambda *given: seen.append(given[-1].detach()))
    similarity = Comparison(model, pieces=2)(batch)
    first = list(seen)
    similarity.scores.sum().backward()
    assert len(first) == 2
    assert len(seen) == 4
    assert all(any(torch.equal(one, other) for other in seen[2:]) for one in first)


def test_batch_norms_count_a_piece_once(batch):
    """Their running statistics do not see the second time."""
    model = toy.make_model()
    norm = nn.BatchNorm1d(toy.REGIONS)
    model.image_encoder.dropout = norm
    similarity = Comparison(model, pieces=2)(batch)
    before = {name: one.clone() for name, one in norm.state_dict().items()}
    similarity.scores.sum().backward()
    assert before["num_batches_tracked"] == 2
    assert all(torch.equal(one, before[name]) for name, one in norm.state_dict().items())
    assert norm.momentum == 0.1

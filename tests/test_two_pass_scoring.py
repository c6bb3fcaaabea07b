"""A block scored for a loss that needs few of its pairs, against all pairs with gradients."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from test_contract import FEATURES, METHODS
from zoo.batch import Batch, Fragments, Regions
from zoo.components import build
from zoo.interfaces import Pairs, Scan, Similarity
from zoo.losses import TripletLoss
from zoo.ops import l2_normalize, pad
from zoo.scoring import two_pass as two_pass_scoring
from zoo.scoring.two_pass import score_block, selection
from zoo.testing.samples import CAPTIONS
from zoo_chan.model import HardAligner

PAIRWISE = ["chan-vha-lse", "chan-tha-softmax", "chan-vsa-mean", "shan-both-global_global"]
PAIRWISE += ["mfa", "mssan", "sgraf-sgr", "sgraf-saf", "tvrn-none"]
LOSSES = {
    "triplet": {"type": "triplet", "margin": 0.1},
    "adaptive": {"type": "adaptive_margin"},
    "mixed": {
        "type": "mixed",
        "losses": [{"type": "triplet", "weight": 0.5}, {"type": "adaptive_margin"}],
    },
}


@pytest.fixture(autouse=True, params=[True, False], ids=["bfloat16", "float32"])
def _scans(monkeypatch, request) -> None:
    """Whether all pairs are scored in bfloat16 first, whatever this machine gains by it."""
    monkeypatch.setattr(two_pass_scoring, "multiplies_bfloat16", lambda _: request.param)


def block(captions: int = 24) -> tuple[Regions, list[str], Pairs]:
    """Images with boxes, captions, and what belongs together; some images have two captions."""
    features, mask = pad([torch.randn(1 + image % 6, FEATURES) for image in range(20)])
    corners = 50 * torch.rand(*mask.shape, 2)
    regions = Regions(features, mask, torch.cat([corners, corners + 100], dim=-1))
    words = " ".join(CAPTIONS).split()
    lengths = torch.randint(1, 9, (captions,)).tolist()
    texts = [
        " ".join(words[word] for word in torch.randint(len(words), (length,))) for length in lengths
    ]
    numbers = torch.arange(captions) % 20
    return regions, texts, Pairs(torch.arange(20), numbers, torch.arange(20)[:, None] == numbers)


@pytest.mark.parametrize(
    ("method", "loss"),
    [*((method, "triplet") for method in PAIRWISE), ("mssan", "adaptive"), ("mssan", "mixed")],
)
def test_loss_and_gradients_are_those_of_all_pairs(method, loss):
    """Of every weight; the margins that the loss keeps move as they would."""
    model, (regions, captions, pairs) = METHODS[method].subject(method).model(), block()
    prepared = model.prepare_images(regions), model.text_encoder.prepare(captions)
    found = []
    for two in (True, False):
        judge = build("loss", LOSSES[loss]).train()
        model.zero_grad()
        images, texts = model.encode_prepared(prepared[0]), model.text_encoder(prepared[1])
        needed = selection(judge, pairs) if two else None
        similarity = score_block(model.aligner, images, texts, needed)
        value = judge(replace(similarity, images=images, texts=texts), pairs)
        value.backward()
        gradients = {name: weight.grad for name, weight in model.named_parameters()}
        found.append((value.detach(), gradients, judge.state_dict()))

    (ours, by_ours, our_state), (all_pairs, by_all, state) = found
    assert_close(ours, all_pairs)
    assert_close(our_state, state)
    for name, gradient in by_all.items():
        assert (gradient is None) == (by_ours[name] is None), name
        if gradient is not None:
            scale = 1e-5 * gradient.abs().max().clamp(min=1e-2)
            assert_close(by_ours[name], gradient, rtol=1e-5, atol=float(scale))


@pytest.mark.parametrize("method", ["chan-vha-lse", "sgraf-sgr"])
def test_training_scores_in_two_passes_in_low_precision_too(monkeypatch, method):
    """The aligner under autocast: weights that were cast without gradients are not used again."""
    pytest.importorskip("mmengine", reason="training needs the extra 'train'")
    from zoo.training.pair import TrainedPair

    model, (regions, texts, pairs) = METHODS[method].subject(method).model(), block()
    prepared = model.prepare_images(regions), model.text_encoder.prepare(texts)
    batch, listed = SimpleNamespace(images=prepared[0], texts=prepared[1], pairs=pairs), []
    score_pairs = type(model.aligner).score_pairs

    def noted(self, images, texts, rows):
        listed.append(rows)
        return score_pairs(self, images, texts, rows)

    monkeypatch.setattr(type(model.aligner), "score_pairs", noted)
    found = []
    for loss in (TripletLoss(0.1), TripletLoss(0.1)):
        monkeypatch.setattr(type(model.aligner), "pairwise", not found)
        model.zero_grad()
        TrainedPair(model, loss, ["aligner"])(batch).backward()
        found.append([weight.grad.clone() for weight in model.parameters()])

    assert len(listed) == 1
    for ours, all_pairs in zip(*found, strict=True):
        assert_close(ours, all_pairs, rtol=0.05, atol=0.02 * float(all_pairs.abs().max()) + 1e-4)


def sides(count: int = 32, dim: int = 48) -> tuple[Fragments, Fragments, Pairs]:
    """Images and texts of unit fragments, as leaves, that belong together one by one."""
    whole = torch.ones(count, 5, dtype=torch.bool)
    both = [l2_normalize(torch.randn(count, 5, dim)).requires_grad_() for _ in range(2)]
    matches = torch.eye(count, dtype=torch.bool)
    numbers = torch.arange(count)
    return *(Fragments(side, whole) for side in both), Pairs(numbers, numbers, matches)


def gradients(similarity: Similarity, loss, pairs: Pairs, leaves: list[Tensor]) -> list[Tensor]:
    """Of the loss, by both sides."""
    return list(torch.autograd.grad(loss(similarity, pairs), leaves))


def test_few_pairs_are_scored_with_gradients(monkeypatch):
    """The rest once, without."""
    images, texts, pairs = sides()
    aligner, loss, listed = HardAligner("vha", "mean"), TripletLoss(0.2), []
    score_pairs = HardAligner.score_pairs

    def noted(self, images, texts, rows):
        listed.append(len(rows))
        return score_pairs(self, images, texts, rows)

    monkeypatch.setattr(HardAligner, "score_pairs", noted)
    monkeypatch.setattr(HardAligner, "forward", torch.no_grad()(HardAligner.forward))

    similarity = score_block(aligner, images, texts, selection(loss, pairs))
    ours = gradients(similarity, loss, pairs, [images.embeddings, texts.embeddings])

    assert 32 <= listed[0] <= 0.2 * 32**2
    assert all(gradient.count_nonzero() > 0 for gradient in ours)


def test_near_ties_are_taken_as_float32_takes_them():
    """Each text has a twin that differs by less than bfloat16 can tell: one of the two counts."""
    images, texts, pairs = sides()
    with torch.no_grad():
        steps = 1 + 2e-6 * torch.randn(16, 5, 48)
        texts.embeddings[16:] = texts.embeddings[:16] * steps
        images.embeddings[16:] = images.embeddings[:16]
    aligner, loss, leaves = HardAligner("vha", "mean"), TripletLoss(0.2), []
    leaves = [images.embeddings, texts.embeddings]

    ours = gradients(
        score_block(aligner, images, texts, selection(loss, pairs)), loss, pairs, leaves
    )
    plain = gradients(aligner(images, texts), loss, pairs, leaves)

    for one, other in zip(ours, plain, strict=True):
        assert_close(one, other)


def test_where_most_pairs_may_count_all_are_scored_with_gradients(monkeypatch):
    """Texts that are all the same: every negative is the hardest, and each has its share."""
    images, texts, pairs = sides()
    with torch.no_grad():
        texts.embeddings[:] = texts.embeddings[:1]
    monkeypatch.setattr(HardAligner, "score_pairs", None)  # would be called in vain
    aligner, loss = HardAligner("vha", "mean"), TripletLoss(0.2)
    leaves = [images.embeddings, texts.embeddings]

    ours = score_block(aligner, images, texts, selection(loss, pairs))
    plain = aligner(images, texts)

    assert_close(ours.scores, plain.scores, rtol=0, atol=0)
    for one, other in zip(
        *(gradients(found, loss, pairs, leaves) for found in (ours, plain)), strict=True
    ):
        assert_close(one, other)


@pytest.mark.parametrize(
    "loss", [TripletLoss(0.2), TripletLoss(5.0), build("loss", LOSSES["mixed"])]
)
def test_what_a_loss_does_not_need_may_lie_anywhere_within_its_bounds(loss):
    """Its value is that of the true scores, which are elsewhere within the same bounds."""
    if not isinstance(loss, TripletLoss):
        loss.losses[1] = build("loss", {"type": "adaptive_margin", "rule": "static"})
    matches = block()[2].matches
    pairs = Pairs(torch.arange(20), torch.arange(24) % 20, matches)
    for _ in range(100):
        truth = torch.randn(20, 24) * 0.3
        errors = 0.1 * torch.rand(20, 24)
        scan = Scan(truth + errors * (2 * torch.rand(20, 24) - 1), errors)
        wanted = loss.needed(scan, pairs)
        expected = loss(Similarity(truth), pairs)
        for way in (0, 0.999, -0.999):
            somewhere = torch.where(wanted, truth, scan.scores + way * errors)
            assert_close(loss(Similarity(somewhere), pairs), expected, rtol=0, atol=0)


class Noisy(HardAligner):
    """Scores otherwise each time."""

    pairwise = False

    def forward(self, images: Batch, texts: Batch) -> Similarity:
        """Of the method's own, plus noise."""
        scores = super().forward(images, texts).scores
        return Similarity(scores + torch.rand_like(scores))


def test_an_aligner_that_scores_otherwise_the_second_time_is_asked_once():
    """Dropout between the two passes would take other negatives than it gives gradients to."""
    images, texts, pairs = sides()
    aligner, loss = Noisy("vha", "mean"), TripletLoss(0.2)

    torch.manual_seed(3)
    ours = score_block(aligner, images, texts, selection(loss, pairs)).scores
    torch.manual_seed(3)

    assert_close(ours, aligner(images, texts).scores, rtol=0, atol=0)


def test_a_loss_over_all_negatives_does_not_select():
    """Nor does one that is mixed with another that needs all pairs; warm-up changes it."""
    triplet = TripletLoss()
    assert triplet.selects
    triplet.negatives = "all"
    assert not triplet.selects
    assert not build("loss", {"type": "adaptive_margin", "negatives": "mix"}).selects
    parts = [{"type": "triplet"}, {"type": "contrastive"}]
    assert not build("loss", {"type": "mixed", "losses": parts}).selects

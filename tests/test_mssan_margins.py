"""The loss with adaptive margins: its rules, its state, and what it does in training."""

from __future__ import annotations

import io
import multiprocessing
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Fragments
from zoo.components import build
from zoo.errors import InputError
from zoo.interfaces import Pairs, Similarity
from zoo.losses import ContrastiveLoss, MixedLoss, TripletLoss
from zoo_mssan.margins import AdaptiveMarginLoss
from zoo_mssan.model import Item

SCORES = torch.tensor([[0.9, 0.8, 0.1], [0.3, 0.6, 0.55], [0.2, 0.7, 0.5]])
# Matches on the diagonal; S(match) - S(hardest negative) is 0.1, 0.05, -0.2 for the images and
# 0.6, -0.2, -0.05 for the texts.
GAPS = torch.tensor([-0.05 / 3, 0.35 / 3])


def diagonal(size: int) -> Pairs:
    """One caption for each image."""
    return Pairs(torch.arange(size), torch.arange(size), torch.eye(size, dtype=torch.bool))


OWNERS = [0, 0, 1, 2, 2, 2]


def several() -> Pairs:
    """Three images with two, one and three captions."""
    return Pairs(torch.arange(3), torch.arange(6), torch.eye(3).bool()[:, OWNERS])


def item(rows: int, fixed: bool = False) -> Item:
    """Items with a whole each, of which no two are opposite, and images as they came."""
    parts = Fragments(torch.ones(rows, 1, 2), torch.ones(rows, 1, dtype=torch.bool))
    wholes = torch.nn.functional.normalize(torch.randn(rows, 4) + 0.5)
    given = torch.nn.functional.normalize(torch.randn(rows, 5) + 0.5) if fixed else None
    return Item(parts, wholes, fixed=given)


def encoded(scores: Tensor) -> Similarity:
    """Scores with the encodings that they might come from."""
    return Similarity(scores, {}, item(len(scores), fixed=True), item(scores.shape[1]))


def literal(similarity: Similarity, rule: str, negatives: str, sign: int, weight: float) -> float:
    """Section 5 of the specification in loops, with both bases at 0.2 and slope 0.5."""
    s, total = similarity.scores.tolist(), 0.0
    g = similarity.images.fixed if rule == "teacher" else similarity.images.whole
    h = similarity.texts.whole
    for t, i in enumerate(OWNERS):
        hinges: dict[str, list[tuple[float, float]]] = {"texts": [], "images": []}
        for j, k in enumerate(OWNERS):
            if k != i:
                close = float(g[i] @ g[k])
                if rule == "semantic_ema":
                    close = (close + float(h[t] @ h[j])) / 2
                margin = 0.2 * (1 + sign * 0.5 * min(max(close, 0), 1))
                hinges["texts"].append((s[i][j], max(0, margin + s[i][j] - s[i][t])))
        for k in range(3):
            if k != i:
                close = float(g[i] @ g[k])
                if rule == "semantic_ema":
                    alike = [float(h[t] @ h[j]) for j, owner in enumerate(OWNERS) if owner == k]
                    close = (close + sum(alike) / len(alike)) / 2
                margin = 0.2 * (1 + sign * 0.5 * min(max(close, 0), 1))
                hinges["images"].append((s[k][t], max(0, margin + s[k][t] - s[i][t])))
        for side in hinges.values():
            mean = sum(hinge for _, hinge in side) / len(side)
            hardest = max(side)[1]
            total += {
                "hardest": hardest,
                "all": mean * len(side),
                "mix": hardest + weight * mean,
            }[negatives]
    return total


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("negatives", ["hardest", "all", "mix"])
@pytest.mark.parametrize("rule", ["semantic_ema", "teacher"])
def test_the_loss_equals_its_definition(rule, negatives, sign):
    """Margins by closeness, with several captions an image, against loops over all pairs."""
    similarity = encoded(torch.rand(3, 6))
    options = {"negatives": negatives, "sign": sign, "average_weight": 0.7}
    total = AdaptiveMarginLoss(rule, **options)(similarity, several())
    mean = AdaptiveMarginLoss(rule, **options, reduction="mean")(similarity, several())

    expected = literal(similarity, rule, negatives, sign, 0.7)
    assert total.item() == pytest.approx(expected, abs=1e-5)
    assert mean.item() == pytest.approx(expected / 6, abs=1e-5)


@pytest.mark.parametrize("negatives", ["hardest", "all"])
@pytest.mark.parametrize("options", [{"rule": "static"}, {"slope": 0.0, "momentum": 1.0}])
def test_without_closeness_and_movement_it_is_the_triplet_loss(negatives, options):
    """`static`, and the degenerate form of `semantic_ema`; static needs no encodings."""
    loss = AdaptiveMarginLoss(**options, margin=0.3, negatives=negatives)
    similarity = encoded(torch.randn(3, 6))
    if options.get("rule"):
        similarity = Similarity(similarity.scores)

    for _ in range(2):
        expected = TripletLoss(0.3, negatives=negatives)(similarity, several())
        assert_close(loss(similarity, several()), expected)
    assert loss.margins.tolist() == pytest.approx([0.3, 0.3])


def test_the_base_follows_the_gap_by_hand():
    """0.9 * 0.3 + 0.1 * 2 * gap, in each direction its own; the loss is that of the old base."""
    loss = AdaptiveMarginLoss(margin=0.3, least=0, momentum=0.9, gain=2.0, slope=0.0)

    first = loss(encoded(SCORES), diagonal(3))

    assert_close(loss.margins, 0.27 + 0.2 * GAPS)
    assert_close(first, TripletLoss(0.3)(Similarity(SCORES), diagonal(3)))
    second = loss(encoded(SCORES), diagonal(3))
    # Three matches are within the margin of their image's row, two of their text's column.
    margins = 0.27 + 0.2 * GAPS
    assert_close(second, 3 * margins[0] + 2 * margins[1] + 0.05 + 0.25)
    assert_close(loss.margins, 0.9 * margins + 0.2 * GAPS)


def test_the_hardest_negative_is_the_one_that_scores_best():
    """Not the one with the largest hinge: text 2 is closer to the match, and scores less."""
    scores = torch.tensor([[0.5, 0.45, 0.4], [0.0, 5.0, 0.0], [0.0, 0.0, 5.0]])
    wholes = torch.eye(2)[[0, 1, 0]]
    sides = [replace(item(3), whole=wholes) for _ in range(2)]
    loss = AdaptiveMarginLoss()(Similarity(scores, {}, *sides), diagonal(3))

    assert loss.item() == pytest.approx(0.2 + 0.45 - 0.5)


def test_the_base_stays_within_its_limits():
    """A small gap leaves the least margin, a large one the largest."""
    loss = AdaptiveMarginLoss(momentum=0.0)
    for scores, limit in ((SCORES, 0.2), (torch.eye(3), 0.4), (SCORES, 0.2)):
        loss(encoded(scores), diagonal(3))
        assert loss.margins.tolist() == pytest.approx([limit, limit])


def test_the_base_moves_in_training_only_and_not_while_frozen():
    """Evaluation reads the margins and leaves them as they are, and so does the warm-up."""
    loss = AdaptiveMarginLoss(margin=0.3, momentum=0.5, slope=0.0)
    growing = AdaptiveMarginLoss("epoch", margin=0.3)
    growing.epoch = 5
    for one in (loss, growing):
        one.eval()
        value = one(encoded(SCORES), diagonal(3))
        one.train().frozen = True
        assert_close(one(encoded(SCORES), diagonal(3)), value)
        assert one.margins.tolist() == pytest.approx([0.3, 0.3])
        one.frozen = False
        one(encoded(SCORES), diagonal(3))
        assert one.margins.tolist() != pytest.approx([0.3, 0.3])


def test_a_block_without_a_negative_moves_nothing():
    """A last block may hold a single image; the loss is 0 and the margins stay finite."""
    loss = AdaptiveMarginLoss(margin=0.3, momentum=0.5)
    scores = torch.rand(1, 1, requires_grad=True)

    loss(encoded(scores), diagonal(1)).backward()

    assert scores.grad.item() == 0
    assert loss.margins.tolist() == pytest.approx([0.3, 0.3])


@pytest.mark.parametrize(("epoch", "margin"), [(0, 0.2), (3, 0.29), (7, 0.4), (50, 0.4)])
def test_the_margin_of_an_epoch(epoch, margin):
    """It grows by a step an epoch up to the largest."""
    loss = AdaptiveMarginLoss("epoch", step=0.03)
    loss.epoch = epoch

    value = loss(Similarity(SCORES), diagonal(3))

    assert loss.margins.tolist() == pytest.approx([margin, margin])
    assert_close(value, TripletLoss(margin)(Similarity(SCORES), diagonal(3)))


def test_margins_have_no_gradient():
    """Closeness and gap are looked at, not trained; the scores alone are."""
    similarity = encoded(torch.rand(3, 6).requires_grad_())
    for side in (similarity.images, similarity.texts):
        side.whole.requires_grad_()

    AdaptiveMarginLoss(negatives="mix")(similarity, several()).backward()

    assert similarity.scores.grad.abs().sum() > 0
    assert similarity.images.whole.grad is None
    assert similarity.texts.whole.grad is None


@pytest.mark.parametrize("negatives", ["hardest", "all", "mix"])
@pytest.mark.parametrize("rule", ["semantic_ema", "teacher", "epoch", "static"])
def test_another_caption_of_the_same_image_is_no_negative(rule, negatives):
    """Texts 1 and 2 score high with their own images, and rightly so."""
    scores = torch.tensor([[0.9, 1.5, 0.0, 0.0], [0.0, 0.0, 1.5, 0.9]])
    pairs = Pairs(torch.arange(2), torch.arange(4), torch.eye(2).repeat_interleave(2, 1).bool())
    loss = AdaptiveMarginLoss(rule, momentum=0.0, largest=5.0, negatives=negatives)

    assert loss(encoded(scores), pairs).item() == 0
    if rule == "semantic_ema":
        assert loss.margins.tolist() == pytest.approx([1.2, 1.2])


@pytest.mark.parametrize(
    ("rule", "images", "texts", "words"),
    [
        ("semantic_ema", None, None, "'semantic_ema' compares each image as one vector, 'whole'"),
        ("semantic_ema", item(3), Fragments, "each text as one vector, .* none in Fragments"),
        ("teacher", item(3), item(3), "'fixed' of its encoding, .* Set fixed in the image encoder"),
    ],
)
def test_encodings_without_the_vectors_are_refused(rule, images, texts, words):
    """The message names the rule, the side and the vector, and a rule that needs none."""
    if texts is Fragments:
        texts = item(3).parts
    with pytest.raises(InputError, match=words):
        AdaptiveMarginLoss(rule)(Similarity(SCORES, {}, images, texts), diagonal(3))


def test_margins_are_state():
    """A new loss that loads it goes on with the margins that the old one had reached."""
    loss = AdaptiveMarginLoss(margin=0.3, momentum=0.5, least=0)
    loss(encoded(SCORES), diagonal(3))
    again = AdaptiveMarginLoss()

    again.load_state_dict(loss.state_dict(), strict=True)

    assert loss.state_dict()["margins"].tolist() != pytest.approx([0.3, 0.3])
    assert torch.equal(again.margins, loss.margins)


def test_it_mixes_with_another_loss():
    """As part of a mixed loss it sees the encodings and answers to the warm-up's attributes."""
    mixed = build(
        "loss",
        {
            "type": "mixed",
            "losses": [{"type": "contrastive"}, {"type": "adaptive_margin", "weight": 0.1}],
        },
    )
    similarity, alone = encoded(SCORES), AdaptiveMarginLoss()

    expected = ContrastiveLoss()(similarity, diagonal(3)) + 0.1 * alone(similarity, diagonal(3))

    assert isinstance(mixed, MixedLoss)
    assert_close(mixed(similarity, diagonal(3)), expected)


# ---------------------------------------------------------------------------- several processes


def follow(rank: int, store: str, results: multiprocessing.Queue | None = None) -> list[float]:
    """The margins after one step of one process of two, each with scores of its own."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    try:
        loss = AdaptiveMarginLoss(margin=0.3, least=0, momentum=0.5, slope=0.0)
        scores, size = (SCORES, 3) if rank == 0 else (torch.eye(2), 2)
        loss(encoded(scores), diagonal(size))
        if results is not None:
            results.put(loss.margins.tolist())
        return loss.margins.tolist()
    finally:
        torch.distributed.destroy_process_group()


def test_processes_that_train_together_have_the_same_margins(tmp_path):
    """The gap is averaged over the matches of both: three with GAPS, two with gaps of 1."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    other = context.Process(target=follow, args=(1, str(tmp_path / "store"), results))
    other.start()
    try:
        ours = follow(0, str(tmp_path / "store"))
        theirs = results.get(timeout=60)
    finally:
        other.join(60)

    expected = 0.5 * 0.3 + 0.5 * (3 * GAPS + 2) / 5
    assert ours == theirs
    assert ours == pytest.approx(expected.clamp(max=0.4).tolist())


# --------------------------------------------------------------------------------- in training

RECIPE = """
name = "tiny"
method = "mssan"
model = dict(
    image_encoder=dict(type="mssan_regions", feature_dim=6, dim=8, fixed=True),
    text_encoder=dict(type="mssan_words", reader=dict(type="bigru", word_dim=4, dim=8)),
    aligner=dict(type="symmetric_alignment"),
    features=dict(kind="toy", regions=3, dim=6),
)
vocabulary = dict(minimum_count=1)
margins = dict(type="adaptive_margin", margin=0.3, least=-1.0, momentum=0.9, reduction="mean")
loss = dict(type="mixed", losses=[dict(type="contrastive"), margins])
warm_up = dict(epochs=1, negatives="all", frozen=True)
data = dict(inputs="features", by="image", captions_per_image=2, batch_size=4, workers=0, dev=None)
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1e-2))
train_cfg = dict(max_epochs=3)
checkpoint = dict(every=2, keep=9)
del margins
"""


@pytest.fixture
def training(tmp_path):
    """Trains a tiny model; gives the loss's margins at each checkpoint, by iteration."""
    pytest.importorskip("mmengine", reason="training needs the extra 'train'")
    from toy_matching import write_data, write_recipe
    from zoo.training.checkpoint import list_checkpoints, read_checkpoint
    from zoo.training.session import train

    recipe = write_recipe(tmp_path, RECIPE)
    data = write_data(tmp_path / "data", {"train": 12, "dev": 4})

    def run(*overrides, work_dir="run", resume=False):
        folder, console = tmp_path / work_dir, Console(file=io.StringIO())
        try:
            train(recipe, data, folder, resume=resume, overrides=list(overrides), console=console)
        finally:
            saved = map(read_checkpoint, list_checkpoints(folder / "checkpoints"))
            run.margins = {
                one.step: next(v.tolist() for k, v in one.model.items() if k.endswith("margins"))
                for one in saved
            }
        return run.margins

    return run


def test_margins_wait_out_the_warm_up_and_then_follow(training):
    """Three iterations an epoch: as they began in the first, then another value at each step."""
    margins = training()

    assert list(margins) == [2, 3, 4, 6, 8, 9]
    assert margins[2] == margins[3] == pytest.approx([0.3, 0.3])
    later = [tuple(margins[step]) for step in (3, 4, 6, 8, 9)]
    assert len(set(later)) == 5
    assert all(one[0] != one[1] for one in later[1:])


def test_a_resumed_run_goes_on_with_the_margins_of_its_checkpoint(training, monkeypatch):
    """Were they not in it, they would begin anew."""
    from zoo.training.pair import TrainedPair

    straight = training(work_dir="straight")
    step, done = TrainedPair.train_step, []

    def interrupted(self, batch, optim_wrapper):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(batch)
        return step(self, batch, optim_wrapper)

    with monkeypatch.context() as patch:
        patch.setattr(TrainedPair, "train_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            training()
    assert list(training.margins) == [2, 3, 4, 6]

    assert training(resume=True) == straight


def test_the_epoch_reaches_a_loss_inside_a_mixed_one(training):
    """The margin grows by a step an epoch, from the first that is not the warm-up's."""
    margins = training("loss.losses.1.rule=epoch", "loss.losses.1.step=0.04")

    grown = {step: margin[0] for step, margin in margins.items()}
    assert grown == pytest.approx({2: 0.3, 3: 0.3, 4: 0.34, 6: 0.34, 8: 0.38, 9: 0.38})


def test_a_teacher_reads_the_images_as_they_came(training):
    """The rule works from a recipe, with negatives by closeness and the static base."""
    margins = training("loss.losses.1.rule=teacher", "loss.losses.1.sign=-1")

    assert all(one == pytest.approx([0.3, 0.3]) for one in margins.values())

"""The MSSAN-style reconstruction against its specification, written out in loops."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Fragments
from zoo.catalogue.registry import shipped_registry
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.errors import InputError
from zoo.model import MatchingModel
from zoo_mssan.margins import AdaptiveMarginLoss
from zoo_mssan.mffm import Fusion
from zoo_mssan.model import Item, RegionEncoder, SymmetricAligner

FEATURES, DIM = 6, 8
CAPTIONS = ["a dog runs", "two children play in the cold water", "grass", "a red bicycle"]
FILES = {"vocab.json": Vocabulary.build(CAPTIONS, 1).to_json()}
ALONE = {"whole": False, "fusion": "none"}

# What goes to both encoders, and what to the aligner.
VARIANTS = {
    "default": ({}, {}),
    "cross": ({"fusion": "cross"}, {}),
    "both": ({"fusion": "both"}, {}),
    "shan": ({"keys": True}, {"attention": "shan"}),
    "weighted": ({}, {"global_weight": 0.5, "local_weight": 2.0, "fused_weight": 1.5}),
    "without fusion": ({"fusion": "none"}, {"fused_weight": 0}),
    "global": ({"fusion": "none"}, {"local_weight": 0, "fused_weight": 0}),
    "local": (ALONE, {"global_weight": 0, "fused_weight": 0}),
    "fused": ({}, {"global_weight": 0, "local_weight": 0}),
    "words": ({}, {"region_share": 0, "word_sharpness": 5.0}),
    "regions": ({}, {"region_share": 1, "region_sharpness": 7.0}),
}


def make_model(encoder=None, aligner=None) -> MatchingModel:
    """A small model in float64 whose weights are large enough for every formula to count."""
    both = encoder or {}
    model = MatchingModel(
        build("image_encoder", {"type": "mssan_regions", "feature_dim": 6, "dim": DIM, **both}),
        build(
            "text_encoder",
            {"type": "mssan_words", "reader": {"type": "bigru", "word_dim": 5, "dim": DIM}, **both},
            FILES,
        ),
        build("aligner", {"type": "symmetric_alignment", **(aligner or {})}),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.double().eval()


def regions(*counts: int) -> list[Tensor]:
    """Images of so many regions each."""
    return [torch.randn(count, FEATURES) for count in counts]


# ------------------------------------------------- sections 3 and 4 of the specification, in loops


def unit(x):
    """To unit length; the zoo adds 1e-8 to the length where the specification takes a maximum."""
    return x / (np.sqrt(sum(one * one for one in x)) + 1e-8)


def softmax(logits):
    """As a list of shares."""
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


def weighted_sum(shares, vectors):
    """Of vectors, one after the other."""
    return sum(share * vector for share, vector in zip(shares, vectors, strict=True))


class Literal:
    """One side's formulas with the weights of an encoder."""

    def __init__(self, encoder) -> None:
        state = {name: one.numpy() for name, one in encoder.levels.state_dict().items()}
        self.of = state

    def whole(self, x):
        """Section 3: attention pooling."""
        mean = sum(x) / len(x)
        about = np.tanh(self.of["pool.mean.weight"] @ mean)
        logits = [
            float(
                self.of["pool.weigh.weight"][0]
                @ (np.tanh(self.of["pool.local.weight"] @ one) * about)
            )
            for one in x
        ]
        return unit(weighted_sum(softmax(logits), x))

    def fusion(self, x, g):
        """Section 4.3: significance, and the fused fragments."""
        logits, fused = [], []
        for one in x:
            inner = self.of["fuse.local.weight"] @ one + self.of["fuse.whole.weight"] @ g
            logits.append(
                float(self.of["fuse.weigh.weight"][0] @ np.tanh(inner + self.of["fuse.local.bias"]))
            )
            joint = np.concatenate(
                [self.of["fuse.gate_local.weight"], self.of["fuse.gate_whole.weight"]], 1
            )
            z = 1 / (
                1 + np.exp(-(joint @ np.concatenate([one, g]) + self.of["fuse.gate_local.bias"]))
            )
            fused.append(unit(z * one + (1 - z) * g))
        return softmax(logits), fused


def cos(a, b):
    """Cosine of two vectors."""
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def attended_mean(queries, sources, logits, sharpness, scan):
    """Section 4.2, one direction: the mean over queries of cos(query, what it attends to).

    logits: [query][source]
    """
    if scan:
        leaky = [[e if e > 0 else 0.1 * e for e in row] for row in logits]
        norms = [
            math.sqrt(sum(leaky[q][s] ** 2 for q in range(len(queries)))) + 1e-8
            for s in range(len(sources))
        ]
        logits = [[e / norms[s] for s, e in enumerate(row)] for row in leaky]
    cosines = []
    for query, row in zip(queries, logits, strict=True):
        shares = softmax([sharpness * e for e in row])
        cosines.append(cos(query, weighted_sum(shares, sources)))
    return sum(cosines) / len(cosines)


def literal_levels(model: MatchingModel, v, t) -> dict[str, float]:
    """All levels of one image and one text, from their unit fragments."""
    images, texts = Literal(model.image_encoder), Literal(model.text_encoder)
    aligner, levels = model.aligner, {}
    if "local" in aligner.weights:
        scan = model.image_encoder.levels.project is None
        keys_v, keys_t = v, t
        if not scan:
            keys_v = [images.of["project.weight"] @ one for one in v]
            keys_t = [texts.of["project.weight"] @ one for one in t]
        e = [[float(region @ word) for word in keys_t] for region in keys_v]
        sharp_t, sharp_v, share = (9, 4, 0.5) if scan else (15, 15, 0.3)
        if aligner.region_share in (0, 1):
            sharp_t, sharp_v, share = 5, 7, aligner.region_share
        by_word = [list(column) for column in zip(*e, strict=True)]
        q = attended_mean(t, v, by_word, sharp_t, scan)
        r = attended_mean(v, t, e, sharp_v, scan)
        levels["local"] = share * r + (1 - share) * q
    if model.image_encoder.levels.pool is None:
        return levels
    g_v, g_t = images.whole(v), texts.whole(t)
    if "global" in aligner.weights:
        levels["global"] = float(g_v @ g_t)
    if "fused" in aligner.weights:
        (a_v, f_v), (a_t, f_t) = images.fusion(v, g_v), texts.fusion(t, g_t)
        fused = cos(weighted_sum(a_v, f_v), weighted_sum(a_t, f_t))
        cross = sum(a * cos(f, g_t) for a, f in zip(a_v, f_v, strict=True)) / 2
        cross += sum(a * cos(f, g_v) for a, f in zip(a_t, f_t, strict=True)) / 2
        form = model.image_encoder.levels.fusion
        levels["fused"] = {"fused": fused, "cross": cross, "both": (fused + cross) / 2}[form]
    return levels


def real(fragments: Fragments, row: int) -> list[np.ndarray]:
    """One item's real fragments."""
    return list(fragments.embeddings[row][fragments.mask[row]].numpy())


@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_and_levels_equal_the_definitions(variant):
    """Every switch, with items of one fragment and of many, against loops over fragments."""
    encoder, aligner = VARIANTS[variant]
    model = make_model(encoder, aligner)
    weights = {"global": 1.0, "local": 1.0, "fused": 1.0}
    weights |= {
        name.removesuffix("_weight"): one for name, one in aligner.items() if "weight" in name
    }
    images, texts = model.encode_images(regions(5, 1, 3)), model.encode_texts(CAPTIONS)

    found = model.aligner(images, texts)

    for i in range(len(images)):
        for t in range(len(texts)):
            levels = literal_levels(model, real(images.parts, i), real(texts.parts, t))
            assert {name: one[i, t].item() for name, one in found.levels.items()} == pytest.approx(
                levels, abs=1e-7
            )
            total = sum(weights[name] * level for name, level in levels.items())
            assert found.scores[i, t].item() == pytest.approx(total, abs=1e-7)


# --------------------------------------------------------------------- what follows from the forms


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_levels_of_wholes_are_one_product_of_vectors(variant):
    """Section 7: a vector an item, whose products are the scores without the local level."""
    model = make_model(*VARIANTS[variant])
    images, texts = model.encode_images(regions(5, 1, 3)), model.encode_texts(CAPTIONS)
    aligner = model.aligner

    products = aligner.vectors(images) @ aligner.vectors(texts).T

    local = aligner.weights.get("local", 0) * aligner.local(images, texts)
    assert_close(products + local, aligner(images, texts).scores, atol=1e-12, rtol=0)


@pytest.mark.parametrize("fusion", ["fused", "cross", "both"])
def test_candidates_by_falling_product_give_the_exact_best(fusion):
    """The local level is at most its weight, so a search may stop early and lose nothing."""
    model = make_model({"fusion": fusion}, {"local_weight": 0.3})
    images = model.encode_images(regions(*[2] * 40))
    texts = model.encode_texts(CAPTIONS)
    products = model.aligner.vectors(images) @ model.aligner.vectors(texts).T
    scores, best, looked_at = model.aligner(images, texts).scores, 3, 0

    assert (scores <= products + 0.3).all()
    for t in range(len(texts)):
        found: list[float] = []
        for i in products[:, t].argsort(descending=True).tolist():
            if len(found) >= best and products[i, t] + 0.3 < sorted(found)[-best]:
                break
            found.append(scores[i, t].item())
            looked_at += 1
        assert sorted(found)[-best:] == sorted(scores[:, t].tolist())[-best:]
    assert looked_at < scores.numel()


def test_the_local_level_is_at_most_one():
    """Also where an image and a text are the same fragments, when it is 1."""
    for _ in range(20):
        same = unit_parts(3, 5)
        local = SymmetricAligner(word_sharpness=500, region_sharpness=500).local(same, same)
        assert local.max() <= 1 + 1e-12
        assert_close(local.diagonal(), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)


def unit_parts(items: int, fragments: int) -> Item:
    """Random unit fragments without the other levels."""
    parts = torch.randn(items, fragments, 16, dtype=torch.float64)
    mask = torch.ones(items, fragments, dtype=torch.bool)
    return Item(Fragments(parts / parts.norm(dim=-1, keepdim=True), mask))


def test_float32_is_within_a_hundred_thousandth():
    """The scores of a model in single precision, against the same in double."""
    model, items = make_model({"fusion": "both"}), regions(5, 1, 3)
    exact, single = (
        model.aligner(one.encode_images(items), one.encode_texts(CAPTIONS)).scores
        for one in (model, copy.deepcopy(model).float())
    )

    assert single.dtype == torch.float32
    assert_close(single.double(), exact, atol=1e-5, rtol=0)


def test_the_gate_begins_at_the_fragments():
    """b_z = 1: about 73 % of a fused fragment is the fragment itself."""
    fusion = Fusion(4)
    for name, parameter in fusion.named_parameters():
        if "gate" in name and "weight" in name:
            torch.nn.init.zeros_(parameter)
    one = Fragments(torch.eye(4)[None, :1], torch.ones(1, 1, dtype=torch.bool))

    found = fusion(one, torch.eye(4)[1:2])

    share = 1 / (1 + math.exp(-1))
    expected = torch.tensor([share, 1 - share, 0, 0])
    assert_close(found[0], expected / expected.norm())


def test_a_pooling_and_a_fusion_that_are_not_used_are_not_made():
    """Without these levels there is nothing to train or to save beside the encoders."""
    names = make_model(ALONE, {"global_weight": 0, "fused_weight": 0}).state_dict()
    assert not [name for name in names if "levels" in name]


def test_words_stand_one_for_each_fragment():
    """A figure writes them beside the text's fragments, with similarities between."""
    model = make_model()
    images, texts = model.encode_images(regions(2, 4)), model.encode_texts(CAPTIONS)
    drawn = model.aligner.word_regions(images, texts)

    for row, caption in enumerate(CAPTIONS):
        words = len(model.text_encoder.words(caption))
        assert words == texts.parts.mask[row].sum()
        assert drawn[0, row].isfinite().sum() == 2 * words
    word, region = texts.parts.embeddings[1, 2], images.parts.embeddings[1, 3]
    assert_close(drawn[1, 1, 2, 3], word @ region)


@pytest.mark.parametrize("standardize", [False, True])
def test_an_image_as_it_came_is_the_mean_of_its_features(standardize):
    """Real regions alone, on the scale that the encoder reads, and nothing that learns."""
    encoder = RegionEncoder(6, 8, standardize=standardize, fixed=True)
    batch = encoder.prepare(regions(2, 5))
    encoder.fit([batch])
    means = torch.stack([batch.features[0, :2].mean(0), batch.features[1].mean(0)])
    if standardize:
        means = (means - encoder.feature_mean) / encoder.feature_scale

    fixed = encoder(batch).fixed

    assert_close(fixed, means / means.norm(dim=1, keepdim=True))
    assert not fixed.requires_grad


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RegionEncoder(whole=False), "fusion is 'fused' and whole is off"),
        (lambda: RegionEncoder(fusion="gated"), "fusion is 'gated'. Use one of none, fused, cross"),
        (lambda: RegionEncoder(dropout=1.0), "dropout is 1.0"),
        (lambda: SymmetricAligner(attention="scam"), "attention is 'scam'. Use one of scan, shan."),
        (lambda: SymmetricAligner(0, 0, 0), "not all 0"),
        (lambda: SymmetricAligner(fused_weight=-1), "Use numbers from 0 up"),
        (lambda: SymmetricAligner(region_share=1.1), "region_share is 1.1. Use a number from 0"),
        (lambda: SymmetricAligner(word_sharpness=0), "sharpness is 0. Use a number above 0."),
        (
            lambda: score({"fusion": "none"}, {}),
            "compares the fused level, and these .* Set fusion",
        ),
        (lambda: score(ALONE, {}), "compares the global level, and these encodings .* Set whole"),
        (lambda: score({}, {"attention": "shan"}), "no keys. Set keys to true in both encoders"),
        (lambda: score_two_fusions(), r"fused level has 8 numbers an image and 24 a text"),
        (lambda: AdaptiveMarginLoss("ema"), "rule is 'ema'. Use one of semantic_ema, teacher"),
        (lambda: AdaptiveMarginLoss(sign=0), "sign is 0. Use one of 1, -1."),
        (lambda: AdaptiveMarginLoss(margin=0.1), "margin is 0.1, and a margin moves from 0.2"),
        (lambda: AdaptiveMarginLoss(negatives="sum"), "negatives is 'sum'"),
        (lambda: AdaptiveMarginLoss(reduction="max"), "reduction is 'max'"),
    ],
)
def test_what_cannot_work_is_refused(make, words):
    """The message says what was found and what would do."""
    with pytest.raises(InputError, match=words):
        make()


def score(encoder, aligner) -> Tensor:
    """Scores of a model whose encoders and aligner may not fit one another."""
    model = make_model(encoder, aligner)
    return model.score(model.encode_images(regions(2)), model.encode_texts(CAPTIONS))


def score_two_fusions() -> Tensor:
    """Scores where the encoders do not agree on what is compared."""
    ours, theirs = make_model({"fusion": "fused"}), make_model({"fusion": "both"})
    return ours.score(ours.encode_images(regions(2)), theirs.encode_texts(CAPTIONS))


# ----------------------------------------------------------------------------------------- recipes

RECIPES = ["mssan-coco", "mssan-f30k"]


@pytest.mark.parametrize("name", RECIPES)
def test_no_card_claims_a_result_of_the_paper(name):
    """None was found, and what is built here is not the authors' model; the card says so."""
    card = shipped_registry().find(name)

    assert card.results.paper == ()
    assert "reconstruction from the abstract" in card.title


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_s_margins_wait_out_its_first_epoch(name):
    """The loss can be built, and has the attribute that the warm-up sets."""
    pytest.importorskip("mmengine", reason="recipes are read with the extra train")
    from zoo.training.recipe import read_recipe

    recipe = read_recipe(name)
    loss = build("loss", recipe["loss"])

    assert recipe["warm_up"] == {"epochs": 1, "frozen": True}
    assert loss.frozen is False
    assert loss.margins.tolist() == pytest.approx([0.2, 0.2])

"""CHAN against its specification, and against released code's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Fragments, Regions
from zoo.catalogue.registry import shipped_registry
from zoo.components import build
from zoo.errors import InputError
from zoo.interfaces import Component, Pairs
from zoo.losses import TripletLoss
from zoo.ops import l2_normalize
from zoo.training.recipe import read_recipe
from zoo_chan.model import CODINGS, POOLINGS, HardAligner, RegionEncoder

# ---------------------------------------------------------------- numbers of the released modules

IMAGE_NAMES = {
    "fc.weight": "project.weight",
    "fc.bias": "project.bias",
    "feedforward.ln.weight": "context.norm.weight",
    "feedforward.ln.bias": "context.norm.bias",
    "feedforward.attn.in_proj_weight": "context.attention.in_proj_weight",
    "feedforward.attn.in_proj_bias": "context.attention.in_proj_bias",
    "feedforward.attn.out_proj.weight": "context.attention.out_proj.weight",
    "feedforward.attn.out_proj.bias": "context.attention.out_proj.bias",
}
TEXT_NAMES = {
    name: name
    for name in (
        "embed.weight",
        "rnn.weight_ih_l0",
        "rnn.weight_hh_l0",
        "rnn.bias_ih_l0",
        "rnn.bias_hh_l0",
        "rnn.weight_ih_l0_reverse",
        "rnn.weight_hh_l0_reverse",
        "rnn.bias_ih_l0_reverse",
        "rnn.bias_hh_l0_reverse",
    )
}
CAPTIONS = ["w10 w20 w30 w40", "w7 w7 w9", "w100 w50 w25", "w300"]
GOLDEN_SCORES = [
    [2.05895, 1.94061, 1.79429, 1.48261],
    [2.14682, 1.93797, 1.86371, 1.51597],
    [2.09518, 1.94816, 1.82716, 1.50104],
]
GOLDEN_REGION = [-0.004697, 0.025786, -0.019368, -0.009750]
GOLDEN_WORD = [0.005310, -0.022178, 0.093198, -0.023665]
GOLDEN_LOSS = 0.861498


def hashed(stream: int, *shape: int) -> Tensor:
    """Numbers in [-1, 1) that an exact integer hash gives, in float64."""
    word = 0xFFFFFFFF
    x = (torch.arange(math.prod(shape)) * 2654435761 + stream * 40503 + 12345) & word
    for multiplier, shift in [(2246822519, 15), (3266489917, 13)]:
        x = ((x ^ (x >> shift)) * multiplier) & word
    return ((x ^ (x >> 16)).double() / 2**32 * 2 - 1).reshape(shape)


def load_hashed(component: Component, names: dict[str, str]) -> None:
    """Weights by hash; `names` lists the released names in their order, and ours."""
    state = component.state_dict()
    for stream, (released, ours) in enumerate(names.items()):
        u = hashed(stream, *state[ours].shape)
        weight = u * math.sqrt(3 / u.shape[-1]) if u.ndim > 1 else 0.1 * u
        state[ours] = (1 + weight if released == "feedforward.ln.weight" else weight).float()
    component.load_state_dict(state)


@pytest.fixture(scope="module")
def golden():
    """Regions and words of the specification's example, encoded as a model of its size does."""
    from zoo.data.vocabulary import Vocabulary

    words = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", *(f"w{n}" for n in range(4, 8481))))
    region_encoder = build(
        "image_encoder", {"type": "chan_regions", "context": "self_attention", "region_drop": 0.2}
    )
    text_encoder = build(
        "text_encoder",
        {"type": "bigru", "mask_token": True, "word_drop": 0.2},
        {"vocab.json": words.to_json()},
    )
    load_hashed(region_encoder, IMAGE_NAMES)
    load_hashed(text_encoder, TEXT_NAMES)
    features = hashed(1000, 3, 36, 2048).abs().float()
    with torch.no_grad():
        images = region_encoder.eval()(region_encoder.prepare(features))
        texts = text_encoder.eval()(text_encoder.prepare(CAPTIONS))
    return images, texts


def test_golden_encodings(golden):
    """Regions and words as the released encoders give them."""
    images, texts = golden

    assert_close(images.embeddings[0, 0, :4], torch.tensor(GOLDEN_REGION), atol=1e-6, rtol=0)
    assert_close(texts.embeddings[0, 0, :4], torch.tensor(GOLDEN_WORD), atol=1e-6, rtol=0)


def test_golden_scores(golden):
    """The released matcher's scores, hard alignment and log-sum-exp, of 3 images and 4 captions."""
    scores = build("aligner", {"type": "hard_alignment"})(*golden).scores

    assert_close(scores, torch.tensor(GOLDEN_SCORES), atol=1e-5, rtol=0)


def test_golden_loss(golden):
    """The released loss of the first three captions, hardest negatives, margin 0.05."""
    images, texts = golden
    rows = torch.arange(3)
    similarity = HardAligner()(images, texts[:3])

    pairs = Pairs(rows, rows, torch.eye(3, dtype=torch.bool))
    loss = TripletLoss(margin=0.05)(similarity, pairs)

    assert loss.item() == pytest.approx(GOLDEN_LOSS, abs=1e-5)


# ----------------------------------------- codings and poolings, written out as they are specified

TEMPERATURE, CODING_TEMPERATURE = 0.1, 0.15


def literal_codes(coding: str, regions: np.ndarray, words: np.ndarray) -> np.ndarray:
    """The codes of one image and one text."""
    similarity = regions @ words.T  # (r, w)
    if coding == "vha":
        return np.array([max(similarity[:, w]) for w in range(len(words))])
    if coding == "tha":
        return np.array([max(similarity[r]) for r in range(len(regions))])
    codes = []
    for region, row in zip(regions, similarity, strict=True):
        weights = np.exp(row / CODING_TEMPERATURE)
        attended = (weights / weights.sum()) @ words
        codes.append(region @ attended / (np.linalg.norm(attended) + 1e-8))
    return np.array(codes)


def literal_pooling(pooling: str, codes: np.ndarray) -> float:
    """One score of the codes."""
    weights = np.exp(codes / TEMPERATURE)
    pooled = {
        "lse": np.log(weights.sum()),
        "mean": codes.mean(),
        "sum": codes.sum(),
        "max": codes.max(),
        "softmax": (weights / weights.sum()) @ codes,
    }
    return float(pooled[pooling])


def ragged(items: int, longest: int, dim: int = 16) -> Fragments:
    """Unit fragments, one to `longest` an item; the padding is no zero, as BERT leaves it."""
    lengths = torch.randint(1, longest + 1, (items,))
    lengths[0], lengths[-1] = 1, longest
    return Fragments(
        l2_normalize(torch.randn(items, longest, dim)), torch.arange(longest) < lengths[:, None]
    )


def real(fragments: Fragments, row: int) -> np.ndarray:
    """One item's real fragments, float64."""
    return fragments.embeddings[row][fragments.mask[row]].double().numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", CODINGS)
def test_scores_equal_the_definitions(coding, pooling):
    """Every coding and pooling, with fewer regions and words in some items than in others."""
    images, texts = ragged(5, 7), ragged(6, 8)
    expected = [
        [
            literal_pooling(pooling, literal_codes(coding, real(images, i), real(texts, t)))
            for t in range(len(texts))
        ]
        for i in range(len(images))
    ]
    aligner = HardAligner(coding, pooling, TEMPERATURE, CODING_TEMPERATURE)

    assert_close(aligner(images, texts).scores, torch.tensor(expected), atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_similarity_of_minus_one_is_no_padding(coding, pooling):
    """Opposite unit vectors meet at exactly -1, the value by which released code knows padding."""
    region, word = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[-1.0, 0.0]]])
    one = torch.ones(1, 1, dtype=torch.bool)
    aligner = HardAligner(coding, pooling, TEMPERATURE)

    score = aligner(Fragments(region, one), Fragments(word, one)).scores.item()

    assert score == pytest.approx(-10.0 if pooling == "lse" else -1.0, abs=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("coding", CODINGS)
def test_gradients_are_finite_beside_padding(coding, pooling):
    """No pooling is NaN, forward or back; released code's softmax pooling is."""
    images, texts = ragged(3, 4), ragged(3, 5)
    embeddings = [side.embeddings.requires_grad_() for side in (images, texts)]

    HardAligner(coding, pooling)(images, texts).scores.sum().backward()

    for side, embedding in zip((images, texts), embeddings, strict=True):
        assert embedding.grad.isfinite().all()
        assert (embedding.grad[~side.mask] == 0).all()
        assert embedding.grad.abs().sum() > 0


def test_word_regions_are_the_similarities_behind_the_codes():
    """A figure shows them: word by region, -inf where either is padding."""
    images, texts = ragged(3, 4), ragged(2, 5)

    similarity = HardAligner().word_regions(images, texts)  # (i, t, w, r)

    codes = CODINGS["vha"](images, texts, 1.0).padded()
    assert similarity.shape == (3, 2, 5, 4)
    assert_close(similarity.amax(dim=-1), codes)
    assert (
        similarity.isfinite().sum(dim=(2, 3)) == images.mask.sum(1)[:, None] * texts.mask.sum(1)
    ).all()


# ----------------------------------------------------------------------------------- image encoder


def encoder(**options) -> RegionEncoder:
    """Six numbers a region, eight in the joint space."""
    options = {"feature_dim": 6, "dim": 8, "heads": 2} | options
    return RegionEncoder(**options).eval()


def generators(count: int, seed: int = 0) -> list[np.random.Generator]:
    """One random generator for each item."""
    return [np.random.default_rng([seed, row]) for row in range(count)]


def test_a_default_encoder_is_a_projection_to_unit_length():
    """The paper's "basic" encoder: v = h / (||h|| + 1e-8), h = W x + b."""
    image_encoder = encoder()
    features = torch.randn(2, 3, 6)
    hidden = features @ image_encoder.project.weight.T + image_encoder.project.bias

    regions = image_encoder(image_encoder.prepare(features))

    assert_close(regions.embeddings, hidden / (hidden.norm(dim=-1, keepdim=True) + 1e-8))


def test_the_projection_starts_xavier_uniform():
    """Its weights are within sqrt(6 / (in + out)) and reach near it; its bias is 0."""
    project = RegionEncoder(feature_dim=200, dim=100).project

    assert 0.99 < project.weight.abs().max().item() / math.sqrt(6 / 300) <= 1
    assert (project.bias == 0).all()


@pytest.mark.parametrize("context", ["basic", "self_attention"])
def test_arrays_lists_and_regions_are_prepared_alike(context):
    """The same features in any accepted form, half precision and read-only arrays included."""
    image_encoder = encoder(context=context)
    features = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float16)
    features.flags.writeable = False
    mask = torch.ones(3, 4, dtype=torch.bool)
    as_regions = Regions(torch.tensor(features).float(), mask)
    forms = [torch.tensor(features), features, list(features), features.tolist(), as_regions]

    encoded = [image_encoder(image_encoder.prepare(form)).embeddings for form in forms]

    assert all(torch.equal(one, encoded[0]) for one in encoded)


def test_padding_is_neither_attended_to_nor_encoded():
    """An image of two regions encodes alike beside one of five; its padding becomes zero."""
    image_encoder = encoder(context="self_attention")
    small, large = torch.randn(2, 6), torch.randn(5, 6)

    together = image_encoder(image_encoder.prepare([small, large])).embeddings[0]
    alone = image_encoder(image_encoder.prepare([small])).embeddings[0]

    assert_close(together[:2], alone)
    assert (together[2:] == 0).all()


def test_padding_between_regions_moves_behind_them():
    """Whatever the mask, an image is its real regions in their order."""
    image_encoder = encoder()
    mask = torch.tensor([[True, False, True, False], [True, True, True, False]])
    features, boxes = torch.randn(2, 4, 6), torch.rand(2, 4, 4)

    regions = image_encoder.prepare(Regions(features, mask, boxes))

    assert regions.mask.tolist() == [[True, True, False], [True, True, True]]
    assert_close(regions.features[0, :2], features[0, [0, 2]])
    assert_close(regions.boxes[0, :2], boxes[0, [0, 2]])
    assert_close(regions.features[1], features[1, :3])


def test_noise_drops_a_fifth_of_the_regions_with_their_boxes():
    """Boxes stay beside their regions, and the gaps are closed."""
    image_encoder = encoder(region_drop=0.2)
    regions = Regions(
        torch.randn(200, 36, 6),
        torch.ones(200, 36, dtype=torch.bool),
        boxes=torch.arange(36.0)[None, :, None].expand(200, 36, 4),
        sizes=torch.full((200, 2), 9.0),
    )

    kept = image_encoder.prepare(regions, generators(200))

    counts = kept.mask.sum(dim=1)
    assert counts.float().mean().item() == pytest.approx(0.8 * 36, abs=0.5)
    assert kept.mask.shape[1] == counts.max()
    for row in range(0, 200, 20):
        real_places = kept.boxes[row, : counts[row], 0].long()
        assert kept.mask[row, : counts[row]].all()
        assert torch.equal(kept.features[row, : counts[row]], regions.features[row, real_places])


def test_noise_is_a_function_of_the_item_alone():
    """The same generator drops the same regions in another batch, with other padding."""
    image_encoder = encoder(region_drop=0.5)
    small, large = torch.randn(3, 6), torch.randn(9, 6)

    in_company = image_encoder.prepare([large, small], generators(2))
    alone = image_encoder.prepare([small], generators(2)[1:])

    row = in_company[1:]
    assert torch.equal(row.features[row.mask], alone.features[alone.mask])


def test_noise_leaves_at_least_one_region():
    """Released code can drop them all and then scores an image of nothing."""
    image_encoder = encoder(region_drop=0.99)

    assert image_encoder.prepare(torch.randn(50, 3, 6), generators(50)).mask.any(dim=1).all()


def test_without_noise_no_region_is_dropped():
    """Evaluation sees every region."""
    assert encoder(region_drop=0.9).prepare(torch.randn(5, 7, 6)).mask.all()


def test_standardize_measures_real_regions_and_is_saved():
    """After `fit`, the features of the train split have mean 0 and scale near 1."""
    image_encoder = encoder(standardize=True)
    features = torch.randn(40, 5, 6) * torch.tensor([1.0, 5, 0.1, 1, 1, 2]) + 3
    mask = torch.rand(40, 5) < 0.8
    features[~mask] = 1e6

    image_encoder.fit(Regions(features, mask).split(7))

    state = image_encoder.state_dict()
    seen = (features[mask] - state["feature_mean"]) / state["feature_scale"]
    spread = features[mask].std(dim=0, correction=0)
    assert_close(seen.mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    assert_close(state["feature_scale"], spread + 0.05 * spread.mean(), atol=1e-4, rtol=1e-4)


def test_without_standardize_fit_reads_nothing():
    """Training may offer features to every encoder; the paper's asks for none."""
    image_encoder = encoder()
    before = image_encoder.state_dict()

    image_encoder.fit(iter(lambda: pytest.fail("was read"), None))

    assert image_encoder.state_dict().keys() == before.keys() == {"project.weight", "project.bias"}


def masked(*lengths: int) -> Regions:
    """Zeros with that many real regions an image."""
    return Regions(
        torch.zeros(len(lengths), 4, 6), torch.arange(4) < torch.tensor(lengths)[:, None]
    )


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "There are no images"),
        ([torch.zeros(3, 6), torch.zeros(0, 6)], "Image 1 has no regions"),
        (masked(4, 2, 0), "Image 2 has no regions"),
        ([torch.zeros(3, 6), torch.zeros(3, 5)], r"Image 1 .* \(3, 5\) where \(regions, 6\)"),
        (torch.zeros(3, 6), r"Image 0 has features of shape \(6,\) where \(regions, 6\)"),
        (Regions(torch.zeros(1, 2, 5), torch.ones(1, 2, dtype=torch.bool)), r"\(1, 2, 5\) where"),
        ([torch.zeros(3, 6), torch.full((2, 6), torch.nan)], "image 1 hold NaN or infinity"),
        (np.full((1, 2, 6), np.inf), "image 0 hold NaN or infinity"),
        (["dog.jpg"], "Image 0 is a str, which is no array of region features"),
        ([[[1.0, 2.0], [1.0]]], "Image 0 is a list, which is no array"),
    ],
)
def test_what_cannot_be_encoded_is_refused(items, words):
    """The message names the image."""
    with pytest.raises(InputError, match=words):
        encoder().prepare(items)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HardAligner(coding="vsha"), "coding is 'vsha'. Use one of vha, tha, vsa."),
        (
            lambda: HardAligner(pooling="LSE"),
            "pooling is 'LSE'. Use one of lse, mean, sum, max, softmax.",
        ),
        (lambda: HardAligner(temperature=0), "temperature is 0. Use a number above 0."),
        (
            lambda: encoder(context="transformer"),
            "context is 'transformer'. Use one of basic, self_attention.",
        ),
        (lambda: encoder(region_drop=1.0), "region_drop is 1.0. Use a number from 0 to below 1."),
    ],
)
def test_wrong_options_are_refused(make, words):
    """The message names the option, the value and what would do."""
    with pytest.raises(InputError) as caught:
        make()

    assert str(caught.value) == words


# ----------------------------------------------------------------------------------------- recipes

RECIPES = ["chan-coco", "chan-coco.bert_butd", "chan-f30k", "chan-f30k.bert_butd"]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_the_model_that_the_registry_lists(name):
    """One name for card and recipe, and the same parts in both."""
    recipe, card = read_recipe(name), shipped_registry().find(name)

    model = recipe["model"]
    listed = {part: model[part] for part in card.config}

    assert card.recipe == recipe["name"] == name
    assert listed == card.config


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_settings_of_released_code(name):
    """Section 7 of the specification, as numbers."""
    recipe = read_recipe(name)
    bert = "bert" in name

    assert recipe["optim_wrapper"]["optimizer"] == {
        "type": "AdamW",
        "lr": 5e-4,
        "weight_decay": 1e-4 if bert else 0.01,
    }
    assert recipe["optim_wrapper"]["clip_grad"] == {"max_norm": 2.0}
    assert recipe["data"]["batch_size"] == (128 if bert else 384)
    assert (recipe["train_cfg"]["max_epochs"], recipe["seed"]) == (25, 2022)
    assert recipe["param_scheduler"][0]["milestones"] == [15]
    assert build("loss", recipe["loss"]).margin == 0.05
    assert recipe["warm_up"] == {"epochs": 1, "negatives": "all"}

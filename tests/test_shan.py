"""SHAN against its specification, written out pair by pair with every vector formed."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Fragments
from zoo.catalogue.registry import shipped_registry
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.errors import InputError
from zoo.kernels import products as multiplying
from zoo.model import MatchingModel
from zoo.ops import l2_normalize
from zoo.training.recipe import read_recipe
from zoo_shan import gated_pooling as pooling
from zoo_shan.gated_pooling import gated_pooling
from zoo_shan.model import StepwiseAligner
from zoo_shan.side import DIRECTIONS, LEVELS, Side, SideProjections

FEATURES, DIM = 6, 8
CAPTIONS = ["a dog runs", "two children play in the cold water", "grass", "a red bicycle"]
FILES = {"vocab.json": Vocabulary.build(CAPTIONS, 1).to_json()}
IMAGES = (3, 5, 1)
VARIANTS = [*itertools.product(DIRECTIONS, LEVELS, ["vector"]), ("both", LEVELS[-1], "scalar")]
SHARES = {"local_share": 0.2, "global_share": 0.4}
OPTIONS = {"local_sharpness": 9.0, "global_sharpness": 2.0, **SHARES}


def make_model(direction="both", level=LEVELS[-1], gate="vector", **options) -> MatchingModel:
    """A small model in float64 whose weights are large enough for every formula to count."""
    both = {"direction": direction, "level": level}
    reader = {"type": "bigru", "word_dim": 5, "dim": DIM}
    model = MatchingModel(
        build(
            "image_encoder",
            {"type": "shan_regions", "feature_dim": FEATURES, "dim": DIM, "gate": gate, **both},
        ),
        build(
            "text_encoder", {"type": "shan_words", "reader": reader, "gate": gate, **both}, FILES
        ),
        build("aligner", {"type": "stepwise_alignment", "dim": DIM, **both, **OPTIONS | options}),
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return model.double().eval()


def encoded(model: MatchingModel) -> tuple[Side, Side]:
    """Images of different numbers of regions and captions of different lengths."""
    features = [torch.randn(count, FEATURES) for count in IMAGES]
    images = model.image_encoder(model.image_encoder.prepare(features))
    return images, model.text_encoder(model.text_encoder.prepare(CAPTIONS))


# --------------------------------------------------- section 4 of the specification, pair by pair


def cosine(x: Tensor, y: Tensor) -> Tensor:
    """Of two vectors."""
    return x @ y / (x.norm() * y.norm())


def messages(sources: Tensor, affinity: Tensor) -> Tensor:
    """What each query gets: a mean of the sources, formed."""
    return torch.stack([(9 * row).softmax(0) @ sources for row in affinity])


def context(own: Tensor, got: Tensor, matrix: Tensor, bias: Tensor, row: Tensor) -> Tensor:
    """Fragments gated with their messages by a matrix for both, then pooled."""
    blended = []
    for fragment, message in zip(own, got, strict=True):
        gate = torch.sigmoid(matrix @ torch.cat([fragment, message]) + bias)
        blended.append(gate * fragment + (1 - gate) * message)
    shares = torch.stack([row @ one for one in blended]).softmax(0)
    return sum(share * one for share, one in zip(shares, blended, strict=True))


def retrieved(query: Tensor, sources: Tensor) -> Tensor:
    """What a context vector finds on the other side: cosine attention."""
    return torch.stack([2 * cosine(query, one) for one in sources]).softmax(0) @ sources


def literal(model: MatchingModel, v: Tensor, t: Tensor) -> list[Tensor]:
    """Every step of one image and one text."""
    image, text, aligner = model.image_encoder.side, model.text_encoder.side, model.aligner
    mu = {"both": SHARES, "i2t": dict.fromkeys(SHARES, 1), "t2i": dict.fromkeys(SHARES, 0)}
    mu1, mu2 = mu[aligner.direction].values()
    affinity = (v @ image.key.weight.T) @ (t @ text.key.weight.T).T
    t_star, v_star = messages(t, affinity), messages(v, affinity.T)
    of_regions = torch.stack([cosine(*pair) for pair in zip(v, t_star, strict=True)]).mean()
    of_words = torch.stack([cosine(*pair) for pair in zip(t, v_star, strict=True)]).mean()
    steps = [mu1 * of_regions + (1 - mu1) * of_words]
    if aligner.level == "local_local":
        return steps
    g2l, v_g, t_g = 0, v.mean(0), t.mean(0)
    if aligner.direction != "t2i":
        matrix = torch.cat([image.own_gate.weight, text.gate.weight], dim=1)
        v_c = context(v, t_star, matrix, image.own_gate.bias, aligner.pool_regions)
        found = retrieved(v_c, t)
        g2l, v_g = g2l + mu2 * cosine(v_c, found), v_c + found
    if aligner.direction != "i2t":
        matrix = torch.cat([text.own_gate.weight, image.gate.weight], dim=1)
        t_c = context(t, v_star, matrix, text.own_gate.bias, aligner.pool_words)
        found = retrieved(t_c, v)
        g2l, t_g = g2l + (1 - mu2) * cosine(t_c, found), t_c + found
    return [*steps, g2l] if aligner.level == "global_local" else [*steps, g2l, cosine(v_g, t_g)]


def real(side: Side, row: int) -> Tensor:
    """One item's fragments."""
    return side.fragments.embeddings[row][side.fragments.mask[row]]


def literal_levels(model: MatchingModel, images: Side, texts: Side) -> list[Tensor]:
    """Every step of every pair: (images, texts) each."""
    pairs = [
        [torch.stack(literal(model, real(images, i), real(texts, t))) for t in range(len(texts))]
        for i in range(len(images))
    ]
    return list(torch.stack([torch.stack(row) for row in pairs]).unbind(-1))


@pytest.mark.parametrize(("direction", "level", "gate"), VARIANTS)
@pytest.mark.parametrize("elements", [2**18, 50])
def test_scores_and_levels_equal_the_definitions(direction, level, gate, elements, monkeypatch):
    """The factorised form is exact, whatever the variant and the size of chunks."""
    monkeypatch.setitem(pooling.ELEMENTS, "cpu", elements)
    model = make_model(direction, level, gate)
    with torch.no_grad():
        images, texts = encoded(model)
        expected = literal_levels(model, images, texts)
        similarity = model.aligner(images, texts)

    assert list(similarity.levels) == list(LEVELS[: len(expected)])
    for step, wanted in zip(similarity.levels.values(), expected, strict=True):
        assert_close(step, wanted, atol=1e-7, rtol=0)
    assert_close(similarity.scores, sum(expected), atol=1e-7, rtol=0)


@pytest.mark.parametrize(("direction", "level", "gate"), VARIANTS)
def test_gradients_equal_those_of_the_definitions(direction, level, gate):
    """Each parameter gets the gradient that the literal form gives it."""
    model = make_model(direction, level, gate)
    images, texts = encoded(model)
    weights = torch.randn(len(images), len(texts)).double()
    forms = model.aligner(images, texts).scores, sum(literal_levels(model, images, texts))

    ours, expected = (
        torch.autograd.grad((weights * scores).sum(), list(model.parameters()), retain_graph=True)
        for scores in forms
    )

    for one, wanted in zip(ours, expected, strict=True):
        assert_close(one, wanted, atol=1e-6, rtol=1e-6)


def sides(one: Fragments, other: Fragments) -> tuple[Side, Side]:
    """Images and texts of a full model, from their fragments."""
    dim = one.embeddings.shape[-1]
    heads = [SideProjections(dim, way, "both", LEVELS[-1], "vector") for way in ("i2t", "t2i")]
    both = [head.to(one.embeddings.dtype) for head in heads]
    return both[0](one), both[1](other)


def ragged(lengths: list[int], dim: int) -> Fragments:
    """Items of so many unit fragments."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    units = l2_normalize(torch.randn(len(lengths), max(lengths), dim))
    return Fragments(units.masked_fill(~mask[..., None], 0), mask)


def in_float64(side: Side) -> Side:
    """The same numbers."""
    parts = {
        name: part and Fragments(part.embeddings.double(), part.mask)
        for name, part in vars(side).items()
    }
    return Side(**parts)


@pytest.mark.parametrize("by_one_dnn", [False, True])
def test_float32_is_within_a_hundred_thousandth_of_float64(by_one_dnn, monkeypatch):
    """At the size of real pairs, 36 regions, 256 dimensions; gradients too, by either library."""
    if by_one_dnn and not multiplying.has_one_dnn():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(multiplying, "_one_dnn_is_faster", lambda: by_one_dnn)
    monkeypatch.setattr(multiplying, "LEAST", 1)
    monkeypatch.setattr(multiplying, "LEAST_AGAIN", 1)
    encodings = sides(ragged([36, 30], 256), ragged([12, 25, 1], 256))
    aligner = StepwiseAligner(256)

    scores = aligner(*encodings).scores
    slopes = torch.autograd.grad(scores.square().sum(), list(aligner.parameters()))
    aligner = aligner.double()
    expected = aligner(*map(in_float64, encodings)).scores
    wanted = torch.autograd.grad(expected.square().sum(), list(aligner.parameters()))

    assert (scores.dtype, expected.dtype) == (torch.float32, torch.float64)
    assert_close(scores.double(), expected, atol=1e-5, rtol=0)
    for one, other in zip(slopes, wanted, strict=True):
        assert_close(one.double(), other, atol=1e-5 * float(other.abs().max()), rtol=0)


def test_scores_are_float32_under_autocast():
    """Rounded affinities would change what a fragment attends to."""
    encodings, aligner = sides(ragged([5, 3], 16), ragged([2, 4], 16)), StepwiseAligner(16)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = aligner(*encodings).scores

    assert_close(scores, aligner(*encodings).scores, atol=0, rtol=0)


def test_each_step_is_within_minus_one_and_one():
    """So a score is within [-3, 3], however long the sentence."""
    model = make_model()
    with torch.no_grad():
        levels = model.aligner(*encoded(model)).levels

    assert len(levels) == 3
    assert all(step.abs().max() <= 1 + 1e-9 for step in levels.values())


def test_a_region_that_is_the_only_word_scores_three():
    """Every cosine is 1, whatever the gates and projections."""
    one = ragged([1], DIM)

    assert StepwiseAligner(DIM)(*sides(one, one)).scores.item() == pytest.approx(3, abs=1e-5)


def test_word_regions_are_what_attention_goes_by():
    """A figure shows P Q^T, -inf where a word or a region is padding."""
    images, texts = sides(ragged([3, 2], DIM), ragged([4], DIM))

    shown = StepwiseAligner(DIM).word_regions(images, texts)

    assert shown.shape == (2, 1, 4, 3)
    assert (shown[1, :, :, 2] == -torch.inf).all()
    expected = images.keys.embeddings[1, 0] @ texts.keys.embeddings[0, 3]
    assert_close(shown[1, 0, 3, 0], expected)


@pytest.mark.parametrize("elements", [25, 80])
@pytest.mark.parametrize("gates", [4, 1])
def test_the_gradient_of_gated_pooling_is_that_of_differences(gates, elements, monkeypatch):
    """`gradcheck` with padding, by vector and scalar gates, in chunks along either axis."""
    monkeypatch.setitem(pooling.ELEMENTS, "cpu", elements)
    shapes = [(3, 3, 3, 2), (3, 3, 4), (3, 3, gates), (3, 2, 4), (3, 2, gates), (4,)]
    inputs = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    mask = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])

    assert torch.autograd.gradcheck(lambda *one: gated_pooling(*one, mask), inputs)


def test_parameters_are_those_of_the_paper():
    """20,928,172 learn at the paper's size with the 8,481 words of Flickr30K; word vectors rest."""
    words = [f"w{number}" for number in range(8477)]
    vocabulary = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", *words))
    reader = {"type": "bigru", "word_dim": 300, "fixed_dim": 300, "dim": 1024}
    text_encoder = {"type": "shan_words", "reader": reader}
    model = MatchingModel(
        build("image_encoder", {"type": "shan_regions"}),
        build("text_encoder", text_encoder, {"vocab.json": vocabulary.to_json()}),
        build("aligner", {"type": "stepwise_alignment"}),
    )

    assert sum(one.numel() for one in model.parameters()) == 20_928_172
    assert sum(one.numel() for one in model.buffers()) == 8481 * 300


def test_constants_are_those_of_the_paper():
    """Section 4.2: lambda 15, mu1 0.3, mu2 0.5; Eq 10-11 have no lambda."""
    aligner = StepwiseAligner()

    assert (aligner.attention.sharpness, aligner.global_sharpness) == (15, 1)
    assert (aligner.local_share, aligner.global_share) == (0.3, 0.5)


def test_matrices_start_xavier_uniform_and_biases_at_zero():
    """A gate's within sqrt(6 / (3 dim)), as one matrix of two halves; a scalar gate's likewise."""
    vector = SideProjections(64, "i2t", "both", LEVELS[-1], "vector")
    scalar = SideProjections(64, "i2t", "both", LEVELS[-1], "scalar")

    for weight, rows, columns in [
        (vector.key.weight, 64, 64),
        (vector.own_gate.weight, 64, 128),
        (vector.gate.weight, 64, 128),
        (scalar.gate.weight, 1, 128),
        (StepwiseAligner(64).pool_words, 1, 64),
    ]:
        assert 0.9 < weight.abs().max().item() / math.sqrt(6 / (rows + columns)) <= 1
    assert (vector.own_gate.bias == 0).all()


def test_with_word_vectors_training_goes_on(tmp_path):
    """They stand before the learned embeddings, and do not learn."""
    file = tmp_path / "vectors.txt"
    file.write_text("dog 1 2 3 4\n")
    reader = {"type": "bigru", "word_dim": 5, "fixed_dim": 4, "dim": DIM}
    text_encoder = build("text_encoder", {"type": "shan_words", "reader": reader}, FILES).train()

    text_encoder.load_initial(file)
    text_encoder(text_encoder.prepare(CAPTIONS)).keys.embeddings.sum().backward()

    dog = text_encoder.reader.vocabulary.words.index("dog")
    assert text_encoder.reader.fixed[dog].tolist() == [1, 2, 3, 4]
    assert text_encoder.reader.fixed.grad is None


def test_sides_of_another_variant_are_refused():
    """The message names what the aligner is for."""
    encodings = sides(ragged([2], DIM), ragged([3], DIM))

    with pytest.raises(InputError) as caught:
        StepwiseAligner(DIM, "t2i", "global_local")(*encodings)

    assert str(caught.value) == (
        "The images or the texts were encoded for another direction or level than the aligner's, "
        "t2i and global_local. Give image_encoder, text_encoder and aligner the same direction "
        "and level."
    )


def test_gates_of_two_kinds_are_refused():
    """A vector of one side cannot be added to a number of the other."""
    images, texts = (
        SideProjections(DIM, way, "both", LEVELS[-1], gate)(ragged([2], DIM))
        for way, gate in (("i2t", "vector"), ("t2i", "scalar"))
    )

    with pytest.raises(InputError, match="Give both encoders the same gate and dim"):
        StepwiseAligner(DIM)(images, texts)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"direction": "i2i"}, "direction is 'i2i'. Use one of both, i2t, t2i."),
        (
            {"level": "g2g"},
            "level is 'g2g'. Use one of local_local, global_local, global_global.",
        ),
        ({"gate": "matrix"}, "gate is 'matrix'. Use one of vector, scalar."),
        ({"local_sharpness": 0}, "local_sharpness is 0. Use a number above 0."),
        ({"global_sharpness": -1}, "global_sharpness is -1. Use a number above 0."),
        ({"local_share": 1.2}, "local_share is 1.2. Use a number from 0 to 1."),
        ({"global_share": -1}, "global_share is -1. Use a number from 0 to 1."),
    ],
)
def test_wrong_options_are_refused(options, said):
    """The message names the option, the value and what would do."""
    with pytest.raises(InputError) as caught:
        make_model(**options)

    assert str(caught.value) == said


# ----------------------------------------------------------------------------------------- recipes

RECIPES = [
    f"shan-{dataset}{variant}"
    for dataset in ("f30k", "coco")
    for variant in ("", ".bigru_butd_i2t", ".bigru_butd_t2i")
]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_the_model_that_the_registry_lists(name):
    """One name for card and recipe, and the same parts in both, all of one direction."""
    recipe, card = read_recipe(name), shipped_registry().find(name)

    listed = {part: recipe["model"][part] for part in card.config}

    assert card.recipe == recipe["name"] == name
    assert listed == card.config
    wanted = name.rpartition("_")[2] if "butd_" in name else "both"
    parts = ("image_encoder", "text_encoder", "aligner")
    assert {listed[part]["direction"] for part in parts} == {wanted}


def test_the_results_of_the_paper_are_those_that_it_prints():
    """Rsums of its tables 1 and 2: full, I2T, T2I."""
    printed = [shipped_registry().find(name).results.paper[0].rsum for name in RECIPES]

    assert printed == [490.0, 470.6, 478.3, 519.8, 506.5, 513.8]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_settings_of_the_paper(name):
    """Section 5 of the specification, as numbers."""
    recipe = read_recipe(name)
    loss = build("loss", recipe["loss"])

    assert recipe["optim_wrapper"]["optimizer"] == {"type": "Adam", "lr": 2e-4}
    assert recipe["optim_wrapper"]["clip_grad"] == {"max_norm": 2.0}
    assert (recipe["data"]["batch_size"], recipe["train_cfg"]["max_epochs"]) == (128, 30)
    assert recipe["param_scheduler"][0]["milestones"] == [15]
    assert (loss.margin, loss.negatives, loss.reduction) == (0.2, "hardest", "sum")
    assert recipe["warm_up"] is None


def test_the_recipe_can_do_without_word_vectors():
    """The two settings that its first lines and the refusal name."""
    settings = ["initial_weights.text_encoder=None", "model.text_encoder.reader.fixed_dim=0"]

    recipe = read_recipe("shan-f30k", settings)

    assert recipe["initial_weights"]["text_encoder"] is None
    assert recipe["model"]["text_encoder"]["reader"]["fixed_dim"] == 0

"""TVRN against its specification: released code written out by its weights' names, and ours."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import zoo_tvrn.blocks
import zoo_tvrn.evidence
from literal import (
    Weights,
    att,
    dense,
    head_score,
    head_shapes,
    norm,
    pooled,
    recurrent,
    saf,
    shaped,
    two_way,
    unit,
    units,
)
from paper_rows import paper_sums
from zoo.batch import Regions
from zoo.catalogue.registry import shipped_registry
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.errors import InputError, WeightsError
from zoo.interfaces import Pairs, Similarity
from zoo.model import MatchingModel
from zoo.training.recipe import read_recipe
from zoo_tvrn.evidence import squared_differences
from zoo_tvrn.losses import LogSumExpLoss
from zoo_tvrn.records import RefinedImage, RefinedText
from zoo_tvrn.refinement import overlap
from zoo_tvrn.release import released_account, released_config, score_as_released

FEATURES, DIM, WORD_DIM, SIMILARITY_DIM = 7, 6, 5, 4
CAPTIONS = ["a dog runs", "two children play in cold water", "grass", "a red bicycle"]
VOCABULARY = Vocabulary.build(CAPTIONS, 1)
FILES = {"vocab.json": VOCABULARY.to_json()}


def some_regions(*counts: int) -> Regions:
    """Images of so many regions, whose boxes overlap by half or less; rubbish at padding."""
    mask = torch.arange(max(counts)) < torch.tensor(counts)[:, None]
    corners = 60 * torch.rand(*mask.shape, 2)
    boxes = torch.cat([corners, corners + 60 + 60 * torch.rand(*mask.shape, 2)], dim=-1)
    return Regions(torch.randn(*mask.shape, FEATURES), mask, boxes)


# ------------------------------------------------------------------------------------ released code


def checkpoint(head: str) -> tuple[Weights, Weights, Weights]:
    """Random weights under the names of a released checkpoint, section 7."""
    between = {}
    for name in ("v_global_w", "t_global_w"):
        between |= dense(f"{name}.embedding_local.0", DIM, DIM)
        between |= dense(f"{name}.embedding_global.0", DIM, DIM)
        between |= dense(f"{name}.embedding_common.0", 1, DIM)
    between |= norm("v_global_w.embedding_local.1", 72)
    between |= norm("v_global_w.embedding_global.1", DIM)
    for name in ("sim_tranloc_w", "sim_tranglo_w", "sim_trancon_w"):
        between |= dense(name, SIMILARITY_DIM, DIM)
    for name in ("fcq", "fck", "fcv"):
        between |= dense(f"scan_attention.{name}", DIM, DIM) | dense(name, DIM, DIM)
    between |= recurrent("cap_rnn", DIM, DIM) | recurrent("img_rnn", DIM, DIM)
    between |= head_shapes(head, SIMILARITY_DIM)
    text = {"embed.weight": (len(VOCABULARY), WORD_DIM)}
    text |= two_way("cap_rnn", WORD_DIM, DIM)
    return shaped(dense("fc", DIM, FEATURES)), shaped(text), shaped(between)


def released_image(
    image: Weights, w: Weights, features: Tensor, near: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Unified regions (72, dim), the whole, and the context regions, of one image."""
    v = units(image("fc", features))
    sem = units(att(w("scan_attention.fcq", v) @ w("scan_attention.fck", v).T) @ v)
    q, k, count = w("fcq", v), w("fck", v), len(v)
    rel = torch.zeros(count, count, dtype=v.dtype)
    for i, j in itertools.product(range(count), repeat=2):
        rel[i, j] = q[i] @ k[j] / (q[i].norm() * k[i].norm())  # the key of i, not of j
    geo = units(att(near.T * rel) @ v)
    con = units((sem + geo) / 2)
    new = units(torch.where(v * con > 0, v * con, 0.1 * v * con))
    u = units(w.gru("img_rnn", torch.cat([v, new])) + torch.cat([v, v]))
    projected = w("v_global_w.embedding_local.0", u).T  # (dim, slots): the slot is the channel
    local = w.batch_norm("v_global_w.embedding_local.1", projected).T.tanh()
    mean = w("v_global_w.embedding_global.0", u.mean(dim=0))
    overall = w.batch_norm("v_global_w.embedding_global.1", mean).tanh()
    return u, pooled(u, local, overall, w["v_global_w.embedding_common.0.weight"][0]), con


def released_words(text: Weights, caption: str) -> Tensor:
    """Words of one caption: (words, dim)."""
    x = text["embed.weight"][list(VOCABULARY.encode(caption))]
    return units(text.both_ways("cap_rnn", x))


def released_text(w: Weights, c: Tensor, con: Tensor) -> tuple[Tensor, Tensor]:
    """Refined words (2 words, dim) and the whole of one caption, for one image's context."""
    cc = units(att(w("scan_attention.fcq", c) @ w("scan_attention.fck", c).T) @ c)
    ex = units(att(w("scan_attention.fcq", cc) @ w("scan_attention.fck", con).T) @ con)
    y = units(w.gru("cap_rnn", torch.cat([c, ex])) + torch.cat([c, c]))
    local = w("t_global_w.embedding_local.0", y).tanh()
    overall = w("t_global_w.embedding_global.0", y.mean(dim=0)).tanh()
    return y, pooled(y, local, overall, w["t_global_w.embedding_common.0.weight"][0])


def released_score(w: Weights, u: Tensor, g_v: Tensor, y: Tensor, g_t: Tensor) -> Tensor:
    """The score of one pair."""
    c = units(att(y @ u.T) @ u)
    local = units(w("sim_tranloc_w", (c - y).square()))
    x = torch.cat([unit(w("sim_tranglo_w", (g_v - g_t).square()))[None], local])
    return head_score(w, x)


def intersection_over_union(one: list[float], other: list[float]) -> float:
    """Of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)


def neighbours(boxes: Tensor, threshold: float = 0.5) -> Tensor:
    """1 where two regions overlap by so much, else 0."""
    rows = [
        [intersection_over_union(a, b) >= threshold for b in boxes.tolist()] for a in boxes.tolist()
    ]
    return torch.tensor(rows).double()


def released_scores(
    weights: tuple[Weights, Weights, Weights],
    images: Regions,
    near: list[Tensor],
    captions: list[str],
) -> Tensor:
    """A block of the released program, where the first image's context serves all."""
    image, text, w = weights
    encoded = [
        released_image(image, w, features.double(), one)
        for features, one in zip(images.features, near, strict=True)
    ]
    words = [released_words(text, caption) for caption in captions]
    refined = [released_text(w, c, encoded[0][2]) for c in words]
    rows = [[released_score(w, u, g, *one) for one in refined] for u, g, _ in encoded]
    return torch.stack([torch.stack(row) for row in rows])


def released_model(weights: tuple[Weights, Weights, Weights]) -> MatchingModel:
    """Our parts, loaded from the checkpoint; every name must find its place."""
    config = released_config(*weights)
    parts = {kind: build(kind, config[kind], FILES) for kind in config}
    model = MatchingModel(**parts).double().eval()
    model.load_state_dict(released_account(*weights).tensors, strict=True)
    return model


@pytest.mark.parametrize("head", ["sgr", "saf"])
def test_release_mode_scores_as_the_released_program(head):
    """All its quirks, on random weights under its names, in float64."""
    weights, images = checkpoint(head), some_regions(36, 36)
    near = [neighbours(boxes) for boxes in images.boxes]
    model = released_model(weights)

    with torch.no_grad():
        scores = model(images, model.text_encoder.prepare(CAPTIONS[:2])).scores

    expected = released_scores(weights, images, near, CAPTIONS[:2])
    assert expected.std() > 1e-3
    assert_close(scores, expected, rtol=0, atol=1e-10)


def test_the_released_evaluation_is_repeated_block_by_block():
    """Overlaps of the last captions' images, longest first, and the first image's context."""
    weights, images = checkpoint("saf"), some_regions(36, 36, 36, 36)
    model, described = released_model(weights), torch.tensor([0, 3, 1, 2])
    captions = [CAPTIONS[0], CAPTIONS[2], CAPTIONS[2], CAPTIONS[3]]  # the last is the longer

    scores = score_as_released(
        model.image_encoder, model.text_encoder, model.aligner, images, captions, described, block=2
    )

    stale = [neighbours(images.boxes[2]), neighbours(images.boxes[1])]
    blocks = [released_scores(weights, part, stale, captions) for part in images.split(2)]
    assert_close(scores, torch.cat(blocks), rtol=0, atol=1e-10)
    own = [neighbours(boxes) for boxes in images.boxes[:2]]
    assert not torch.allclose(scores[:2], released_scores(weights, images[:2], own, captions))


def test_the_released_evaluation_needs_full_blocks():
    """Where the released program would stop, so do we, and say so."""
    model = released_model(checkpoint("saf"))
    parts = (model.image_encoder, model.text_encoder, model.aligner)

    with pytest.raises(InputError, match=r"3 images and 4 captions.* needs multiples of 2"):
        score_as_released(*parts, some_regions(36, 36, 36), CAPTIONS, torch.arange(4), block=2)


def test_a_checkpoint_of_something_else_is_refused():
    """A name that no released checkpoint has is named."""
    image, text, between = checkpoint("sgr")

    with pytest.raises(WeightsError, match=r"holds similarity fcz.weight, which has no place"):
        released_account(image, text, Weights(between | {"fcz.weight": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"holds image encoder embed.weight, .* lacks"):
        released_account(text, image, between)


def test_release_mode_breaks_the_contract_and_the_default_keeps_it():
    """Another order of the images changes released scores, and not ours."""
    images, order = some_regions(36, 36, 36), torch.tensor([2, 0, 1])
    moved = {}
    for name, model in (("release", released_model(checkpoint("saf"))), ("clean", clean())):
        texts = model.text_encoder.prepare(CAPTIONS)
        with torch.no_grad():
            scores = model(images, texts).scores
            permuted = model(images[order], texts).scores
        moved[name] = (permuted - scores[order]).abs().max().item()

    assert moved["release"] > 1e-4
    assert moved["clean"] < 1e-12


# -------------------------------------------------------------------------------------- ours, clean


def clean(
    image: dict | None = None, text: dict | None = None, aligner: dict | None = None, **shared
) -> MatchingModel:
    """A small model in float64, its weights large enough for every formula to count."""
    reader = {"type": "bigru", "word_dim": WORD_DIM, "dim": DIM}
    sizes = {"dim": DIM, "similarity_dim": SIMILARITY_DIM}
    model = MatchingModel(
        build(
            "image_encoder",
            {
                "type": "tvrn_regions",
                "feature_dim": FEATURES,
                "dim": DIM,
                **shared,
                **(image or {}),
            },
        ),
        build(
            "text_encoder",
            {"type": "tvrn_words", "reader": reader, **shared, **(text or {})},
            FILES,
        ),
        build("aligner", {"type": "refined_alignment", **sizes, **shared, **(aligner or {})}),
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.add_(0.6 * torch.randn_like(parameter))
            if name.endswith("change.bias"):
                parameter.abs_().add_(0.5)  # a ReLU that is 0 for all would hide the rest
    return model.double().eval()


def pool(w: Weights, u: Tensor, local: Tensor) -> Tensor:
    """The whole of an item, where the tokens' projections are known."""
    overall = w("overall.linear", u.mean(dim=0)).tanh()
    return pooled(u, local, overall, w["weight.weight"][0])


def under(weights: Weights, prefix: str) -> Weights:
    """The tensors under a name, by the rest of their names."""
    start = f"{prefix}."
    return Weights({k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)})


def clean_image(model: MatchingModel, w: Weights, v: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
    """Tokens, whole and context of one image."""
    encoder, con, u = model.image_encoder, v, v
    if "content.query.weight" in w:
        con = units(att(w("content.query", v) @ w("content.key", v).T) @ v)
    if "spatial.query.weight" in w:
        near = neighbours(boxes, encoder.spatial.threshold or 0)
        q, k = units(w("spatial.query", v)), units(w("spatial.key", v))
        shares = att(near * (q @ k.T)) * near
        con = units((con + units((shares / shares.sum(dim=1, keepdim=True)) @ v)) / 2)
    if encoder.reading is not None:
        new = units(torch.where(v * con > 0, v * con, 0.1 * v * con))
        inputs, plain = (torch.cat([v, new]), torch.cat([v, v])) if encoder.doubled else (new, v)
        u = units(w.gru("reading.gru", inputs) + plain)
    pooling = under(w, "pooling")
    return u, pool(pooling, u, pooling("local.linear", u).tanh()), con


def clean_text(
    model: MatchingModel, w: Weights, c: Tensor, con: Tensor, image: Weights
) -> tuple[Tensor, Tensor]:
    """Tokens and whole of one caption, for one image's context; one GRU for each half."""
    context = model.aligner.text_context
    if context == "off":
        pooling = under(w, "text_encoder.refine.pooling")
        return c, pool(pooling, c, pooling("local.linear", c).tanh())
    refine = under(w, "text_encoder.refine")
    cc = units(att(refine("content.query", c) @ refine("content.key", c).T) @ c)
    if context == "none":
        twice = model.text_encoder.refine.doubled
        inputs, plain = (torch.cat([c, cc]), torch.cat([c, c])) if twice else (cc, c)
        y = units(refine.gru("reading.gru", inputs) + plain)
        return y, pool(under(refine, "pooling"), y, refine("pooling.local.linear", y).tanh())
    ex = units(att(refine("query", cc) @ image("offer.key", con).T) @ con)
    first = refine.gru("reading.gru", c)
    expanded = under(w, "aligner.expanded")
    gate = [image["offer.inputs.weight"], expanded["recurrent.weight"]]
    gate += [expanded["bias"], expanded["recurrent.bias"]]
    y = units(torch.cat([first, gru_from(first[-1], ex, *gate)]) + torch.cat([c, c]))
    local = [refine("local.linear", y[: len(c)]), expanded("pooling.local.linear", y[len(c) :])]
    return y, pool(under(expanded, "pooling"), y, torch.cat(local).tanh())


def gru_from(state: Tensor, inputs: Tensor, *weights: Tensor) -> Tensor:
    """As `gru`, from a state."""
    cell = torch.nn.GRUCell(DIM, DIM).double()
    named = dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), weights, strict=True))
    states = []
    for x in inputs:
        state = torch.func.functional_call(cell, named, (x[None], state[None]))[0]
        states.append(state)
    return torch.stack(states)


def clean_score(model: MatchingModel, w: Weights, u, g_v, y, g_t) -> Tensor:
    """The score of one pair; the enhancement as the figure has it, a product of two softmaxes."""
    shares = att(y @ u.T)
    if model.image_encoder.sae == "region":
        shares = shares * torch.outer((9 * y @ g_v).softmax(0), (9 * u @ g_v).softmax(0))
        shares = shares / shares.sum(dim=1, keepdim=True)
    local = units(w("local", (units(shares @ u) - y).square()))
    x = torch.cat([unit(w("whole", (g_v - g_t).square()))[None], local])
    if "head.weight.weight" in w:
        return torch.sigmoid(w("score", saf(x, w("head.weight", x)[:, 0])))[0]
    for step in range(3):
        q, k = w(f"head.steps.{step}.query", x), w(f"head.steps.{step}.key", x)
        x = w(f"head.steps.{step}.change", (q @ k.T).softmax(dim=1) @ x).relu()
    return torch.sigmoid(w("score", x[0]))[0]


def clean_scores(model: MatchingModel, images: Regions, captions: list[str]) -> Tensor:
    """Every pair on its own: (images, captions)."""
    w = Weights(model.named_parameters())
    image, aligner = under(w, "image_encoder"), under(w, "aligner")
    encoded, rows = [], []
    for features, mask, boxes in zip(images.features, images.mask, images.boxes, strict=True):
        v = units(image("project", features[mask].double()))
        encoded.append(clean_image(model, image, v, boxes[mask]))
    tokens = model.text_encoder.reader.prepare(captions)
    words = model.text_encoder.reader(tokens)
    for u, g_v, con in encoded:
        row = []
        for embeddings, mask in zip(words.embeddings, words.mask, strict=True):
            y, g_t = clean_text(model, w, embeddings[mask], con, image)
            row.append(clean_score(model, aligner, u, g_v, y, g_t))
        rows.append(torch.stack(row))
    return torch.stack(rows)


VARIANTS = {
    "default": {},
    "saf": {"aligner": {"head": "saf"}},
    "none": {"text_context": "none"},
    "none-saf": {"text_context": "none", "aligner": {"head": "saf"}},
    "single": {"text_context": "none", "image": {"doubled": False}, "text": {"doubled": False}},
    "no-sae": {"image": {"sae": "off"}},
    "content": {"image": {"region_context": "content"}},
    "all-near": {"image": {"threshold": None}},
    "plain-regions": {"image": {"region_context": "off"}},
    "off": {"text_context": "off", "image": {"region_context": "off", "sae": "off"}},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_scores_and_gradients_equal_the_definitions(name):
    """Every variant against pairs one at a time, without a shortcut, on ragged items."""
    model, images = clean(**VARIANTS[name]), some_regions(4, 1, 6)
    weights, parameters = torch.randn(3, len(CAPTIONS)).double(), list(model.parameters())

    scores = model(images, model.text_encoder.prepare(CAPTIONS)).scores
    expected = clean_scores(model, images, CAPTIONS)

    assert expected.std() > 1e-3
    assert_close(scores, expected, rtol=0, atol=1e-9)
    gradients = [
        torch.autograd.grad((weights * one).sum(), parameters) for one in (scores, expected)
    ]
    for (label, _), ours, theirs in zip(model.named_parameters(), *gradients, strict=True):
        assert_close(ours, theirs, rtol=1e-6, atol=1e-8, msg=label)


@pytest.mark.parametrize("name", ["default", "none-saf"])
def test_float32_is_close_to_float64(name):
    """As the zoo computes, to 1e-5."""
    model, images = clean(**VARIANTS[name]), some_regions(4, 1, 6)
    texts = model.text_encoder.prepare(CAPTIONS)

    with torch.no_grad():
        exact = model(images, texts).scores
        scores = model.float()(images, texts).scores

    assert scores.dtype == torch.float32
    assert_close(scores.double(), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["default", "none", "saf"])
def test_small_blocks_change_nothing(name, monkeypatch):
    """Neither scores nor gradients depend on how the pairs are cut."""
    model, images = clean(**VARIANTS[name]), some_regions(4, 1, 6)
    texts, weights = model.text_encoder.prepare(CAPTIONS), torch.randn(3, len(CAPTIONS)).double()
    runs = []
    for cells, words in ((2**20, 256), (1, 1)):
        monkeypatch.setattr(zoo_tvrn.blocks, "CELLS", cells)
        monkeypatch.setattr(zoo_tvrn.blocks, "WORDS", words)
        monkeypatch.setattr(zoo_tvrn.evidence, "CELLS", cells)
        scores = model(images, texts).scores
        runs.append((scores, *torch.autograd.grad((weights * scores).sum(), model.parameters())))

    for whole, cut in zip(*runs, strict=True):
        assert_close(cut, whole, rtol=1e-9, atol=1e-11)


def test_autocast_rounds_products_and_not_scores():
    """Under bfloat16 scores stay float32 and near; gradients flow."""
    model, images = clean(text_context="none").float(), some_regions(4, 1, 6)
    texts = model.text_encoder.prepare(CAPTIONS)
    exact = model(images, texts).scores
    encoded = model.image_encoder(images), model.text_encoder(texts)

    with torch.autocast("cpu", torch.bfloat16):
        scores = model.aligner(*encoded).scores
    scores.sum().backward()

    assert scores.dtype == torch.float32
    assert_close(scores, exact, rtol=0, atol=0.05)
    assert all(parameter.grad.isfinite().all() for parameter in model.aligner.parameters())


@pytest.mark.parametrize("images", [1, 3])
def test_squared_differences_and_their_gradient(images):
    """W (unit(sum a u) - y)^2 + b, differentiated by hand, for shared words and for own."""
    sizes = [(3, 4, 5), (3, 5, 6), (images, 4, 6), (2, 6), (2,)]
    inputs = [torch.randn(size, dtype=torch.float64, requires_grad=True) for size in sizes]
    a, u, y, matrix, bias = inputs

    seen = units((a @ u).flatten(0, 1)).view(3, 4, 6)

    assert_close(squared_differences(*inputs), (seen - y).square() @ matrix.T + bias)
    assert torch.autograd.gradcheck(squared_differences, inputs)


def test_a_word_that_sees_nothing_has_a_finite_gradient():
    """Regions of zeros, as a feature of zeros without a bias gives."""
    inputs = [torch.ones(1, 2, 3), torch.zeros(1, 3, 4), torch.ones(1, 2, 4)]
    inputs += [torch.ones(2, 4), torch.zeros(2)]
    for one in inputs:
        one.requires_grad_()

    squared_differences(*inputs).sum().backward()

    assert all(one.grad.isfinite().all() for one in inputs)


def test_word_regions_are_cosines_of_words_and_regions():
    """One row a word and one column a region, though both were read twice; -inf at padding."""
    model, images = clean(), some_regions(4, 1)
    pictures, texts = model.encode_images(images), model.encode_texts(CAPTIONS[:2])

    shown = model.aligner.word_regions(pictures, texts)

    counts = [len(model.text_encoder.words(caption)) for caption in CAPTIONS[:2]]
    assert shown.shape == (2, 2, max(counts), 4)
    assert shown.isfinite().sum(dim=(2, 3)).tolist() == [[4 * n for n in counts], counts]
    assert shown[shown.isfinite()].abs().max() <= 1 + 1e-9


# ------------------------------------------------------------------------------- boxes and refusals


def test_overlap_counts_from_the_threshold_on():
    """Half of the union is half, whatever rounding says; a region overlaps itself."""
    boxes = torch.tensor([[[0, 0, 2, 2], [0, 0, 2, 1], [1, 0, 3, 2], [9, 9, 9, 9]]]) * 33.3

    near = overlap(boxes, 0.5)[0]

    assert near.tolist() == [
        [True, True, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]
    assert overlap(boxes, 1 / 3)[0, 0, :3].all()


def test_regions_without_boxes_are_refused_with_a_remedy():
    """Before they are encoded, and in the encoder; without overlaps no boxes are needed."""
    images = Regions(torch.randn(2, 3, FEATURES), torch.ones(2, 3, dtype=torch.bool))

    for encode in (clean().image_encoder.prepare, clean().image_encoder):
        with pytest.raises(InputError, match=r"have none.*threshold=None or region_context"):
            encode(images)
    for options in ({"threshold": None}, {"region_context": "content"}, {"region_context": "off"}):
        assert len(clean(options).encode_images(images)) == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: clean(text_context="first"), "text_context is 'first', .*compat='release'"),
        (lambda: clean(text={"doubled": False}), "doubled is False .*Use text_context 'none'"),
        (lambda: clean(text_context="all"), "text_context is 'all'. Use one of pair, first"),
        (lambda: clean({"sae": "word"}), "sae is 'word'. Use one of region, off."),
        (lambda: clean({"region_context": "iou"}), "region_context is 'iou'. Use one of overlap"),
        (lambda: clean({"compat": "paper"}), "compat is 'paper'. Use one of clean, release."),
        (lambda: clean(aligner={"head": "mean"}), "head is 'mean'. Use one of sgr, saf."),
        (lambda: LogSumExpLoss(form="columns"), "form is 'columns'. Use one of proper, row_wise."),
        (lambda: LogSumExpLoss(temperature=0), "temperature is 0. Use a number above 0."),
    ],
)
def test_wrong_options_are_refused(make, words):
    """The message names the option, the value and what would do."""
    with pytest.raises(InputError, match=words):
        make()


def test_parts_of_different_text_contexts_are_refused():
    """Each part must be built for the same."""
    model, other = clean(), clean(text_context="none")
    images, texts = some_regions(3), model.text_encoder.prepare(CAPTIONS)

    for image_encoder, text_encoder, aligner in [
        (model.image_encoder, other.text_encoder, model.aligner),
        (other.image_encoder, model.text_encoder, model.aligner),
        (model.image_encoder, model.text_encoder, other.aligner),
    ]:
        with pytest.raises(InputError, match="the same text_context"):
            aligner(image_encoder(images), text_encoder(texts))


def test_release_mode_reads_36_regions():
    """Its batch norm has a place for each of 72 tokens."""
    encoder = released_model(checkpoint("saf")).image_encoder

    for images in (some_regions(35), some_regions(36, 30)):
        with pytest.raises(InputError, match="exactly 36 regions"):
            encoder(images)


def test_an_image_offers_no_more_than_texts_ask_for():
    """What only expanded texts need is neither computed nor built without them."""
    images = some_regions(3)

    offered = clean().encode_images(images)
    plain = clean({"sae": "off"}, text_context="none").encode_images(images)

    assert offered.context is not None
    assert isinstance(plain, RefinedImage)
    assert plain.context is None
    assert plain.relevance is None
    assert isinstance(clean(text_context="none").encode_texts(CAPTIONS), RefinedText)


# ------------------------------------------------------------------------------------------- loss


def loss_of(form: str, scores: Tensor, pairs: Pairs) -> float:
    """Of a block."""
    return LogSumExpLoss(form=form)(Similarity(scores), pairs).item()


def one_to_one(count: int) -> Pairs:
    """Each image with one caption."""
    rows = torch.arange(count)
    return Pairs(rows, rows, torch.eye(count, dtype=torch.bool))


def cross_entropy_of_costs(scores: Tensor, positives: Tensor) -> Tensor:
    """The released identity: cross-entropy of the hinge costs, diagonal 0, against the diagonal."""
    costs = ((0.2 + scores - positives).clamp(min=0) / 0.05).fill_diagonal_(0)
    return torch.nn.functional.cross_entropy(costs, torch.arange(len(scores)))


def test_the_row_wise_loss_is_the_released_one():
    """Both terms sum over the texts of a row, the second against each text's own match."""
    scores = torch.rand(5, 5).double()
    matches = scores.diag()
    terms = [cross_entropy_of_costs(scores, one) for one in (matches[:, None], matches[None])]

    assert loss_of("row_wise", scores, one_to_one(5)) == pytest.approx(sum(terms).item() / 2)


def test_the_proper_loss_sums_over_texts_and_over_images():
    """The second term is the first of the transposed block."""
    scores = torch.rand(5, 5).double()
    terms = [cross_entropy_of_costs(one, scores.diag()[:, None]) for one in (scores, scores.T)]

    assert loss_of("proper", scores, one_to_one(5)) == pytest.approx(sum(terms).item() / 2)


@pytest.mark.parametrize("form", ["proper", "row_wise"])
def test_another_caption_of_an_image_is_no_negative(form):
    """Two images, the first with two captions: by hand. Every hinge is 0.1, so exp(2)."""
    scores = torch.tensor([[0.7, 0.7, 0.6], [0.6, 0.6, 0.7]]).double()
    pairs = Pairs(torch.arange(2), torch.arange(3), torch.eye(2).bool()[:, [0, 0, 1]])
    one, two = math.log(1 + math.exp(2)), math.log(1 + 2 * math.exp(2))
    expected = {
        "proper": (2 * (one + one) + two + one) / 6,
        "row_wise": (2 * (one + one) + two + two) / 6,
    }

    assert loss_of(form, scores, pairs) == pytest.approx(expected[form])


def test_a_satisfied_block_costs_the_logarithm_of_its_size():
    """A negative without a hinge still counts exp(0)."""
    scores = torch.eye(4)

    assert loss_of("proper", scores, one_to_one(4)) == pytest.approx(math.log(4))


# ----------------------------------------------------------------------------------------- recipes

RECIPES = [
    f"tvrn-{name}{variant}"
    for name, variant in itertools.product(
        ("coco", "f30k"), (".bigru_butd_sgr", ".bigru_butd_saf", ".bert_butd")
    )
]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_the_model_that_the_registry_lists(name):
    """One name for card and recipe, and the same parts in both."""
    recipe, card = read_recipe(name), shipped_registry().find(name)

    assert card.recipe == recipe["name"] == name
    assert card.features.boxes
    assert {part: recipe["model"][part] for part in card.config} == card.config


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_the_settings_of_released_code(name):
    """Section 6 of the specification, as numbers; the loss in its proper form."""
    recipe, loss = read_recipe(name), build("loss", read_recipe(name)["loss"])
    wrapper, (schedule,) = recipe["optim_wrapper"], recipe["param_scheduler"]

    assert wrapper["optimizer"] == {"type": "Adam", "lr": 2e-4}
    assert wrapper["clip_grad"] == {"max_norm": 2.0}
    assert (recipe["data"]["batch_size"], recipe["train_cfg"]["max_epochs"]) == (64, 50)
    assert (loss.margin, loss.temperature, loss.form) == (0.2, 0.05, "proper")
    if "f30k" in name:
        assert schedule["milestones"] == [20]
        assert 2e-4 * schedule["gamma"] == pytest.approx(1e-5)
    else:
        assert (schedule["step_size"], schedule["gamma"]) == (30, 0.5)


def test_the_paper_results_are_those_of_the_sources():
    """Their sums, which stand in both sources' tables."""
    assert paper_sums("tvrn") == {
        ("tvrn-coco", "5 folds of 1k"): 525.3,
        ("tvrn-coco", "5k"): 431.8,
        ("tvrn-coco.bert_butd", "5 folds of 1k"): 533.4,
        ("tvrn-coco.bert_butd", "5k"): 445.2,
        ("tvrn-f30k", "1k"): 510.9,
        ("tvrn-f30k.bert_butd", "1k"): 520.1,
    }

"""The MFA-style method (a reconstruction from the abstract) against loops that spell it out."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Fragments, Regions
from zoo.catalogue.registry import shipped_registry
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.errors import InputError
from zoo.ops import l2_normalize
from zoo_mfa.dependencies import ParsedCaption
from zoo_mfa.model import MultiScaleAligner, PhraseEncoder, RegionEncoder
from zoo_mfa.phrases import chunk
from zoo_mfa.scales import SCALES, MultiScale

FEATURES, DIM = 10, 12
CAPTIONS = [
    "a brown dog is running through the tall grass with a red ball in its mouth",
    "dogs",
    "two young men and a woman",
    "is running .",
    "the old man , a boy , a big yellow bus and its driver wait",
    "a very happy child jumps . it laughs",
]
SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations(SCALES, size)]
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "skate",
    "##board",
    "##er",
    "in",
    "grass",
]
SMALL_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
}


def text_encoder(scales=SCALES, **reader) -> PhraseEncoder:
    """A small one on a BiGRU, float64, its phrases' weights large enough to matter."""
    words = Vocabulary.build(CAPTIONS, 1)
    bigru = {"type": "bigru", "word_dim": 6, "dim": DIM, **reader}
    config = {"type": "mfa_phrases", "reader": bigru, "scales": list(scales)}
    return strong(build("text_encoder", config, {"vocab.json": words.to_json()}))


def image_encoder(scales=SCALES, geometry=False) -> RegionEncoder:
    """A small one, likewise."""
    return strong(RegionEncoder(FEATURES, DIM, scales, geometry))


def strong(module):
    """With weights of about 1, so that no softmax is flat, in float64."""
    for name, weight in module.named_parameters():
        if "reader" not in name:
            torch.nn.init.normal_(weight)
    return module.double().eval()


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector of length 1."""
    return vector / max(np.linalg.norm(vector), 1e-12)


def softmax(logits) -> np.ndarray:
    """Shares that sum to 1."""
    exponentials = np.exp(np.array(logits) - max(logits))
    return exponentials / exponentials.sum()


def real(fragments: Fragments, row: int) -> np.ndarray:
    """One item's real fragments."""
    return fragments.embeddings[row][fragments.mask[row]].detach().numpy()


def matrix(layer: torch.nn.Linear) -> np.ndarray:
    """The weights of a layer without bias."""
    assert layer.bias is None
    return layer.weight.detach().numpy()


# -------------------------------------------------------- phrases and relations of texts, spelt out


def literal_phrases(encoder: PhraseEncoder, words: np.ndarray, caption: str) -> np.ndarray:
    """(phrases, dim), section 3.1."""
    spoken = encoder.words(caption)[1:-1]
    layer = encoder.phrases
    groups = [
        (phrase.head + 1, [m + 1 for m in phrase.members]) for phrase in chunk(spoken).phrases
    ]
    if not groups:
        groups = [(len(spoken), list(range(1, len(spoken) + 1)))]
    phrases = []
    for head, members in groups[:8]:
        logits = [
            matrix(layer.weigh)[0]
            @ np.tanh(matrix(layer.member) @ words[j] + matrix(layer.head) @ words[head])
            for j in members
        ]
        attributes = sum(a * words[j] for a, j in zip(softmax(logits), members, strict=True))
        phrases.append(unit(words[head] + attributes))
    return np.array(phrases)


def literal_relations(
    encoder: PhraseEncoder, words: np.ndarray, phrases: np.ndarray, caption: str
) -> np.ndarray:
    """(phrases, dim), section 3.3."""
    layer, spoken = encoder.relations, encoder.words(caption)[1:-1]
    predicates = {}
    for one in chunk(spoken).relations:
        mean = np.zeros(DIM)
        if one.predicate:
            mean = np.mean([words[place + 1] for place in one.predicate], axis=0)
        predicates[one.subject, one.object] = predicates[one.object, one.subject] = mean
    found = []
    for k, phrase in enumerate(phrases):
        messages = [
            matrix(layer.message) @ (other + predicates.get((k, m), np.zeros(DIM)))
            for m, other in enumerate(phrases)
            if m == k or (k, m) in predicates
        ]
        asked = matrix(layer.subject) @ phrase
        weights = softmax([asked @ message / math.sqrt(DIM) for message in messages])
        gathered = sum(a * message for a, message in zip(weights, messages, strict=True))
        found.append(unit(phrase + gathered))
    return np.array(found)


def test_texts_are_encoded_as_written_out():
    """Phrases and relations of captions with many, one and no phrase, side by side."""
    encoder = text_encoder()
    texts = encoder(encoder.prepare(CAPTIONS))

    for row, caption in enumerate(CAPTIONS):
        words = real(texts.words, row)
        phrases = literal_phrases(encoder, words, caption)
        relations = literal_relations(encoder, words, phrases, caption)
        assert len(words) == len(encoder.words(caption))
        np.testing.assert_allclose(real(texts.phrases, row), phrases, atol=1e-7)
        np.testing.assert_allclose(real(texts.relations, row), relations, atol=1e-7)


# -------------------------------------------------------------------- regions in context, spelt out


def literal_context(layer, regions: np.ndarray, bias) -> np.ndarray:
    """(regions, dim), section 3.2; `bias` is that of each pair."""
    found = []
    for i, region in enumerate(regions):
        asked = matrix(layer.query) @ region
        logits = [
            asked @ (matrix(layer.key) @ other) / math.sqrt(DIM) + bias(i, j)
            for j, other in enumerate(regions)
        ]
        values = [matrix(layer.value) @ other for other in regions]
        gathered = sum(a * value for a, value in zip(softmax(logits), values, strict=True))
        found.append(unit(region + gathered))
    return np.array(found)


def boxed(*counts: int) -> Regions:
    """Images of so many regions, with random features and boxes."""
    longest = max(counts)
    corner = torch.rand(len(counts), longest, 2) * 100
    boxes = torch.cat([corner, corner + 5 + 50 * torch.rand(len(counts), longest, 2)], dim=-1)
    mask = torch.arange(longest) < torch.tensor(counts)[:, None]
    return Regions(torch.randn(len(counts), longest, FEATURES), mask, boxes * mask[..., None])


@pytest.mark.parametrize("geometry", [False, True])
def test_images_are_encoded_as_written_out(geometry):
    """Two contexts, one on the other; with geometry the second one sees where regions are."""
    encoder, batch = image_encoder(geometry=geometry), boxed(4, 1, 6)
    images = encoder(batch)

    for row in range(len(batch)):

        def bias(i: int, j: int, row: int = row) -> float:
            if not geometry:
                return 0.0
            (x, y, u, v), (a, b, c, d) = batch.boxes[row, [i, j]].tolist()
            move = [((a + c) - (x + u)) / 2 / (u - x), ((b + d) - (y + v)) / 2 / (v - y)]
            size = [math.log((c - a) / (u - x)), math.log((d - b) / (v - y))]
            return matrix(encoder.relations.geometry)[0] @ np.array(move + size)

        words = real(images.words, row)
        phrases = literal_context(encoder.phrases, words, lambda *_: 0.0)
        relations = literal_context(encoder.relations, phrases, bias)
        np.testing.assert_allclose(real(images.phrases, row), phrases, atol=1e-7)
        np.testing.assert_allclose(real(images.relations, row), relations, atol=1e-5)


def test_geometry_needs_boxes():
    """Features without them are refused, with what to do."""
    regions = boxed(3)
    without = Regions(regions.features, regions.mask)

    with pytest.raises(InputError, match=r"no boxes\. Extract them with boxes, or set"):
        image_encoder(geometry=True)(without)


def test_geometry_begins_with_content_and_learns_where():
    """At first boxes change nothing; its weights have a gradient; padded boxes do no harm."""
    batch = boxed(4, 1, 6)
    moved = Regions(batch.features, batch.mask, batch.boxes.flip(1) * batch.mask[..., None])
    encoder = RegionEncoder(FEATURES, DIM, geometry=True)

    images = encoder(batch).relations.embeddings

    assert_close(images, encoder(moved).relations.embeddings)
    (images * torch.randn(images.shape)).sum().backward()
    gradient = encoder.relations.geometry.weight.grad
    assert gradient.isfinite().all()
    assert (gradient != 0).all()


# -------------------------------------------------------------------------------- scores, spelt out


def gathered(asking: np.ndarray, asked: np.ndarray, sharpness: float, guard: bool) -> np.ndarray:
    """For each of `asking`, its cosine with what it gathers of `asked`, section 4."""
    raw = np.array([[one @ other for other in asked] for one in asking])
    logits = np.where(raw > 0, raw, 0.1 * raw)
    logits = logits / (np.sqrt((logits**2).sum(axis=0, keepdims=True)) + 1e-8)
    if guard and len(asking) == 1:
        logits = raw
    cosines = []
    for one, row in zip(asking, logits, strict=True):
        vector = sum(a * other for a, other in zip(softmax(sharpness * row), asked, strict=True))
        cosines.append(one @ vector / np.linalg.norm(vector))
    return np.array(cosines)


def literal_level(scale: str, regions: np.ndarray, nodes: np.ndarray) -> float:
    """S^s of one image and one text."""
    visual = gathered(nodes, regions, 9, guard=scale != "words")
    textual = gathered(regions, nodes, 4, guard=False)
    return 0.5 * textual.mean() + 0.5 * visual.mean()


def ragged(items: int, longest: int, dtype: torch.dtype) -> Fragments:
    """Unit fragments, one to `longest` an item; the padding is no zero."""
    lengths = torch.randint(1, longest + 1, (items,))
    lengths[0], lengths[-1] = 1, longest
    embeddings = torch.randn(items, longest, DIM, dtype=dtype)
    return Fragments(l2_normalize(embeddings), torch.arange(longest) < lengths[:, None])


def encodings(scales=SCALES, dtype: torch.dtype = torch.float64) -> tuple[MultiScale, MultiScale]:
    """Five images and six texts at some scales, among them one region, one word and one phrase."""
    images = {scale: ragged(5, 7, dtype) for scale in scales}
    texts = {scale: ragged(6, 9 if scale == "words" else 4, dtype) for scale in scales}
    return MultiScale(**images), MultiScale(**texts)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-7), (torch.float32, 1e-5)])
@pytest.mark.parametrize("scales", SUBSETS, ids="+".join)
def test_scores_equal_the_definition(scales, dtype, tolerance):
    """Every set of scales, weighted, with items of one fragment and of many."""
    weights = {scale: 0.5 + number for number, scale in enumerate(scales)}
    images, texts = encodings(scales, dtype)
    similarity = MultiScaleAligner(weights)(images, texts)

    total = np.zeros((5, 6))
    for scale in scales:
        regions, nodes = getattr(images, scale), getattr(texts, scale)
        level = np.array(
            [
                [
                    literal_level(
                        scale, real(regions, i).astype(float), real(nodes, t).astype(float)
                    )
                    for t in range(6)
                ]
                for i in range(5)
            ]
        )
        np.testing.assert_allclose(similarity.levels[scale], level, atol=tolerance)
        total += weights[scale] * level
    np.testing.assert_allclose(similarity.scores, total, atol=tolerance)
    assert similarity.scores.dtype == dtype
    assert tuple(similarity.levels) == scales


def test_a_single_phrase_still_looks_where_it_belongs():
    """It is compared with the region that it names; without the guard with all alike."""
    regions = torch.eye(DIM)[None, :4]
    image = Fragments(regions, torch.ones(1, 4, dtype=torch.bool))
    named = l2_normalize(regions[:, :1] + 0.2 * regions.sum(dim=1, keepdim=True))
    phrase = Fragments(named, torch.ones(1, 1, dtype=torch.bool))
    aligner = MultiScaleAligner({"words": 1, "phrases": 1}, textual_share=0)

    levels = aligner(
        MultiScale(words=image, phrases=image), MultiScale(words=phrase, phrases=phrase)
    ).levels

    assert levels["words"].item() == pytest.approx(0.9 / 1.56**0.5, abs=1e-6)
    assert levels["phrases"].item() > 0.95


def test_gradients_are_finite_beside_padding():
    """Padding gets no gradient, and every real fragment a finite one."""
    images, texts = encodings(dtype=torch.float32)
    leaves = [getattr(side, scale) for side in (images, texts) for scale in SCALES]
    for leaf in leaves:
        leaf.embeddings.requires_grad_()

    scores = MultiScaleAligner()(images, texts).scores
    (scores * torch.randn(scores.shape)).sum().backward()

    for leaf in leaves:
        assert leaf.embeddings.grad.isfinite().all()
        assert (leaf.embeddings.grad[~leaf.mask] == 0).all()
        assert (leaf.embeddings.grad[leaf.mask].abs().sum(dim=-1) > 0).any()


def test_word_regions_are_dot_products_at_the_word_scale():
    """For figures; None where words are not encoded."""
    images, texts = encodings()
    found = MultiScaleAligner().word_regions(images, texts)

    assert found.shape == (5, 6, 9, 7)
    assert found[4, 5, 8, 6].item() == pytest.approx(
        (texts.words.embeddings[5, 8] @ images.words.embeddings[4, 6]).item()
    )
    assert MultiScaleAligner().word_regions(MultiScale(phrases=images.words), texts) is None


# ------------------------------------------------------------------------------- scales and options

TEXT_PARTS = {"words": "reader.", "phrases": "phrases.", "relations": "relations."}
IMAGE_PARTS = {"words": "project.", "phrases": "phrases.", "relations": "relations."}


@pytest.mark.parametrize("scales", SUBSETS, ids="+".join)
def test_a_scale_that_is_off_has_no_parameters(scales):
    """Words are read always; phrases where they or their relations are asked for."""
    needed = {"words", *(("phrases", "relations") if "relations" in scales else scales)}

    for encoder, parts in [
        (text_encoder(scales), TEXT_PARTS),
        (image_encoder(scales), IMAGE_PARTS),
    ]:
        names = [name for name, _ in encoder.named_parameters()]
        for scale, part in parts.items():
            assert any(name.startswith(part) for name in names) == (scale in needed)


def test_words_alone_read_no_phrases():
    """A caption is not parsed where no scale needs it."""
    encoder = text_encoder(["words"])
    prepared = encoder.prepare(CAPTIONS)

    assert prepared.phrases is None
    assert set(encoder(prepared).tensors()) == {"words.embeddings", "words.mask"}


def test_a_scale_that_an_encoder_left_out_is_refused():
    """The aligner names the scale and both remedies."""
    with pytest.raises(InputError, match="The aligner weighs relations, and an encoder left them"):
        MultiScaleAligner()(*encodings(["words", "phrases"]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: RegionEncoder(4, 4, ["words", "phrase"]),
            "A scale is 'phrase'. Use one of words, phrases, relations.",
        ),
        (
            lambda: RegionEncoder(4, 4, []),
            "There are no scales. Use at least one of words, phrases, relations.",
        ),
        (
            lambda: MultiScaleAligner({"words": 0.0}),
            "The weight of words is 0.0. Use a number above 0.",
        ),
        (
            lambda: MultiScaleAligner(visual_sharpness=0),
            "sharpness is 0. Use a number above 0.",
        ),
        (
            lambda: MultiScaleAligner(textual_share=1.5),
            "textual_share is 1.5. Use a number from 0 to 1.",
        ),
        (
            lambda: RegionEncoder(4, 4, ["words"], geometry=True),
            "geometry is of the relation scale. Add relations to scales, or leave it.",
        ),
    ],
)
def test_wrong_options_are_refused(make, words):
    """The message names the option, the value and what would do."""
    with pytest.raises(InputError) as caught:
        make()

    assert str(caught.value) == words


# ------------------------------------------------------------------------ captions as they are read


def generators(count: int) -> list[np.random.Generator]:
    """One random generator for each item."""
    return [np.random.default_rng([7, row]) for row in range(count)]


def test_noise_leaves_the_phrases_with_the_words_that_are_left():
    """Tokens of a disturbed caption are in the phrases that their words are in."""
    encoder = text_encoder(word_drop=0.6, mask_token=True)
    captions = CAPTIONS * 20
    whole = encoder.prepare(captions)
    noisy = encoder.prepare(captions, generators(len(captions)))

    assert noisy.tokens.mask.sum() < whole.tokens.mask.sum()
    assert noisy.phrases.mask.any(dim=1).all()
    for row in range(len(captions)):
        places = noisy.tokens.places[row]
        before = [set(group.nonzero()[:, 0].tolist()) for group in whole.phrases.members[row]]
        left = [group & set(places[noisy.tokens.mask[row]].tolist()) for group in before]
        after = [set(places[group].tolist()) for group in noisy.phrases.members[row] if group.any()]
        assert after == [group for group in left if group] or not any(left)


def test_without_disturbance_noise_changes_nothing():
    """Phrases are the same at train and test."""
    encoder = text_encoder()
    noisy, plain = encoder.prepare(CAPTIONS, generators(6)), encoder.prepare(CAPTIONS)

    for name, tensor in plain.tensors().items():
        assert torch.equal(tensor, noisy.tensors()[name]), name


def test_prepared_phrases_hold_members_heads_and_relations():
    """The tensors of two captions, worked by hand; positions count the start mark."""
    phrases = text_encoder().prepare(["two young men and a woman", "dogs"]).phrases
    members = [[row.nonzero()[:, 0].tolist() for row in text] for text in phrases.members]
    predicates = text_encoder().prepare(["dogs in tall grass"]).phrases.predicates

    assert members == [[[1, 2, 3], [6]], [[1], []]]
    assert phrases.heads.tolist() == [[3, 6], [1, 0]]
    assert phrases.mask.tolist() == [[True, True], [True, False]]
    assert phrases.relations.tolist() == [[[0, 1], [1, 0]], [[0, 0], [0, 0]]]
    assert predicates.int().tolist() == [[[0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]]]


def bert_encoder(**options) -> PhraseEncoder:
    """A small one on BERT."""
    reader = {"type": "bert", "bert": SMALL_BERT, "dim": DIM, **options}
    config = {"type": "mfa_phrases", "reader": reader}
    return build("text_encoder", config, {"vocab.txt": "\n".join(PIECES) + "\n"}).eval()


def test_with_bert_all_pieces_of_a_word_are_members():
    """[CLS] a skate ##board ##er in grass [SEP], and one without any word."""
    prepared = bert_encoder().prepare(["a skateboarder in grass", "\x00"])
    members = [[row.nonzero()[:, 0].tolist() for row in text] for text in prepared.phrases.members]

    assert members == [[[2, 3, 4], [6]], [[0, 1], []]]
    assert prepared.phrases.heads.tolist() == [[4, 6], [1, 0]]


def test_bert_drops_words_and_phrases_together():
    """Its noise leaves marks in place, and a phrase at least."""
    encoder = bert_encoder(word_drop=0.9)
    captions = ["a skateboarder in grass"] * 40

    prepared = encoder.prepare(captions, generators(40))

    assert prepared.phrases.mask.any(dim=1).all()
    assert encoder(prepared).relations.embeddings.isfinite().all()


PARSE = [("det", 3, 1), ("amod", 3, 2), ("root", 0, 3), ("case", 6, 4), ("amod", 6, 5)]


def test_a_caption_may_bring_its_parse():
    """Beside plain ones; what the parse says is what is encoded."""
    text = "the tall grass in happy dogs"
    encoder = text_encoder()
    apart = ParsedCaption(text, [*PARSE, ("root", 0, 6)])
    joined = ParsedCaption(text, [*PARSE, ("nmod", 3, 6)])

    phrases = encoder.prepare([text, joined, apart]).phrases

    assert torch.equal(phrases.members[0], phrases.members[1])
    assert phrases.relations[:, 0, 1].tolist() == [1, 1, 0]
    texts = encoder(encoder.prepare([text, joined, apart])).relations.embeddings
    assert_close(texts[0], texts[1])
    assert (texts[0] - texts[2]).abs().max() > 1e-3


def test_a_parse_of_other_words_is_refused():
    """The message names the caption and both remedies."""
    captions = ["dogs", ParsedCaption("a dog", PARSE)]

    with pytest.raises(InputError) as caught:
        text_encoder().prepare(captions)

    assert str(caught.value) == (
        "The parse of caption 1 has ('det', 3, 1), and the words are 1 to 2. Parse the words of "
        "model.text_encoder.words as one sentence, or pass the caption as a plain str."
    )


@pytest.mark.parametrize("captions", [[""], [3], ["dogs", None]])
def test_what_is_no_caption_is_refused(captions):
    """By the reader, whose words name the caption."""
    with pytest.raises(InputError, match=f"Caption {len(captions) - 1} is"):
        text_encoder().prepare(captions)


@pytest.mark.parametrize("caption", ["\ud800", "🐕", "?!" * 500, "dog" * 500, "\u200b\u2028"])
def test_odd_text_is_encoded(caption):
    """No words at all, very long ones: finite unit vectors at each scale."""
    encoder = text_encoder()
    texts = encoder(encoder.prepare([caption]))

    for scale in SCALES:
        fragments: Tensor = getattr(texts, scale).embeddings
        assert_close(fragments.norm(dim=-1), torch.ones(fragments.shape[:2]).double())


# ---------------------------------------------------------------------------------- recipes, cards

MODELS = {
    "mfa-coco": {"rate": 5e-4, "epochs": 20, "falls": [10]},
    "mfa-f30k": {"rate": 2e-4, "epochs": 30, "falls": [15]},
}


@pytest.mark.parametrize("name", MODELS)
def test_no_card_claims_a_result_of_the_paper(name):
    """None was found, and what is built here is not the authors' model; the card says so."""
    card = shipped_registry().find(name)

    assert card.results.paper == ()
    assert card.status == "unpublished"
    assert "reconstruction from the abstract" in card.title


@pytest.mark.parametrize("name", MODELS)
def test_a_recipe_trains_the_model_that_the_registry_lists(name):
    """One name for card and recipe, the same parts in both, and the settings of section 5."""
    pytest.importorskip("mmengine", reason="recipes are read with the extra train")
    from zoo.training.recipe import read_recipe

    recipe, card = read_recipe(name), shipped_registry().find(name)
    wanted = MODELS[name]

    assert card.recipe == recipe["name"] == name
    assert {part: recipe["model"][part] for part in card.config} == card.config
    assert recipe["loss"]["type"] == "triplet"
    assert build("loss", recipe["loss"]).margin == 0.2
    assert recipe["optim_wrapper"]["optimizer"] == {"type": "Adam", "lr": wanted["rate"]}
    assert recipe["train_cfg"]["max_epochs"] == wanted["epochs"]
    assert recipe["param_scheduler"][0]["milestones"] == wanted["falls"]
    for part in ("image_encoder", "text_encoder", "aligner"):
        files = {"vocab.json": Vocabulary.build(CAPTIONS, 1).to_json()}
        assert build(part, card.config[part], files)

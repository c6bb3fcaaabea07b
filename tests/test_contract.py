"""What every method promises, whatever it computes. A new method adds a line to `METHODS`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Batch, Fragments, Regions
from zoo.components import build
from zoo.data.vocabulary import Vocabulary
from zoo.interfaces import Similarity
from zoo.joining import joined_parts
from zoo.model import MatchingModel
from zoo.ops import pad

FEATURES = 12
CAPTIONS = [
    "a dog runs",
    "two children play in the cold water of a lake",
    "grass",
    "a man rides a red bicycle past the dog",
    "the black dog jumps",
]
WORDS = sorted({word for caption in CAPTIONS for word in caption.split()})
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
FILES = {
    "vocab.json": Vocabulary.build(CAPTIONS, 1).to_json(),
    "vocab.txt": "\n".join(PIECES) + "\n",
}
SMALL_BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
}


@dataclass(frozen=True)
class Method:
    """A small model of a method: its components as a configuration names them."""

    image_encoder: dict[str, Any]
    text_encoder: dict[str, Any]
    aligner: dict[str, Any]

    def model(self) -> MatchingModel:
        """The model with random weights."""
        kinds = [field.name for field in fields(self)]
        parts = {kind: build(kind, getattr(self, kind), FILES) for kind in kinds}
        return MatchingModel(**parts).eval()


BIGRU = {"type": "bigru", "word_dim": 8, "dim": 16}
BERT = {"type": "bert", "bert": SMALL_BERT, "dim": 16}


def chan(context: str, text_encoder: dict[str, Any], coding: str, pooling: str) -> Method:
    """CHAN with one of its image blocks, text encoders, codings and poolings."""
    return Method(
        {"type": "chan_regions", "feature_dim": FEATURES, "dim": 16, "context": context},
        text_encoder,
        {"type": "hard_alignment", "coding": coding, "pooling": pooling},
    )


def mssan(
    encoder: dict[str, Any] | None = None,
    aligner: dict[str, Any] | None = None,
    reader: dict[str, Any] = BIGRU,
) -> Method:
    """The MSSAN-style method; `encoder` goes to both encoders."""
    both = encoder or {}
    return Method(
        {"type": "mssan_regions", "feature_dim": FEATURES, "dim": 16, **both},
        {"type": "mssan_words", "reader": reader, **both},
        {"type": "symmetric_alignment", **(aligner or {})},
    )


MSSAN = {
    "mssan": mssan(),
    "mssan-bert": mssan(reader=BERT),
    "mssan-cross": mssan({"fusion": "cross"}),
    "mssan-both": mssan({"fusion": "both"}),
    "mssan-shan": mssan({"keys": True}, {"attention": "shan"}),
    "mssan-words-attend": mssan(aligner={"region_share": 0}),
    "mssan-regions-attend": mssan(aligner={"region_share": 1}),
    "mssan-local": mssan(
        {"whole": False, "fusion": "none"}, {"global_weight": 0, "fused_weight": 0}
    ),
    "mssan-global": mssan({"fusion": "none"}, {"local_weight": 0, "fused_weight": 0}),
    "mssan-without-fusion": mssan({"fusion": "none"}, {"fused_weight": 0}),
    "mssan-fused": mssan(aligner={"global_weight": 0, "local_weight": 0, "fused_weight": 2}),
}


def mfa(
    scales: tuple[str, ...] = ("words", "phrases", "relations"), reader: dict[str, Any] = BIGRU
) -> Method:
    """The MFA-style method at some of its scales."""
    return Method(
        {"type": "mfa_regions", "feature_dim": FEATURES, "dim": 16, "scales": list(scales)},
        {"type": "mfa_phrases", "reader": reader, "scales": list(scales)},
        {"type": "multi_scale_alignment", "weights": dict.fromkeys(scales, 1.0)},
    )


MFA = {
    "mfa": mfa(),
    "mfa-bert": mfa(reader=BERT),
    "mfa-words": mfa(("words",)),
    "mfa-words-phrases": mfa(("words", "phrases")),
    "mfa-phrases": mfa(("phrases",)),
    "mfa-relations": mfa(("relations",)),
}


def shan(
    direction: str = "both",
    level: str = "global_global",
    gate: str = "vector",
    reader: dict[str, Any] = BIGRU,
) -> Method:
    """SHAN in one of its directions, up to one of its levels."""
    both = {"direction": direction, "level": level}
    return Method(
        {"type": "shan_regions", "feature_dim": FEATURES, "dim": 16, "gate": gate, **both},
        {"type": "shan_words", "reader": reader, "gate": gate, **both},
        {"type": "stepwise_alignment", "dim": 16, **both},
    )


SHAN = {
    "shan-scalar-gates": shan(gate="scalar"),
    "shan-bert": shan(reader=BERT),
    **{
        f"shan-{direction}-{level}": shan(direction, level)
        for direction, level in itertools.product(
            ("both", "i2t", "t2i"), ("local_local", "global_local", "global_global")
        )
    },
}


def tvrn(
    image: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    aligner: dict[str, Any] | None = None,
    reader: dict[str, Any] = BIGRU,
    **shared: Any,
) -> Method:
    """TVRN; `shared` goes to both encoders and the aligner."""
    sizes = {"dim": 16, "similarity_dim": 8}
    return Method(
        {"type": "tvrn_regions", "feature_dim": FEATURES, "dim": 16, **shared, **(image or {})},
        {"type": "tvrn_words", "reader": reader, **shared, **(text or {})},
        {"type": "refined_alignment", **sizes, **shared, **(aligner or {})},
    )


TVRN = {
    "tvrn": tvrn(),
    "tvrn-saf": tvrn(aligner={"head": "saf"}),
    "tvrn-bert": tvrn(reader=BERT),
    "tvrn-none": tvrn(text_context="none"),
    "tvrn-none-saf": tvrn(aligner={"head": "saf"}, text_context="none"),
    "tvrn-single": tvrn({"doubled": False}, {"doubled": False}, text_context="none"),
    "tvrn-content": tvrn({"region_context": "content", "sae": "off"}),
    "tvrn-all-regions-near": tvrn({"threshold": None}),
    "tvrn-plain-regions": tvrn({"region_context": "off"}),
    "tvrn-off": tvrn({"region_context": "off", "sae": "off"}, text_context="off"),
}


def vse_infty(reader: dict[str, Any]) -> Method:
    """VSE-infinity with one of its text encoders."""
    return Method(
        {"type": "vse_infty_regions", "feature_dim": FEATURES, "dim": 16},
        {"type": "vse_infty_words", "reader": {**reader, "unit_length": False}},
        {"type": "cosine"},
    )


VSE_INFTY = {"vse-infty": vse_infty(BERT), "vse-infty-bigru": vse_infty(BIGRU)}


def sgraf(head: str, reader: dict[str, Any] = BIGRU) -> Method:
    """SGRAF with one of its heads."""
    return Method(
        {"type": "sgraf_regions", "feature_dim": FEATURES, "dim": 16},
        {"type": "sgraf_words", "reader": reader},
        {"type": "similarity_vectors", "dim": 16, "similarity_dim": 8, "head": head},
    )


SGRAF = {
    "sgraf-sgr": sgraf("sgr"),
    "sgraf-saf": sgraf("saf"),
    "sgraf-bert": sgraf("sgr", BERT),
}


def joined(*members: Method) -> Method:
    """Several methods, of whose scores the mean is taken."""
    parts = [{**vars(member), "features": {}} for member in members]
    return Method(**{part: joined_parts(parts)[part] for part in vars(members[0])})


CODINGS, POOLINGS = ("vha", "tha", "vsa"), ("lse", "mean", "sum", "max", "softmax")
METHODS = {
    "chan-bigru": chan("self_attention", BIGRU, "vha", "lse"),
    "chan-bert": chan("basic", BERT, "vha", "mean"),
    **{
        f"chan-{coding}-{pooling}": chan("basic", BIGRU, coding, pooling)
        for coding, pooling in itertools.product(CODINGS, POOLINGS)
    },
    **SHAN,
    **MSSAN,
    **MFA,
    **TVRN,
    **VSE_INFTY,
    **SGRAF,
}
METHODS["joined"] = joined(METHODS["chan-bert"], METHODS["sgraf-saf"], METHODS["mfa"])


@pytest.fixture(params=METHODS)
def model(request) -> MatchingModel:
    """Each method in turn, untrained."""
    return METHODS[request.param].model()


@pytest.fixture
def images() -> Regions:
    """Images of one to six regions, with boxes that overlap."""
    features, mask = pad([torch.randn(regions, FEATURES) for regions in (3, 6, 1, 4)])
    corners = 50 * torch.rand(*mask.shape, 2)
    boxes = torch.cat([corners, corners + 100], dim=-1)  # some overlap by half, some less
    return Regions(features, mask, boxes)


def without_padding(batch: Batch) -> Batch:
    """One item, cut to its real fragments."""
    if isinstance(batch, (Fragments, Regions)):
        real = int(batch.mask.sum())
        return type(batch)(*(part[:, :real] for part in vars(batch).values() if part is not None))
    parts = {
        name: without_padding(part) if isinstance(part, Batch) else part
        for name, part in vars(batch).items()
    }
    return type(batch)(**parts)


def test_an_item_encodes_the_same_alone_and_in_company(model, images):
    """An encoding can be kept, since it does not depend on its batch."""
    single_images = [without_padding(image) for image in images.split(1)]
    for encode, items, singles in [
        (model.encode_images, images, single_images),
        (model.encode_texts, CAPTIONS, [[caption] for caption in CAPTIONS]),
    ]:
        together = encode(items)
        for row, single in enumerate(singles):
            alone = encode(single).tensors()
            in_company = without_padding(together[row : row + 1]).tensors()

            assert_close(in_company, alone)


def test_a_pair_scores_the_same_alone_and_in_company(model, images):
    """So pairs can be scored in any block, and padding never counts."""
    encoded, texts = model.encode_images(images), model.encode_texts(CAPTIONS)
    single_texts = [without_padding(text) for text in texts.split(1)]
    rows = [
        torch.cat([model.aligner(image, text).scores for text in single_texts], dim=1)
        for image in map(without_padding, encoded.split(1))
    ]

    assert_close(model.aligner(encoded, texts).scores, torch.cat(rows))


def test_listed_pairs_score_as_in_their_block(model, images):
    """At every level, with the gradients of the block; in any order, one pair twice."""
    encoded, texts = model.encode_images(images), model.encode_texts(CAPTIONS)
    rows = torch.tensor([[2, 4], [0, 1], [3, 0], [0, 4], [2, 4]])
    found = []
    for listed in (True, False):
        sides = [with_gradients(side) for side in (encoded, texts)]
        if listed:
            some = model.aligner.score_pairs(*sides, rows)
        else:
            block = model.aligner(*sides)
            some = Similarity(block.scores[*rows.T], pick(block.levels, rows))
        weights = torch.arange(1.0, 6.0)
        sum(
            [some.scores @ weights, *(level @ weights for level in some.levels.values())]
        ).backward()
        found.append((some, [leaf.grad for side in sides for leaf in side.tensors().values()]))

    (ours, ours_by), (blocks, theirs_by) = found
    assert_close(ours.scores, blocks.scores)
    assert_close(ours.levels, blocks.levels)
    for one, other in zip(ours_by, theirs_by, strict=True):
        assert_close(one, other)


def pick(levels: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Entries of each level."""
    return {name: level[*rows.T] for name, level in levels.items()}


def with_gradients(side: Batch) -> Batch:
    """The same items, as leaves."""
    return side._map(lambda part: part.clone().requires_grad_(part.is_floating_point()))


def test_what_stands_at_padding_does_not_matter(model, images):
    """Padded fragments may hold anything finite."""
    encoded, texts = model.encode_images(images), model.encode_texts(CAPTIONS)

    scores = model.aligner(spoiled(encoded), spoiled(texts)).scores

    assert_close(scores, model.aligner(encoded, texts).scores)


def spoiled(batch: Batch) -> Batch:
    """The same items with large numbers at padding."""
    if isinstance(batch, Fragments):
        return Fragments(batch.embeddings.masked_fill(~batch.mask[..., None], 1e3), batch.mask)
    parts = {
        name: spoiled(part) if isinstance(part, Batch) else part
        for name, part in vars(batch).items()
    }
    return type(batch)(**parts)


def test_every_level_has_the_shape_of_the_scores(model, images):
    """A loss may use any level as it uses the scores."""
    similarity = model.aligner(model.encode_images(images), model.encode_texts(CAPTIONS))

    assert similarity.scores.shape == (len(images), len(CAPTIONS))
    assert {level.shape for level in similarity.levels.values()} <= {similarity.scores.shape}


def test_scores_are_not_rounded_by_autocast(model, images):
    """Scores rank, so they are computed in float32 at least, whatever is around them."""
    encoded, texts = model.encode_images(images), model.encode_texts(CAPTIONS)
    expected = model.aligner(encoded, texts).scores

    with torch.autocast("cpu", torch.bfloat16):
        scores = model.aligner(encoded, texts).scores

    assert scores.dtype == torch.float32
    assert_close(scores, expected, atol=2e-3, rtol=0)


def test_a_model_may_have_weights_in_half_precision(model, images):
    """It scores in float32, near the scores that it had."""
    expected = model.aligner(model.encode_images(images), model.encode_texts(CAPTIONS)).scores

    half = model.bfloat16()
    scores = half.aligner(half.encode_images(images), half.encode_texts(CAPTIONS)).scores

    assert scores.dtype == torch.float32
    assert_close(scores, expected, atol=0.1, rtol=0.1)


def test_gradients_reach_every_parameter(model, images):
    """Nothing is saved and loaded that training cannot move."""
    prepared = model.image_encoder.prepare(images), model.text_encoder.prepare(CAPTIONS)

    # A weight for each pair, since a plain sum can leave a parameter at rest by symmetry.
    scores = model.train()(*prepared).scores
    (scores * torch.randn(scores.shape)).sum().backward()

    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_a_model_is_built_again_from_its_files(model):
    """The text files that a component names are those that it is built from."""
    files = {name: text for part in model.children() for name, text in part.files().items()}

    assert files
    assert all(FILES[name.lstrip("0123456789.")] == text for name, text in files.items())


def test_words_stand_one_for_each_fragment_of_a_text(model, images):
    """A figure writes them beside the text's fragments."""
    images, texts = model.encode_images(images), model.encode_texts(CAPTIONS)
    similarity = model.aligner.word_regions(images, texts)
    if similarity is None:
        pytest.skip("this method compares no words with regions")

    for row, caption in enumerate(CAPTIONS):
        real = similarity[0, row].isfinite().any(dim=-1)
        assert len(model.text_encoder.words(caption)) == real.sum()

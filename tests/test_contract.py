"""What every method promises, whatever it computes. A new method adds a line to `METHODS`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from zoo.model_folders.joining import joined_parts
from zoo.testing.building import text_files_of
from zoo.testing.conformance import MODEL_CHECKS
from zoo.testing.samples import SMALL_BERT, text_files
from zoo.testing.subjects import Subject
from zoo.testing.verdicts import Case

FEATURES = 12


@dataclass(frozen=True)
class Method:
    """A small model of a method: its components as a configuration names them."""

    image_encoder: dict[str, Any]
    text_encoder: dict[str, Any]
    aligner: dict[str, Any]

    def subject(self, name: str) -> Subject:
        """As the kit takes it."""
        return Subject(name, vars(self), FEATURES)


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


# Whether two batches can be learned is asked of the recipes alone (test_conformance.py).
CHECKS = [check for check in MODEL_CHECKS if check != "two batches learned"]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_keeps_the_contract(name, check):
    """A method with some of its options passes a check of the kit that plugins are held against."""
    case = Case(name, check, partial(MODEL_CHECKS[check], METHODS[name].subject(name)))

    verdict = case.verdict()

    assert verdict.state != "failed", verdict.words


def test_a_model_keeps_its_text_files():
    """The text files that components name are those that they are built from, joined ones too."""
    model = METHODS["joined"].subject("joined").model()
    files = text_files_of(model)

    assert files
    assert all(text_files()[name.lstrip("0123456789.")] == text for name, text in files.items())

"""A small CHAN with random weights, for tests that need a whole model."""

from __future__ import annotations

import torch

from zoo.config import Features, ModelConfig, Provider
from zoo.data.vocabulary import Vocabulary
from zoo.model import MatchingModel, build_model

CAPTIONS = [
    "a dog runs on the green grass",
    "two children play in the water",
    "a man rides a red bicycle",
    "the black dog jumps over a fence",
]
FEATURES = 12


def tiny_config(**changes) -> ModelConfig:
    """Twelve numbers a region, sixteen in the joint space."""
    parts = {
        "name": "chan-tiny",
        "method": "chan",
        "plugin": Provider(name="chan", distribution="itm-zoo", version="0", api="1.0"),
        "image_encoder": {"type": "chan_regions", "feature_dim": FEATURES, "dim": 16},
        "text_encoder": {"type": "bigru", "word_dim": 8, "dim": 16},
        "aligner": {"type": "hard_alignment"},
        "features": Features(kind="test", regions=5, dim=FEATURES),
    }
    return ModelConfig(**{**parts, **changes})


def tiny_files() -> dict[str, str]:
    """Its vocabulary, from four captions."""
    return {"vocab.json": Vocabulary.build(CAPTIONS, 1).to_json()}


def tiny_model(**changes) -> MatchingModel:
    """The model, ready to score; the same weights each time."""
    torch.manual_seed(0)
    return build_model(tiny_config(**changes), tiny_files()).eval()

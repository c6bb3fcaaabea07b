"""A small CHAN that reads photographs, with random weights, and a small data set to read."""

from __future__ import annotations

import shutil
from pathlib import Path

from tiny import tiny_model
from zoo.config import Features
from zoo.demo import CAPTIONS, PHOTOS
from zoo.model import MatchingModel


def photo_model() -> MatchingModel:
    """With the real extractor, untrained, and sixteen dimensions in the joint space."""
    return tiny_model(
        image_encoder={"type": "chan_regions", "feature_dim": 1280, "dim": 16},
        extractor={"type": "grid"},
        features=Features(kind="grid", regions=36, dim=1280),
    )


def write_data(folder: Path) -> Path:
    """The photographs of the demo in SCAN's layout, split "test": six images, two captions each."""
    shutil.copytree(PHOTOS, folder / "images")
    names = sorted(path.name for path in PHOTOS.glob("*.jpg"))
    (folder / "test_ids.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "test_caps.txt").write_text("".join(f"{caption}\n" for caption in CAPTIONS))
    return folder

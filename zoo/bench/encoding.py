"""Photographs and captions through a model's encoders, beside the usual loop over batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ..batch import Regions
from ..demo import CAPTIONS, PHOTOS
from ..errors import InputError
from ..loading.models import load
from ..model import MatchingModel
from .collection import caption_lengths
from .rounds import Row, Took, rows, timed
from .setting import Setting

TOGETHER = 128
LOOP = (
    "the loop of the field's programs (VSE++, SCAN and their heirs), written by us: captions in "
    "their order, 128 together, padded to their longest; of pictures 32 are read, then encoded"
)
Calls = dict[str, Callable[[], Any]]


def measure(setting: Setting) -> tuple[list[Row], dict[str, Any]]:
    """Two rows for each kind of item, with how many are encoded a second; and each part alone."""
    model = load(setting.model)
    groups = [_captions(model, setting), *_images(model, setting)]
    found: list[Row] = []
    for what, count, calls in groups:
        rounds: list[dict[str, Took]] = []
        with torch.no_grad():
            for call in calls.values():
                call()
            for _ in range(setting.rounds):
                rounds.append({name: timed(call)[0] for name, call in calls.items()})
        baseline = next(iter(calls)) if len(calls) > 1 else None
        by = "wall" if setting.threads > 1 else "seconds"
        told = {
            name: {f"{what}/s": round(count / min(getattr(one[name], by) for one in rounds), 1)}
            for name in calls
        }
        found += rows(rounds, baseline, told, by=by)
    facts = {"model": setting.model, "photographs": "those of zoo demo, repeated"}
    return found, facts | {"caption lengths": caption_lengths(1, setting.lengths)[2]}


def _captions(model: MatchingModel, setting: Setting) -> tuple[str, int, Calls]:
    lengths = caption_lengths(setting.texts, setting.lengths)[0].tolist()
    words = np.array(sorted({word for caption in CAPTIONS for word in caption.split()}))
    random = np.random.default_rng(0)
    captions = [" ".join(random.choice(words, max(1, length - 2))) for length in lengths]

    def loop() -> None:
        for start in range(0, len(captions), TOGETHER):
            model.text_encoder(model.text_encoder.prepare(captions[start : start + TOGETHER]))

    return (
        "captions",
        len(captions),
        {
            "captions, loop": loop,
            "captions, encode_texts": lambda: model.encode_texts(captions),
        },
    )


def _images(model: MatchingModel, setting: Setting) -> list[tuple[str, int, Calls]]:
    extractor = model.extractor
    if extractor is None:
        raise InputError(
            f"{setting.model} has no extractor, so it encodes no photographs. Choose a model that "
            "reads them: --set model=chan-f8k"
        )
    kept = sorted(PHOTOS.glob("*.jpg"))
    paths = [kept[row % len(kept)] for row in range(setting.images)]
    photos = extractor.prepare(paths)
    regions = Regions.join([extractor(block) for block in photos.split(32)])

    def loop() -> None:
        for start in range(0, len(paths), 32):
            block = extractor.prepare(paths[start : start + 32])
            model.image_encoder(extractor(block))

    return [
        (
            "photographs",
            len(paths),
            {
                "photographs, loop": loop,
                "photographs, encode_images": lambda: model.encode_images(paths),
            },
        ),
        ("photographs", len(paths), {"of that, reading": lambda: extractor.prepare(paths)}),
        (
            "photographs",
            len(paths),
            {"of that, extractor": lambda: [extractor(block) for block in photos.split(32)]},
        ),
        (
            "photographs",
            len(paths),
            {"of that, regions": lambda: model.encode_images(regions)},
        ),
    ]

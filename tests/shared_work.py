"""A small data set, and evaluations of it that one process or several make."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch

import zoo
from tiny import CAPTIONS, FEATURES, tiny_model
from zoo.evaluation import split_scores
from zoo.evaluation.measuring import evaluate
from zoo.model import MatchingModel
from zoo.processes import Processes
from zoo.protocols import Protocol
from zoo.scores import SavedScores

IMAGES = 23
PROTOCOLS = (Protocol(), Protocol(folds=2, images=20, captions=1), Protocol(images=9))


def write_data(folder: Path) -> Path:
    """Random features, three captions an image, so alike that many scores tie."""
    folder.mkdir()
    random = np.random.default_rng(0)
    words = " ".join(CAPTIONS).split()
    captions = [" ".join(random.choice(words, 1 + n % 6)) for n in range(3 * IMAGES)]
    features = random.standard_normal((IMAGES, 5, FEATURES)).astype("f4")
    np.save(folder / "test_ims.npy", features[np.arange(IMAGES) // 2])  # two and two are the same
    (folder / "test_caps.txt").write_text("".join(f"{one}\n" for one in captions))
    (folder / "test_ids.txt").write_text("".join(f"{n}\n" for n in range(IMAGES)))
    return folder


def model(seed: int = 0) -> MatchingModel:
    """Six blocks of images, the last one smaller, and ten of captions."""
    made = tiny_model()
    made.image_block, made.text_block = 4, 7
    with torch.no_grad():
        made.image_encoder.project.bias += seed
    return made


def measured(folder: Path, processes: Processes, **options) -> str:
    """What an evaluation says and what does not depend on who computed it."""
    found = evaluate(
        model(), zoo.open_dataset(folder, "test"), processes=processes, **options
    ).to_json()
    changing = {"seconds", "scoring_seconds", "measured_on", "date"}
    return json.dumps({name: value for name, value in found.items() if name not in changing})


def all_measured(folder: Path, processes: Processes) -> list[str]:
    """In either precision, with several protocols and both tie policies."""
    split_scores.multiplies_bfloat16 = lambda _: True
    return [
        measured(folder, processes, protocol=protocol, ties=ties, precision=precision)
        for precision in ("exact", "float32")
        for protocol in PROTOCOLS
        for ties in ("against", "legacy")
    ]


def save_and_die(folder: Path, scores: Path, processes: Processes) -> None:
    """The second process ends without a word before its second block is written."""
    put, calls = SavedScores.put, []

    def die_at_the_second(self: SavedScores, first: int, rows: np.ndarray) -> None:
        calls.append(first)
        if processes.number == 1 and len(calls) == 2:
            os._exit(9)
        put(self, first, rows)

    SavedScores.put = die_at_the_second
    measured(folder, processes, save_scores=scores)

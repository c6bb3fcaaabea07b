"""How much memory a whole evaluation takes, at several sizes.

    python benchmarks/bounded_evaluation.py [--images N ...] [--model NAME] [--hold] [--stop N]
                                             [--json FILE]

The model (chan-coco: 1,024 dimensions) has random weights; images are 36 random regions of 2,048
numbers in a float32 SPLIT_ims.npy, one row an image, with five captions each, of words of the
vocabulary and of COCO's lengths (8 words and more, 11.3 in the mean, 50 at most). Each size is
evaluated in a process of its own, scores streamed to disk (--hold keeps them in memory instead).
The peak is the resident set's (ru_maxrss): pages of mapped files count, too. 5,000 images are
COCO's 5K, hours of one core; --stop N ends each size after N images were scored with all captions,
when all that grows is there but the pages of the other images' features. What lies on disk while it
runs is removed: 295 kB an image, and the scores.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

CAPTIONS, REGIONS, DIM = 5, 36, 2048


def write_split(folder: Path, images: int, words: list[str]) -> None:
    """A test split in SCAN's layout, the features written some rows at a time."""
    generator = np.random.default_rng(0)
    lengths = np.minimum(8 + generator.exponential(3.3, images * CAPTIONS).round(), 50).astype(int)
    captions = (" ".join(generator.choice(words, length)) for length in lengths)
    (folder / "test_caps.txt").write_text("".join(f"{caption}\n" for caption in captions))
    (folder / "test_ids.txt").write_text("".join(f"{image}\n" for image in range(images)))
    with (folder / "test_ims.npy").open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (images, REGIONS, DIM)}
        np.lib.format.write_array_header_1_0(file, header)
        for _ in range(images):
            file.write(generator.standard_normal((REGIONS, DIM), "float32").tobytes())


class StopError(Exception):
    """Enough images are scored."""


def evaluate_here(name: str, images: int, hold: bool, stop: int) -> dict[str, Any]:
    """Evaluate in this process, and look at its peak."""
    import torch

    import zoo

    torch.manual_seed(0)
    model = zoo.load(name, weights="random")
    words = list(json.loads(model.text_encoder.files()["vocab.json"])["word2idx"])[4:]
    started, scored = resident(), 0

    def advance(what: str, by: int, _total: int) -> None:
        nonlocal scored
        scored += by if what == "score" else 0
        if stop and scored >= stop * images * CAPTIONS:
            raise StopError

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_split(folder, images, words)
        began = time.monotonic()
        dataset = zoo.open_dataset(folder, "test")
        saved = None if hold else folder / "scores"
        with contextlib.suppress(StopError):
            zoo.evaluate(model, dataset, save_scores=saved, advance=advance)
    return {
        "images": images,
        "captions": images * CAPTIONS,
        "images_scored": scored // (images * CAPTIONS),
        "megabytes_with_the_model_loaded": round(started),
        "peak_megabytes": round(resident()),
        "seconds": round(time.monotonic() - began, 1),
    }


def resident() -> float:
    """The largest resident set that this process had so far, in millions of bytes."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024) / 1e6


def main() -> None:
    """Measure each size in a fresh process, and print."""
    parser = argparse.ArgumentParser(description="The peak memory of an evaluation.")
    parser.add_argument("--images", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--model", default="chan-coco")
    parser.add_argument("--hold", action="store_true", help="keep the scores in memory")
    parser.add_argument("--stop", type=int, default=0, help="after so many images; 0 for none")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(evaluate_here(given.model, given.images[0], given.hold, given.stop)))
        return
    print("images  captions  scored  model, MB  peak, MB   seconds")
    report = []
    for images in given.images:
        options = ["--model", given.model, "--stop", str(given.stop)]
        options += ["--hold"] if given.hold else []
        command = [sys.executable, __file__, "--here", "--images", str(images), *options]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        report.append(json.loads(told.splitlines()[-1]))
        print("{:>6}  {:>8}  {:>6}  {:>9}  {:>8}  {:>8}".format(*report[-1].values()), flush=True)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

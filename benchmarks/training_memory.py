"""A whole training step of each method, all pairs with gradients or in two passes: time and memory.

    python benchmarks/training_memory.py [--models NAME ...] [--ways WAY ...] [--batch N]
                                         [--captions FILE] [--json FILE]

The models have random weights and the sizes of their recipes (1,024 dimensions); images are 36
random regions of 2,048 numbers with boxes, captions random words of the vocabulary, as many in each
as in a caption of FILE, or as COCO's have in the mean. A step is encoders, scores, loss, gradients.

hardest    a triplet loss over hardest negatives, all pairs scored with gradients
two        the same loss, all pairs scored without, and those that it needs again with gradients
all        a triplet loss over all negatives, all pairs scored with gradients

Each step is made in a process of its own, by one thread; seconds are the processor's, and the peak
is the resident set's (ru_maxrss), in 10^6 bytes, beside what the process held before the step.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from bounded_evaluation import resident

REGIONS, FEATURES = 36, 2048
MODELS = ["chan-f30k", "mfa-f30k", "mssan-f30k", "sgraf-f30k.bigru_butd_sgr", "shan-f30k"]
MODELS += ["tvrn-f30k.bigru_butd_sgr"]
WAYS = ["hardest", "two", "all"]


def step_here(name: str, way: str, batch: int, captions: Path | None) -> dict[str, Any]:
    """One step in this process."""
    import torch

    import zoo
    from zoo.bench.collection import caption_lengths
    from zoo.interfaces import Pairs
    from zoo.losses import TripletLoss
    from zoo.scoring.two_pass import score_block, selection

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = zoo.load(name, weights="random").train()
    for buffer_name, buffer in model.named_buffers():
        if buffer_name.endswith(".fixed"):
            buffer.normal_()  # word vectors, which a recipe reads from a file
    vocabulary = list(json.loads(model.text_encoder.files()["vocab.json"])["word2idx"])[4:]
    lengths = (caption_lengths(batch, captions)[0] - 2).clamp(min=1).tolist()
    words = torch.randint(len(vocabulary), (sum(lengths),)).split(lengths)
    texts = [" ".join(vocabulary[word] for word in row.tolist()) for row in words]
    corners = 200 * torch.rand(batch, REGIONS, 2)
    regions = zoo.Regions(
        torch.randn(batch, REGIONS, FEATURES),
        torch.ones(batch, REGIONS, dtype=torch.bool),
        torch.cat([corners, corners + 20 + 200 * torch.rand(batch, REGIONS, 2)], dim=-1),
        torch.full((batch, 2), 420.0),
    )
    prepared = model.prepare_images(regions), model.text_encoder.prepare(texts)
    loss = TripletLoss(0.2, "all" if way == "all" else "hardest")
    numbers = torch.arange(batch)
    pairs = Pairs(numbers, numbers, torch.eye(batch, dtype=torch.bool))
    needed = selection(loss, pairs) if way == "two" else None
    before, started = resident(), time.process_time()
    images, texts = model.encode_prepared(prepared[0]), model.text_encoder(prepared[1])
    similarity = score_block(model.aligner, images, texts, needed)
    value = loss(replace(similarity, images=images, texts=texts), pairs)
    value.backward()
    gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
    return {
        "model": name,
        "way": way,
        "seconds": round(time.process_time() - started, 2),
        "before_megabytes": round(before),
        "peak_megabytes": round(resident()),
        "loss": value.item(),
        "gradient": float(torch.stack([one.double().norm() for one in gradients]).norm()),
    }


def main() -> None:
    """Measure each step in a fresh process, and print."""
    parser = argparse.ArgumentParser(description="Time and memory of a training step.")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--captions", type=Path, help="real captions, for their lengths")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(step_here(given.models[0], given.ways[0], given.batch, given.captions)))
        return
    print(
        f"{'model':28} {'way':8} {'seconds':>8} {'before, MB':>11} {'peak, MB':>9}  loss, gradient"
    )
    report = []
    for name in given.models:
        for way in given.ways:
            options = ["--models", name, "--ways", way, "--batch", str(given.batch)]
            options += ["--captions", str(given.captions)] if given.captions else []
            command = [sys.executable, __file__, "--here", *options]
            told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row = json.loads(told.splitlines()[-1])
            report.append(row)
            print(
                f"{name:28} {way:8} {row['seconds']:8.1f} {row['before_megabytes']:11} "
                f"{row['peak_megabytes']:9}  {row['loss']:.7g}, {row['gradient']:.7g}",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

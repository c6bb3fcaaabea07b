"""CHAN's scoring in a training step: scores, loss and gradients, beside the published algorithm.

    python benchmarks/training_step.py [--batch N] [--dim D] [--negatives hardest|all]
                                       [--rounds N] [--captions FILE] [--json FILE]

A batch of images with 36 regions and as many captions; what the encoders do is left out. The loss
is the paper's triplet loss over hardest negatives, or over all. "published" is written from what
the released program does (Pan et al., CVPR 2023): one product of the padded sides, padding set to
-1 by a mask of the product's size, a maximum with its indices, pooling, autograd through all of it.

Seconds of one thread of the processor; both take turns in each round. What is reported is the
median, and the median of the ratios within a round, with their range; and how far the gradients are
from those of the published algorithm in float64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from scoring import REGIONS, collection, published
from torch import Tensor

from zoo.batch import Fragments
from zoo.interfaces import Pairs, Similarity
from zoo.losses import TripletLoss
from zoo_chan.model import HardAligner

Score = Callable[[Fragments, Fragments], Tensor]


def step(
    score: Score, sides: tuple[Fragments, Fragments], loss: TripletLoss
) -> tuple[float, list[Tensor]]:
    """Processor time of scores, loss and backward, and the gradients of both sides."""
    leaves = [Fragments(side.embeddings.clone().requires_grad_(), side.mask) for side in sides]
    rows = torch.arange(len(leaves[0]))
    pairs = Pairs(rows, rows, torch.eye(len(rows), dtype=torch.bool))
    started = time.process_time()
    loss(Similarity(score(*leaves)), pairs).backward()  # type: ignore[no-untyped-call]
    taken = time.process_time() - started
    return taken, [side.embeddings.grad for side in leaves if side.embeddings.grad is not None]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CHAN's scoring in a training step.")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--negatives", choices=("hardest", "all"), default="hardest")
    parser.add_argument("--pooling", choices=("mean", "lse"), default="mean")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--captions", type=Path, help="real captions, for their lengths")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images, texts, pairs = collection(arguments.batch, arguments.dim, arguments.captions)
    texts = texts[pairs[::5, 1]]  # the first caption of each image
    longest = int(texts.mask.sum(dim=1).max())
    sides = images, Fragments(texts.embeddings[:, :longest], texts.mask[:, :longest])
    loss = TripletLoss(margin=0.05, negatives=arguments.negatives)
    aligner = HardAligner("vha", arguments.pooling)

    def literal(images: Fragments, texts: Fragments) -> Tensor:
        return published(images.embeddings, texts, arguments.pooling)

    def ours(images: Fragments, texts: Fragments) -> Tensor:
        return aligner(images, texts).scores

    double = tuple(Fragments(side.embeddings.double(), side.mask) for side in sides)
    _, truth = step(literal, (double[0], double[1]), loss)
    taken = []
    for _ in range(arguments.rounds):
        slow, _ = step(literal, sides, loss)
        fast, gradients = step(ours, sides, loss)
        taken.append((slow, fast))
    ratios = sorted(slow / fast for slow, fast in taken)
    report = {
        "batch": arguments.batch,
        "regions": REGIONS,
        "words": int(sides[1].mask.sum()),
        "longest": longest,
        "dim": arguments.dim,
        "negatives": arguments.negatives,
        "pooling": arguments.pooling,
        "published_seconds": round(statistics.median(slow for slow, _ in taken), 3),
        "seconds": round(statistics.median(fast for _, fast in taken), 3),
        "times_published": round(statistics.median(ratios), 2),
        "range": [round(ratios[0], 2), round(ratios[-1], 2)],
        "gradient_error": max(
            float((one - true).norm() / true.norm())
            for one, true in zip(gradients, truth, strict=True)
        ),
    }
    for name, value in report.items():
        print(f"{name:18} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""CHAN's scoring in a training step: scores, loss and gradients, beside the published algorithm.

    python benchmarks/training_step.py [--batch N] [--dim D] [--negatives hardest|all]
                                       [--rounds N] [--captions FILE] [--json FILE]

A batch of images with 36 regions and as many captions; what the encoders do is left out. The loss
is the paper's triplet loss over hardest negatives, or over all. "published" is written from what
the released program does (Pan et al., CVPR 2023): one product of the padded sides, padding set to
-1 by a mask of the product's size, a maximum with its indices, pooling, autograd through all of it.

What training does is reported first. Over hardest negatives that is two passes, of which the first
is in bfloat16 where this processor gains by it; beside it are two passes in float32 ("float32") and
all pairs with gradients ("at_once").

Seconds of one thread of the processor; all take turns in each round. What is reported is the
median, and the median of the ratios within a round, with their range; and how far the gradients are
from those of the published algorithm in float64.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from scoring import REGIONS, collection, published
from torch import Tensor

from zoo.batch import Fragments
from zoo.interfaces import Pairs, Similarity
from zoo.losses import TripletLoss
from zoo.two_pass_scoring import Needed, score_block
from zoo_chan.model import HardAligner

Score = Callable[[Fragments, Fragments, Needed | None], Tensor]


def step(
    score: Score, sides: tuple[Fragments, Fragments], loss: TripletLoss
) -> tuple[float, list[Tensor]]:
    """Processor time of scores, loss and backward, and the gradients of both sides."""
    leaves = [Fragments(side.embeddings.clone().requires_grad_(), side.mask) for side in sides]
    rows = torch.arange(len(leaves[0]))
    pairs = Pairs(rows, rows, torch.eye(len(rows), dtype=torch.bool))
    started = time.process_time()
    needed = partial(loss.needed, pairs=pairs) if loss.selects else None
    loss(Similarity(score(*leaves, needed)), pairs).backward()  # type: ignore[no-untyped-call]
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

    def literal(images: Fragments, texts: Fragments, _: Needed | None) -> Tensor:
        return published(images.embeddings, texts, arguments.pooling)

    def ours(images: Fragments, texts: Fragments, needed: Needed | None) -> Tensor:
        return score_block(aligner, images, texts, needed).scores

    def float32(images: Fragments, texts: Fragments, needed: Needed | None) -> Tensor:
        with patch("zoo.two_pass_scoring.multiplies_bfloat16", return_value=False):
            return ours(images, texts, needed)

    def at_once(images: Fragments, texts: Fragments, _: Needed | None) -> Tensor:
        return aligner(images, texts).scores

    ways = {"": ours} | ({"float32_": float32, "at_once_": at_once} if loss.selects else {})

    double = tuple(Fragments(side.embeddings.double(), side.mask) for side in sides)
    _, truth = step(literal, (double[0], double[1]), loss)
    taken, gradients = [], {}
    for _ in range(arguments.rounds):
        seconds = {"published_": step(literal, sides, loss)[0]}
        for way, score in ways.items():
            seconds[way], gradients[way] = step(score, sides, loss)
        taken.append(seconds)
    report: dict[str, Any] = {
        "batch": arguments.batch,
        "regions": REGIONS,
        "words": int(sides[1].mask.sum()),
        "longest": longest,
        "dim": arguments.dim,
        "negatives": arguments.negatives,
        "pooling": arguments.pooling,
        "published_seconds": round(statistics.median(one["published_"] for one in taken), 3),
    }
    for way in ways:
        ratios = sorted(one["published_"] / one[way] for one in taken)
        report |= {
            f"{way}seconds": round(statistics.median(one[way] for one in taken), 3),
            f"{way}times_published": round(statistics.median(ratios), 2),
            f"{way}range": [round(ratios[0], 2), round(ratios[-1], 2)],
            f"{way}gradient_error": max(
                float((one - true).norm() / true.norm())
                for one, true in zip(gradients[way], truth, strict=True)
            ),
        }
    for name, value in report.items():
        print(f"{name:23} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

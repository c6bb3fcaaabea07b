"""CHAN's scoring of all pairs: the published algorithm, float32, a bfloat16 scan, and exact ranks.

    python benchmarks/scoring.py [--images N] [--dim D] [--pooling mean|lse] [--rounds N]
                                 [--captions FILE] [--json FILE]

Images have 36 regions and five captions each, with the lengths of the captions in FILE, one a line,
or of COCO's mean and spread. Regions and words are of some concepts that images share, with noise,
so that matches are found about as often as published models find them; R@1 is printed.

"published" is written from what the released evaluation does (Pan et al., CVPR 2023): both sides in
shards of 128, every shard padded to the longest caption of the whole set (of FILE, where there is
one), one float32 product, padding set to -1 by a mask of the product's size, a maximum with its
indices, and pooling of what is not -1. It is timed on the first shard of images with all captions
and scaled to all images; copies from and to float64, which it makes too, are left out.

Seconds of one thread of the processor; the variants take turns in each round. What is reported is
the median, and the median of the ratios to "published" within a round, with their range.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from zoo.batch import Fragments
from zoo.exact_scoring import ExactScorer
from zoo.metrics import ranks_report, retrieval_ranks
from zoo.scoring import score_all
from zoo_chan.model import HardAligner

REGIONS, CAPTIONS, CONCEPTS, SHARD = 36, 5, 1500, 128
IMAGE_BLOCK, TEXT_BLOCK = 128, 512  # a model's own
Seconds = dict[str, float]


def words_in(file: Path) -> list[int]:
    """Words in each caption of a file, with its beginning and end."""
    return [len(line.split()) + 2 for line in file.read_text(encoding="utf-8").splitlines()]


def caption_lengths(count: int, file: Path | None) -> Tensor:
    """Of captions drawn from a file, or like COCO's."""
    generator = np.random.default_rng(0)
    if file is None:
        return torch.from_numpy(generator.lognormal(np.log(12), 0.24, count).round().astype(int))
    return torch.from_numpy(generator.choice(words_in(file), count))


def widened(texts: Fragments, file: Path | None) -> Fragments:
    """Padded to the longest caption of a file."""
    missing = 0 if file is None else max(words_in(file)) - texts.mask.shape[1]
    return Fragments(
        pad(texts.embeddings, (0, 0, 0, missing)), pad(texts.mask, (0, missing), value=False)
    )


def collection(images: int, dim: int, file: Path | None) -> tuple[Fragments, Fragments, Tensor]:
    """Images, captions by length, and the pairs that belong together, an image's in one piece."""
    popular = 1 / torch.arange(1.0, CONCEPTS + 1) ** 0.9
    concepts, common = normalize(torch.randn(CONCEPTS, dim)), torch.randn(dim) * dim**-0.5
    shown = popular.expand(images, -1).multinomial(9)  # (images, 9), what each image shows
    regions = concepts[shown[:, torch.arange(REGIONS) % 9]]
    lengths = caption_lengths(images * CAPTIONS, file)
    order = lengths.argsort(stable=True)
    mask = torch.arange(int(lengths.max())) < lengths[order, None]
    spoken = shown[order // CAPTIONS].gather(1, torch.randint(9, (len(order), mask.shape[1])))
    function = torch.rand(mask.shape) < 0.6  # words that say nothing of the image
    spoken = torch.where(function, torch.randint(60, mask.shape), spoken)

    def noisy(vectors: Tensor, noise: float) -> Tensor:
        seen = vectors + noise * dim**-0.5 * torch.randn_like(vectors)
        return normalize(normalize(seen, dim=-1) + 0.55 * common, dim=-1)

    whole = torch.ones(images, REGIONS, dtype=torch.bool)
    sides = (
        Fragments(noisy(regions, 1.4), whole),
        Fragments(noisy(concepts[spoken], 1.2).masked_fill(~mask[..., None], 0), mask),
    )
    place = order.argsort()
    pairs = torch.stack([torch.arange(len(order)) // CAPTIONS, place], dim=1)
    return *sides, pairs


def by_length(texts: Fragments) -> list[Fragments]:
    """Blocks of captions, each as wide as its longest."""
    blocks = texts.split(TEXT_BLOCK)
    widths = [int(block.mask.sum(dim=1).max()) for block in blocks]
    return [
        Fragments(block.embeddings[:, :width].contiguous(), block.mask[:, :width])
        for block, width in zip(blocks, widths, strict=True)
    ]


def published(images: Tensor, texts: Fragments, pooling: str) -> Tensor:
    """One shard of images with every caption, as the released evaluation scores it."""
    scores = []
    for shard in texts.split(SHARD):
        product = images.flatten(0, 1) @ shard.embeddings.flatten(0, 1).T
        similarity = product.view(*images.shape[:2], *shard.mask.shape)  # (i, r, t, w)
        mask = images.new_ones(len(images) * REGIONS, 1) @ shard.mask.to(images).view(1, -1)
        best = similarity.masked_fill(mask.view_as(similarity) == 0, -1).max(dim=1)[0]
        real = best != -1
        if pooling == "lse":
            score = (best / 0.1).masked_fill(~real, -torch.inf).logsumexp(dim=-1)
        else:
            score = (best * real).sum(dim=-1) / real.sum(dim=-1)
        scores.append(score)
    return torch.cat(scores, dim=1)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time, and what came of it."""
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


@torch.no_grad()
def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All variants, `rounds` times, and whether their ranks agree."""
    images, texts, pairs = collection(arguments.images, arguments.dim, arguments.captions)
    aligner = HardAligner("vha", arguments.pooling)
    image_blocks, text_blocks = images.split(IMAGE_BLOCK), by_length(texts)
    padded = widened(texts, arguments.captions)
    shards = max(1, arguments.images / SHARD)
    rounds: list[Seconds] = []
    scored: dict[str, Tensor] = {}

    def scan() -> Tensor:
        rounded = [aligner.rounded(block) for block in text_blocks]
        blocks = (aligner.rounded(block) for block in image_blocks)
        rows = [[aligner.scan(one, text).scores for text in rounded] for one in blocks]
        return torch.cat([torch.cat(row, dim=1) for row in rows])

    def exact() -> Tensor:
        scorer = ExactScorer(aligner, image_blocks, text_blocks, pairs)
        starts = range(0, len(images), IMAGE_BLOCK)
        return torch.cat(
            [scorer.rows(block, first) for block, first in zip(image_blocks, starts, strict=True)]
        )

    variants = {
        "float32": lambda: score_all(aligner, image_blocks, text_blocks),
        "bfloat16 scan": scan,
        "exact": exact,
    }
    for _ in range(arguments.rounds):
        taken, shard = timed(
            lambda: published(images.embeddings[:SHARD], padded, arguments.pooling)
        )
        seconds = {"published": taken * shards}
        for name, run in variants.items():
            seconds[name], scored[name] = timed(run)
        torch.testing.assert_close(scored["float32"][:SHARD], shard, rtol=1e-5, atol=1e-5)
        rounds.append(seconds)
    found = {
        name: retrieval_ranks(scores.numpy(), pairs.numpy(), "against")
        for name, scores in scored.items()
    }
    plain = found["float32"]
    same = {
        name: bool((one.images == plain.images).all() and (one.texts == plain.texts).all())
        for name, one in found.items()
    }
    gemm = 2 * images.mask.sum() * texts.mask.sum() * arguments.dim
    rows = []
    for name in rounds[0]:
        ratios = sorted(one["published"] / one[name] for one in rounds)
        median = statistics.median(one[name] for one in rounds)
        rows.append(
            {
                "variant": name,
                "seconds": round(median, 2),
                "times_published": round(statistics.median(ratios), 2),
                "range": [round(ratios[0], 2), round(ratios[-1], 2)],
                "useful_gflops": round(float(gemm) / median / 1e9),
                "ranks_of_float32": same.get(name),
                "largest_difference": float(
                    (scored[name] - scored["float32"]).abs().max() if name in scored else 0
                ),
            }
        )
    over_scan = statistics.median(one["exact"] / one["bfloat16 scan"] for one in rounds)
    report = ranks_report(plain)
    return {
        "images": arguments.images,
        "captions": len(pairs),
        "words": int(texts.mask.sum()),
        "longest": texts.mask.shape[1],
        "dim": arguments.dim,
        "pooling": arguments.pooling,
        "r1": [report["i2t_r1"], report["t2i_r1"]],
        "exact_over_scan": round(over_scan, 3),
        "scored_in_float32": float((scored["exact"] == scored["float32"]).float().mean()),
        "rows": rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="CHAN's scoring of all pairs.")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--pooling", choices=("mean", "lse"), default="mean")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--captions", type=Path, help="real captions, for their lengths")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    report = measure(arguments)
    print(f"{'variant':14} {'seconds':>8} {'x published':>12} {'range':>14} {'GFLOP/s':>8}  ranks")
    for row in report["rows"]:
        low, high = row["range"]
        ranks = {None: "", True: "those of float32", False: "others"}[row["ranks_of_float32"]]
        print(
            f"{row['variant']:14} {row['seconds']:8.2f} {row['times_published']:12.1f} "
            f"{f'{low}-{high}':>14} {row['useful_gflops']:8}  {ranks}"
        )
    print(", ".join(f"{key} {value}" for key, value in report.items() if key != "rows"))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

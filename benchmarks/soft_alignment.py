"""Soft alignment beside the loop over captions that builds every attended vector.

    python benchmarks/soft_alignment.py [--rounds N] [--images N] [--texts N] [--json FILE]

The loop is SCAN's equations (Lee et al., ECCV 2018) as they stand: leaky ReLU, norm, softmax, the
attended vectors by a batched product, their cosines. Images have 36 regions, texts 12 to 20 words.
Seconds of one thread of the processor; each round runs both, in turn, and what is reported is the
median over the rounds and the median of the ratios within a round. "score" is without gradients,
"train" with those of both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, normalize, pad

from zoo.batch import Fragments
from zoo.kernels.soft_alignment import Attention, soft_alignment

SCAN = Attention(sharpness=9, leak=0.1, normalize=True)
Align = Callable[[Fragments, Fragments], Tensor]


def random_sides(images: int, texts: int, dim: int) -> tuple[Fragments, Fragments]:
    """Images and texts of unit vectors that have something in common."""
    lengths = torch.randint(12, 21, (texts,))
    masks = torch.ones(images, 36, dtype=torch.bool), torch.arange(20) < lengths[:, None]
    shared = torch.randn(dim)
    regions, words = (
        Fragments(normalize(torch.randn(*mask.shape, dim) + shared, dim=-1), mask) for mask in masks
    )
    return regions, words


def attended(queries: Tensor, sources: Tensor) -> Tensor:
    """The cosines of one caption with every image, (images, queries), attended vectors built."""
    logits = leaky_relu(queries @ sources.mT, SCAN.leak or 0)
    logits = logits / (logits.square().sum(dim=1, keepdim=True).sqrt() + 1e-8)
    vectors = torch.bmm((SCAN.sharpness * logits).softmax(dim=2), sources)
    cosines: Tensor = (queries * vectors).sum(dim=2) / torch.linalg.vector_norm(vectors, dim=2)
    return cosines


def words_attend(texts: Fragments, images: Fragments) -> Tensor:
    """Caption by caption: each word's cosine with the regions that it attends to."""
    rows = []
    for embeddings, mask in zip(texts.embeddings, texts.mask, strict=True):
        words = embeddings[mask].expand(len(images), -1, -1)
        missing = len(mask) - words.shape[1]
        rows.append(pad(attended(words, images.embeddings), (0, missing), value=-torch.inf))
    return torch.stack(rows, dim=1)


def regions_attend(images: Fragments, texts: Fragments) -> Tensor:
    """Caption by caption: each region's cosine with the words that it attends to."""
    captions = zip(texts.embeddings, texts.mask, strict=True)
    words = (embeddings[mask].expand(len(images), -1, -1) for embeddings, mask in captions)
    return torch.stack([attended(images.embeddings, caption) for caption in words])


def kernel(queries: Fragments, sources: Fragments) -> Tensor:
    """The same by the zoo's kernel."""
    return soft_alignment(queries, sources, SCAN)


def seconds(align: Align, queries: Fragments, sources: Fragments, train: bool) -> float:
    """Processor time of one alignment, with the gradients of both sides if training."""
    for side in (queries, sources):
        side.embeddings.requires_grad_(train).grad = None
    started = time.process_time()
    cosines = align(queries, sources)
    if train:
        cosines.masked_fill(~queries.mask, 0).sum().backward()  # type: ignore[no-untyped-call]
    return time.process_time() - started


def measure(images: int, texts: int, rounds: int) -> list[dict[str, str | float]]:
    """A row for each dim, direction and use."""
    report: list[dict[str, str | float]] = []
    for dim in (256, 1024):
        regions, words = random_sides(images, texts, dim)
        for direction, loop, sides in (
            ("words attend", words_attend, (words, regions)),
            ("regions attend", regions_attend, (regions, words)),
        ):
            torch.testing.assert_close(kernel(*sides), loop(*sides), rtol=1e-5, atol=1e-5)
            for use in ("score", "train"):
                taken = [
                    (seconds(loop, *sides, use == "train"), seconds(kernel, *sides, use == "train"))
                    for _ in range(rounds)
                ]
                ours = statistics.median(kernel_time for _, kernel_time in taken)
                ratio = statistics.median(slow / fast for slow, fast in taken)
                row = {"dim": dim, "direction": direction, "use": use}
                report.append({**row, "seconds": round(ours, 4), "ratio": round(ratio, 2)})
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Soft alignment against the literal loop.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    report = measure(arguments.images, arguments.texts, arguments.rounds)
    print(f"{'dim':>5}  {'direction':15} {'use':6} {'kernel, s':>10} {'x faster':>9}")
    for row in report:
        head = f"{row['dim']:5}  {row['direction']:15} {row['use']:6}"
        print(f"{head} {row['seconds']:10.3f} {row['ratio']:9.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

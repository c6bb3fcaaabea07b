"""Soft alignment beside the published loops of SCAN: all pairs, a training step, and its memory.

    python benchmarks/soft_alignment.py [--dims N ...] [--images N] [--texts N] [--rounds N]
                                        [--captions FILE] [--json FILE]

The baseline is written by us from what the released program of SCAN does (Lee et al., Stacked
Cross Attention for Image-Text Matching, ECCV 2018), in evaluation and in training alike: images and
captions in shards of 128, captions padded to the longest of the shard; in a shard a loop over the
captions, each cut to its words and repeated for every image; dot products of all regions with all
words of each pair, leaky ReLU, L2 norm over the queries, softmax over the sources, the attended
vectors formed, their cosines with the queries, and the mean of these. "words" is t2i, where words
attend to regions (sharpness 9), "regions" is i2t (sharpness 4). "lean" is the same loop without the
copies that repeat and transpose.

"step" is a training step of 128 images and 128 captions: scores of all pairs, the triplet loss over
all negatives, and the gradients of both sides, in float32. Encoders are left out.

Seconds of one thread of the processor; the variants take turns in each round. What is reported is
the median, and the median of the ratios to "published" within a round, with their range. "of mm" is
the share of the speed that torch.mm has, of the same type, on blocks of 2,304 x 1,024; more than 1
is possible, since the kernel may take another library than torch.mm. Peaks are those of the
resident set, over what is there before, of a step in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from scoring import collection
from torch import Tensor
from torch.nn.functional import leaky_relu

from zoo.batch import Fragments
from zoo.interfaces import Pairs, Similarity
from zoo.kernels.soft_alignment import Attention, soft_alignment
from zoo.losses import TripletLoss
from zoo.ops import masked_mean

SHARD = 128
WORDS = Attention(sharpness=9, leak=0.1, normalize=True)
REGIONS = Attention(sharpness=4, leak=0.1, normalize=True)
Score = Callable[[Fragments, Fragments], Tensor]
Row = dict[str, Any]


def published_attention(query: Tensor, context: Tensor, sharpness: float) -> Tensor:
    """The vector that each query attends to, (images, queries, dim)."""
    logits = leaky_relu(torch.bmm(context, query.transpose(1, 2)), 0.1)
    logits = logits / (logits.pow(2).sum(dim=2, keepdim=True).sqrt() + 1e-8)
    logits = logits.transpose(1, 2).contiguous()
    shares = (sharpness * logits.flatten(0, 1)).softmax(dim=1).view_as(logits)
    shares = shares.transpose(1, 2).contiguous()
    return torch.bmm(context.transpose(1, 2), shares).transpose(1, 2)


def published_cosine(one: Tensor, other: Tensor) -> Tensor:
    """Along the last axis."""
    lengths = one.norm(dim=2) * other.norm(dim=2)
    cosine: Tensor = (one * other).sum(dim=2) / lengths.clamp(min=1e-8)
    return cosine


def published(images: Fragments, texts: Fragments, attend: str) -> Tensor:
    """Scores of all pairs, shard by shard and caption by caption."""
    rows = []
    for image_shard in images.split(SHARD):
        columns = []
        for text_shard in texts.split(SHARD):
            lengths = text_shard.mask.sum(dim=1).tolist()
            for padded, length in zip(text_shard.embeddings, lengths, strict=True):
                regions = image_shard.embeddings
                words = padded[None, :length].contiguous().repeat(len(regions), 1, 1)
                if attend == "words":
                    seen = published_attention(words, regions, WORDS.sharpness).contiguous()
                    columns.append(published_cosine(words, seen).mean(dim=1, keepdim=True))
                else:
                    seen = published_attention(regions, words, REGIONS.sharpness)
                    columns.append(published_cosine(regions, seen).mean(dim=1, keepdim=True))
        rows.append(torch.cat(columns, dim=1))
    return torch.cat(rows)


def lean(images: Fragments, texts: Fragments, attend: str) -> Tensor:
    """The loop over captions with nothing that could be left out."""
    columns = []
    for padded, mask in zip(texts.embeddings, texts.mask, strict=True):
        words = padded[mask].expand(len(images), -1, -1)
        sides = (words, images.embeddings) if attend == "words" else (images.embeddings, words)
        queries, sources = sides
        logits = leaky_relu(queries @ sources.mT, 0.1)
        logits = logits / (logits.square().sum(dim=1, keepdim=True).sqrt() + 1e-8)
        sharpness = (WORDS if attend == "words" else REGIONS).sharpness
        vectors = torch.bmm((sharpness * logits).softmax(dim=2), sources)
        cosines = (queries * vectors).sum(dim=2) / torch.linalg.vector_norm(vectors, dim=2)
        columns.append(cosines.mean(dim=1))
    return torch.stack(columns, dim=1)


def kernel(
    images: Fragments, texts: Fragments, attend: str, dtype: torch.dtype | None = None
) -> Tensor:
    """The same by the zoo's kernel."""
    if attend == "words":
        return masked_mean(soft_alignment(texts, images, WORDS, dtype=dtype), texts.mask)
    return masked_mean(soft_alignment(images, texts, REGIONS, dtype=dtype), images.mask).T


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time, and what came of it."""
    started = time.process_time()
    result = run()
    return time.process_time() - started, result


def bare(dim: int, dtype: torch.dtype) -> float:
    """Multiplications and additions a second of torch.mm, of blocks as the kernel's."""
    rows, columns = torch.randn(2304, dim).to(dtype), torch.randn(1024, dim).to(dtype)
    out = torch.empty(2304, 1024, dtype=dtype)
    times = [timed(lambda: torch.mm(rows, columns.T, out=out))[0] for _ in range(9)]
    return 2 * out.numel() * dim / statistics.median(times)


def table(rounds: list[dict[str, float]], **more: Any) -> list[Row]:
    """A row for each variant."""
    rows = []
    for name in rounds[0]:
        ratios = sorted(one["published"] / one[name] for one in rounds)
        rows.append(
            more
            | {
                "variant": name,
                "seconds": round(statistics.median(one[name] for one in rounds), 3),
                "times_published": round(statistics.median(ratios), 1),
                "range": [round(ratios[0], 1), round(ratios[-1], 1)],
            }
        )
    return rows


@torch.no_grad()
def scoring(images: Fragments, texts: Fragments, attend: str, rounds: int) -> list[Row]:
    """All pairs without gradients."""
    half = torch.bfloat16
    variants: dict[str, Callable[[], Tensor]] = {
        "published": lambda: published(images, texts, attend),
        "lean": lambda: lean(images, texts, attend),
        "float32": lambda: kernel(images, texts, attend),
        "bfloat16": lambda: kernel(images, texts, attend, half),
    }
    taken: list[dict[str, float]] = []
    for _ in range(rounds):
        scored = {name: timed(run) for name, run in variants.items()}
        taken.append({name: seconds for name, (seconds, _) in scored.items()})
    torch.testing.assert_close(scored["float32"][1], scored["published"][1], rtol=1e-5, atol=1e-5)
    dim = images.embeddings.shape[2]
    rows = table(taken, dim=dim, attend=attend, use="score")
    work = 2 * int(images.mask.sum()) * int(texts.mask.sum()) * dim
    for row in rows:
        row["gflops"] = round(work / row["seconds"] / 1e9)
        moved = scored[row["variant"]][1] - scored["published"][1]
        row["largest_difference"] = float(moved.abs().max())
    for row, dtype in zip(rows[2:], (torch.float32, half), strict=True):
        row["of_mm"] = round(row["gflops"] * 1e9 / bare(dim, dtype), 2)
    return rows


def step(score: Score, images: Fragments, texts: Fragments) -> None:
    """Scores, loss over all negatives, and the gradients of both sides."""
    leaves = [
        Fragments(side.embeddings.detach().requires_grad_(), side.mask) for side in (images, texts)
    ]
    rows = torch.arange(len(images))
    pairs = Pairs(rows, rows, torch.eye(len(rows), dtype=torch.bool))
    loss = TripletLoss(margin=0.2, negatives="all")
    loss(Similarity(score(*leaves)), pairs).backward()  # type: ignore[no-untyped-call]


def training(arguments: argparse.Namespace, dim: int, attend: str) -> list[Row]:
    """A step by each, and the memory that it takes."""
    images, texts = batch(arguments, dim)
    taken = []
    for _ in range(arguments.rounds):
        taken.append(
            {
                "published": timed(lambda: step(by("published", attend), images, texts))[0],
                "float32": timed(lambda: step(by("float32", attend), images, texts))[0],
            }
        )
    rows = table(taken, dim=dim, attend=attend, use="step")
    for row in rows:
        asked = [sys.executable, __file__, "--peak", row["variant"], attend, "--dims", str(dim)]
        if arguments.captions:
            asked += ["--captions", str(arguments.captions)]
        row["peak_mib"] = int(subprocess.run(asked, check=True, capture_output=True).stdout)
    return rows


def by(variant: str, attend: str) -> Score:
    """What scores."""
    score = {"published": published, "float32": kernel}[variant]
    return lambda images, texts: score(images, texts, attend)


def batch(arguments: argparse.Namespace, dim: int) -> tuple[Fragments, Fragments]:
    """128 images, and the first caption of each, in their order."""
    images, texts, pairs = collection(SHARD, dim, arguments.captions)
    chosen = texts[pairs[::5, 1]]
    longest = int(chosen.mask.sum(dim=1).max())
    return images, Fragments(chosen.embeddings[:, :longest].contiguous(), chosen.mask[:, :longest])


def resident(name: str) -> int:
    """MiB that this process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name))


def peak(arguments: argparse.Namespace) -> int:
    """MiB of one step beyond what is there before it."""
    variant, attend = arguments.peak
    images, texts = batch(arguments, arguments.dims[0])
    few = images[:2], texts[:2]
    step(by(variant, attend), *few)  # what the libraries keep once they have run
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = resident("VmRSS")
    step(by(variant, attend), images, texts)
    return resident("VmHWM") - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Soft alignment against SCAN's published loops.")
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 256])
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--captions", type=Path, help="real captions, for their lengths")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--peak", nargs=2, metavar=("VARIANT", "ATTEND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if arguments.peak:
        print(peak(arguments))
        return
    report = []
    for dim in arguments.dims:
        images, texts, _ = collection(arguments.images, dim, arguments.captions)
        texts = texts[: arguments.texts]
        for attend in ("words", "regions"):
            report += scoring(images, texts, attend, arguments.rounds)
            report += training(arguments, dim, attend)
    print(
        f"{'dim':>5} {'attend':8} {'use':6} {'variant':10} {'seconds':>8} {'x published':>12}"
        f" {'range':>12} {'of mm':>6} {'peak MiB':>9}"
    )
    for row in report:
        low, high = row["range"]
        print(
            f"{row['dim']:5} {row['attend']:8} {row['use']:6} {row['variant']:10} "
            f"{row['seconds']:8.3f} {row['times_published']:12.1f} {f'{low}-{high}':>12} "
            f"{row.get('of_mm', ''):>6} {row.get('peak_mib', ''):>9}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

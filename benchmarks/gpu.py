"""What the kernels do on a GPU, in one run of some minutes: time, memory, distance from float64.

    python benchmarks/gpu.py [--images N] [--batch N] [--captions FILE] [--json FILE] [--toy]

- hard: COCO's 5K at dim 1,024, each word's best region of each image, and mean pooling. "published"
  is the released evaluation's algorithm (zoo/bench/published.py says what that is) on this GPU, one
  shard of 128 images with all captions, scaled to all images; its copies from and to float64 on the
  host are left out. "mm + amax" is what one would write in torch: a product of a block, a maximum.
- tiles: the kernel with other tiles, on a part. What is used is in `zoo.kernels.triton_hard.Tile`.
- scoring: as `model.score` does it, with its copy to the host, in several sizes of blocks.
- soft: SCAN's form, both ways, beside torch's operations and beside the released program's
  algorithm (likewise), on some captions, scaled to all of them.
- training: scores, loss and gradients of a batch, encoders left out, with hardest negatives and
  with all; gradients against float64.

Seconds are medians of `--rounds` after a first run, which compiles. A part that fails is told in
its place and costs no other; what does not begin within `--limit` seconds is left out, and said.
`--toy` runs it on a CPU in Triton's interpreter, to see that it runs; its times mean nothing.
"""

# ruff: noqa: E402 - triton reads its environment when it is imported

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

REGIONS = 36
TOY = "--toy" in sys.argv
os.environ["ZOO_KERNELS"] = "triton"
if TOY:
    os.environ["TRITON_INTERPRET"] = "1"

import torch
import triton
from torch import Tensor
from torch.nn.functional import normalize, pad

from zoo.batch import Fragments
from zoo.bench.collection import caption_lengths
from zoo.bench.published import SHARD
from zoo.bench.published import hard_alignment as published
from zoo.bench.soft import kernel as soft_scores
from zoo.bench.soft import published as published_soft
from zoo.interfaces import Pairs, Similarity
from zoo.kernels.choice import kernels_on
from zoo.kernels.hard_alignment import hard_alignment
from zoo.kernels.packing import Packing
from zoo.kernels.triton_hard import Tile, largest
from zoo.losses import TripletLoss
from zoo.scoring.blocks import score_all
from zoo_chan.model import HardAligner

DEVICE = torch.device("cpu" if TOY else "cuda")
DIM = 32 if TOY else 1024
BLOCK = 16 if TOY else 1024
"""Captions whose codes are held at once."""

SAMPLE = 2 if TOY else 64
"""Images and captions that are held against float64."""

Row = dict[str, Any]
TILES = [
    Tile(128, 128, 64, 8),
    Tile(128, 64, 64, 8),
    Tile(128, 64, 64, 4),
    Tile(64, 128, 64, 4),
    Tile(64, 64, 64, 4),
    Tile(64, 128, 128, 8),
    Tile(64, 256, 64, 8),
]


class Bench:
    """Runs the parts and keeps what came of them."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.started = time.monotonic()
        self.report: dict[str, Any] = {"toy": TOY, "parts": {}, "failed": {}, "left_out": []}

    def part(self, name: str, measure: Callable[[Bench], Iterator[Row]]) -> None:
        """Measure and print one part; what it found before it failed is kept."""
        rows: list[Row] = []
        self.report["parts"][name] = rows
        print(f"\n{name}")
        try:
            for row in measure(self):
                rows.append(row)
                print("  " + ", ".join(f"{key} {_short(value)}" for key, value in row.items()))
                self.save()
        except Exception as error:  # noqa: BLE001 - a machine is had once; other parts go on
            self.report["failed"][name] = f"{type(error).__name__}: {error}"
            print(f"  failed: {self.report['failed'][name][:300]}")
        self.save()

    def save(self) -> None:
        """Write what there is so far."""
        self.report["seconds_in_all"] = round(time.monotonic() - self.started, 1)
        if self.arguments.json:
            self.arguments.json.write_text(json.dumps(self.report, indent=2) + "\n")

    def variants(self, of: str, runs: dict[str, Callable[[], Any]]) -> Iterator[tuple[str, Row]]:
        """Each one's seconds and peak memory, unless the time is over."""
        for name, run in runs.items():
            if time.monotonic() - self.started > self.arguments.limit:
                self.report["left_out"].append(f"{of}: {name}")
                continue
            try:
                yield name, self.measured(run)
            except Exception as error:  # noqa: BLE001 - a variant may need what this torch lacks
                self.report["failed"][f"{of}: {name}"] = f"{type(error).__name__}: {error}"
                print(f"  {name} failed: {str(error)[:200]}")

    def measured(self, run: Callable[[], Any]) -> Row:
        """A first run, then the median of the rounds; gigabytes before, and the most of them."""
        first = _seconds(run)
        row: Row = {"first": first}
        if not TOY:
            torch.cuda.reset_peak_memory_stats()
            row["held_gb"] = torch.cuda.memory_allocated() / 1e9
        rounds = [_seconds(run) for _ in range(self.arguments.rounds)]
        row = {"seconds": statistics.median(rounds), **row}
        if not TOY:
            row["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        return row


def _seconds(run: Callable[[], Any]) -> float:
    _wait()
    started = time.perf_counter()
    run()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if not TOY:
        torch.cuda.synchronize()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def images_of(count: int) -> Fragments:
    """Unit vectors with something in common."""
    mask = torch.ones(count, REGIONS, dtype=torch.bool, device=DEVICE)
    return Fragments(_vectors(count, REGIONS), mask)


def texts_of(count: int, file: Path | None, block: int) -> list[Fragments]:
    """Captions by length, in blocks as wide as their longest. Padding is 0."""
    lengths = caption_lengths(count, file)[0].sort().values.to(DEVICE)
    blocks = []
    for some in lengths.split(block):
        mask = torch.arange(int(some.max()), device=DEVICE) < some[:, None]
        words = _vectors(*mask.shape).masked_fill_(~mask[..., None], 0)
        blocks.append(Fragments(words, mask))
    return blocks


def _vectors(items: int, fragments: int) -> Tensor:
    vectors = torch.randn(items, fragments, DIM, device=DEVICE)
    return normalize(vectors.add_(0.5), dim=-1)


def halved(side: Fragments, dtype: torch.dtype) -> Fragments:
    """The same, rounded."""
    return Fragments(side.embeddings.to(dtype), side.mask)


@torch.no_grad()
def hard(bench: Bench) -> Iterator[Row]:
    """All images with all captions, on the device."""
    images = images_of(bench.arguments.images)
    texts = texts_of(5 * len(images), bench.arguments.captions, BLOCK)
    words = sum(int(block.mask.sum()) for block in texts)
    longest = texts[-1].mask.shape[1]
    products = 2.0 * words * images.mask.numel() * DIM
    yield {"images": len(images), "captions": sum(map(len, texts)), "words": words}

    def kernel(dtype: torch.dtype) -> Tensor:
        rounded = halved(images, dtype)
        return torch.cat(
            [
                hard_alignment(halved(block, dtype), rounded).pool(lambda c: c.mean(dim=1))
                for block in texts
            ],
            dim=1,
        )

    def literal() -> Tensor:
        wide = [
            Fragments(
                pad(shard.embeddings, (0, 0, 0, longest - shard.mask.shape[1])),
                pad(shard.mask, (0, longest - shard.mask.shape[1]), value=False),
            )
            for block in texts
            for shard in block.split(SHARD)
        ]
        shard_of_images = images.embeddings[:SHARD]
        return torch.cat([published(shard_of_images, shard, "mean") for shard in wide], dim=1)

    def torch_blocks(dtype: torch.dtype, full_sums: bool) -> None:
        """The codes; what pooling costs is the same for all."""
        rows = halved(images, dtype).embeddings.flatten(0, 1)
        for block in texts:
            packed = Packing.of(block.mask).pack(block.embeddings.to(dtype))
            step = max(1, 2**28 // (REGIONS * len(packed)))  # a gigabyte in float32
            for part in rows.split(step * REGIONS):
                if full_sums:
                    found = torch.mm(part, packed.T, out_dtype=torch.float32)
                else:
                    found = part @ packed.T
                found.view(-1, REGIONS, len(packed)).amax(dim=1)

    runs: dict[str, Callable[[], Any]] = {
        "published, float32": literal,
        "kernel, bfloat16": lambda: kernel(torch.bfloat16),
        "kernel, float16": lambda: kernel(torch.float16),
        "kernel, float32": lambda: kernel(torch.float32),
        "mm + amax, bfloat16": lambda: torch_blocks(torch.bfloat16, full_sums=False),
        "mm + amax, float32": lambda: torch_blocks(torch.float32, full_sums=False),
    }
    if not TOY:  # torch has no such product on a CPU
        runs["mm + amax, bfloat16, float32 sums"] = lambda: torch_blocks(torch.bfloat16, True)
    few = Fragments(texts[0].embeddings[:SAMPLE], texts[0].mask[:SAMPLE])
    exact = hard_alignment(halved(few, torch.float64), halved(images[:SAMPLE], torch.float64))
    yardstick = 0.0
    for name, row in bench.variants("hard", runs):
        if name.startswith("published"):
            row["scaled_by"] = len(images) / min(SHARD, len(images))
            row["seconds"] *= row["scaled_by"]
            yardstick = row["seconds"]
        row["times_published"] = yardstick / row["seconds"]
        row["useful_tflops"] = products / row["seconds"] / 1e12
        if name.startswith("kernel"):
            dtype = getattr(torch, name.split()[-1])
            found = hard_alignment(halved(few, dtype), halved(images[:SAMPLE], dtype)).values
            row["from_float64"] = float((found - exact.values).abs().max())
        yield {"variant": name, **row}


@torch.no_grad()
def tiles(bench: Bench) -> Iterator[Row]:
    """Codes of a part of it, in bfloat16 for each tile and in float32 for each way to multiply."""
    images, words = (4, 24) if TOY else (1024, 16384)
    entries, queries = _vectors(images, REGIONS), _vectors(1, words)[0]
    padding = torch.zeros(entries.shape[:2], dtype=torch.bool, device=DEVICE)
    products = 2.0 * images * REGIONS * words * DIM
    halves = queries.bfloat16(), entries.bfloat16()

    def with_tile(tile: Tile, remember: bool) -> Callable[[], Any]:
        return lambda: largest(*halves, padding, remember, tile=tile)

    def with_precision(precision: str) -> Callable[[], Any]:
        return lambda: largest(queries, entries, padding, precision=precision)

    runs: dict[str, Callable[[], Any]] = {
        f"bfloat16 {tile.items}x{tile.queries}x{tile.step}, {tile.warps} warps"
        f"{', places' * remember}": with_tile(tile, remember)
        for tile in TILES
        for remember in (False, True)
    }
    for precision in ("tf32x3", "tf32", "ieee"):
        runs[f"float32 {precision}"] = with_precision(precision)
    exact = torch.einsum("ird,qd->irq", entries[:SAMPLE].double(), queries[:SAMPLE].double())
    for name, row in bench.variants("tiles", runs):
        row["tflops"] = products / row["seconds"] / 1e12
        if name.startswith("float32"):
            found = largest(queries, entries, padding, precision=name.split()[-1])[0]
            away = found[:SAMPLE, :SAMPLE] - exact.amax(dim=1)
            row["from_float64"] = float(away.abs().max())
        yield {"variant": name, **row}


@torch.no_grad()
def scoring(bench: Bench) -> Iterator[Row]:
    """`score_all` with the aligner, whose scores end on the host."""
    images = images_of(bench.arguments.images)
    aligner = HardAligner("vha", "mean")
    for dtype in (torch.bfloat16, torch.float32):
        for image_block, text_block in ((128, 512), (1024, 2048), (len(images), 2048)):
            texts = texts_of(5 * len(images), bench.arguments.captions, text_block)
            rounded = [halved(block, dtype) for block in texts]
            blocks = halved(images, dtype).split(image_block)
            run = partial(score_all, aligner, blocks, rounded, device=DEVICE)
            name = f"{dtype}, {image_block} x {text_block}".removeprefix("torch.")
            for _, row in bench.variants("scoring", {name: run}):
                yield {"variant": name, **row}


def soft(bench: Bench) -> Iterator[Row]:
    """A fifth of COCO's 5K each way, scored and trained."""
    count = 2 if TOY else max(8, bench.arguments.images // 5)
    images, captions = images_of(count), texts_of(5 * count, bench.arguments.captions, 5 * count)[0]
    some = captions[:: max(1, len(captions) // 64)]
    few = images[:SAMPLE], captions[-SAMPLE:]
    batch = images[: bench.arguments.batch], captions[: bench.arguments.batch]
    for attend in ("words", "regions"):
        yardstick = 0.0
        runs = {
            "published": torch.no_grad()(partial(published_soft, images, some, attend)),
            "torch": torch.no_grad()(
                partial(_in_torch, partial(soft_scores, images, captions, attend))
            ),
            "kernel": torch.no_grad()(partial(soft_scores, images, captions, attend)),
        }
        for name, row in bench.variants(f"soft, {attend} attend", runs):
            if name == "published":
                row["scaled_by"] = len(captions) / len(some)
                row["seconds"] *= row["scaled_by"]
                yardstick = row["seconds"]
            row["times_published"] = yardstick / row["seconds"]
            yield {"variant": f"{attend} attend, {name}", **row}
        exact = soft_scores(*(halved(side, torch.float64) for side in few), attend)
        away = (soft_scores(*few, attend) - exact).abs().max()
        yield {"variant": f"{attend} attend, kernel", "from_float64": float(away)}
        runs = {
            "published": partial(_soft_step, published_soft, batch, attend),
            "torch": partial(_in_torch, partial(_soft_step, soft_scores, batch, attend)),
            "kernel": partial(_soft_step, soft_scores, batch, attend),
        }
        for name, row in bench.variants(f"soft training, {attend} attend", runs):
            yardstick = row["seconds"] if name == "published" else yardstick
            row["times_published"] = yardstick / row["seconds"]
            yield {"variant": f"training step, {attend} attend, {name}", **row}


def _soft_step(
    score: Callable[..., Tensor], batch: tuple[Fragments, Fragments], attend: str
) -> None:
    """Scores and the gradients of their sum."""
    leaves = [Fragments(side.embeddings.clone().requires_grad_(), side.mask) for side in batch]
    score(*leaves, attend).sum().backward()  # type: ignore[no-untyped-call]


def _in_torch(run: Callable[[], Any]) -> Any:
    """Without kernels in Triton."""
    os.environ["ZOO_KERNELS"] = "torch"
    try:
        return run()
    finally:
        os.environ["ZOO_KERNELS"] = "triton"


def training(bench: Bench) -> Iterator[Row]:
    """Scores, loss and gradients of a batch of images, each with a caption."""
    images = images_of(bench.arguments.batch)
    texts = texts_of(len(images), bench.arguments.captions, len(images))[0]
    texts = texts[torch.randperm(len(texts), device=DEVICE)]
    rows = torch.arange(len(images), device=DEVICE)
    pairs = Pairs(rows, rows, torch.eye(len(rows), dtype=torch.bool, device=DEVICE))
    aligner = HardAligner("vha", "mean")

    def step(score: Callable[..., Tensor], dtype: torch.dtype, loss: TripletLoss) -> list[Tensor]:
        leaves = [
            Fragments(side.embeddings.to(dtype, copy=True).requires_grad_(), side.mask)
            for side in (images, texts)
        ]
        loss(Similarity(score(*leaves)), pairs).backward()  # type: ignore[no-untyped-call]
        return [leaf.embeddings.grad for leaf in leaves if leaf.embeddings.grad is not None]

    def literal(some: Fragments, others: Fragments) -> Tensor:
        return published(some.embeddings, others, "mean")

    def ours(some: Fragments, others: Fragments) -> Tensor:
        return aligner(some, others).scores

    for negatives in ("hardest", "all"):
        loss = TripletLoss(margin=0.05, negatives=negatives)
        truth = step(literal, torch.float64, loss)
        runs = {
            "published": partial(step, literal, torch.float32, loss),
            "torch": partial(_in_torch, partial(step, ours, torch.float32, loss)),
            "kernel": partial(step, ours, torch.float32, loss),
            "kernel, bfloat16": partial(step, ours, torch.bfloat16, loss),
        }
        yardstick = 0.0
        for name, row in bench.variants(f"training, {negatives}", runs):
            yardstick = row["seconds"] if name == "published" else yardstick
            away = [
                float((one.double() - true).norm() / true.norm())
                for one, true in zip(runs[name](), truth, strict=True)
            ]
            yield {
                "variant": f"{negatives}, {name}",
                "batch": len(images),
                **row,
                "times_published": yardstick / row["seconds"],
                "gradients_from_float64": max(away),
            }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The kernels on a GPU.")
    parser.add_argument("--images", type=int, default=6 if TOY else 5000)
    parser.add_argument("--batch", type=int, default=6 if TOY else 384)
    parser.add_argument("--rounds", type=int, default=1 if TOY else 3)
    parser.add_argument("--limit", type=float, default=270, help="seconds, in all")
    parser.add_argument("--captions", type=Path, help="real captions, for their lengths")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--toy", action="store_true", help="a CPU and the interpreter")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    bench = Bench(arguments)
    bench.report |= {
        "device": "cpu" if TOY else torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "kernels": str(kernels_on(DEVICE)),
        "command": " ".join(sys.argv),
    }
    print(", ".join(f"{k} {bench.report[k]}" for k in ("device", "torch", "triton", "kernels")))
    for part in (hard, training, soft, scoring, tiles):
        bench.part(part.__name__, part)
    for name in bench.report["left_out"]:
        print(f"left out for want of time: {name}")
    print(f"{bench.report['seconds_in_all']} s in all; {len(bench.report['failed'])} failed")
    sys.exit(bool(bench.report["failed"]))


if __name__ == "__main__":
    main()

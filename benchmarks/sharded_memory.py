"""How much memory a process of several takes that train a BERT of base size, with its strategy.

    python benchmarks/sharded_memory.py [--ways WAY ...] [--processes N] [--items N]
                                        [--accumulate N] [--json FILE]

The model is CHAN's with BERT (random weights, 110 M parameters, 30,522 word pieces), the optimiser
AdamW; a batch has random regions (36 x 2,048) and captions of twelve words. Each process goes
through three steps over gloo, by one thread. Given are 10^6 bytes of the resident set beyond what
the process held before the model was built (Linux): between two steps (weights and moments), and
the peak of the third step.

whole         each process has all weights
kept          fully_shard, weights kept after the forward pass (ZeRO-2)
given-back    fully_shard, weights given back after it (ZeRO-3)
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from zoo.workers import MEETING

WAYS: dict[str, dict[str, Any] | None] = {
    "whole": None,
    "kept": {"reshard_after_forward": False, "layers": None},
    "given-back": {"reshard_after_forward": True, "layers": None},
}
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def resident(name: str) -> float:
    """10^6 bytes that this process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name))


def steps_here(way: str, items: int, accumulate: int) -> dict[str, float]:
    """Three steps in this process, one of several."""
    from zoo import components
    from zoo.batch import Regions
    from zoo.interfaces import Pairs
    from zoo.losses import TripletLoss
    from zoo.model import MatchingModel
    from zoo.processes import joined_processes
    from zoo.training.data import TrainingBatch
    from zoo.training.gathering import shares
    from zoo.training.optimizer import GroupByPrefix
    from zoo.training.pair import TrainedPair
    from zoo.training.sharding import shard

    torch.set_num_threads(1)
    torch.manual_seed(0)
    words = SPECIALS + [f"w{number}" for number in range(30_522 - len(SPECIALS))]
    files = {"vocab.txt": "\n".join(words) + "\n"}
    parts = {
        "image_encoder": {"type": "chan_regions", "feature_dim": 2048, "context": "basic"},
        "text_encoder": {"type": "bert"},
        "aligner": {"type": "hard_alignment", "coding": "vha", "pooling": "mean"},
    }
    with joined_processes() as processes:
        own = shares(items, processes.count)[processes.number]
        ids = torch.arange(items)
        pairs = Pairs(ids, ids, torch.eye(items, dtype=torch.bool))
        texts = [" ".join(f"w{(31 * row + word) % 30_000}" for word in range(12)) for row in ids]
        processes.wait()
        before = resident("VmRSS")
        model = MatchingModel(
            *(components.build(kind, config, files) for kind, config in parts.items())
        )
        loss = TripletLoss(0.2)
        pair = TrainedPair(model, loss, processes=processes, accumulate=accumulate).train()
        settings = WAYS[way]
        if settings is not None:
            shard(model, loss, settings)
        optimizer = GroupByPrefix({"optimizer": {"type": "AdamW", "lr": 1e-5}})(pair)
        images = Regions(torch.randn(own, 36, 2048), torch.ones(own, 36, dtype=torch.bool))
        batch = TrainingBatch(images, model.text_encoder.prepare(texts[:own]), pairs)
        for _ in range(2):
            pair.train_step(batch, optimizer)
        processes.wait()
        between = resident("VmRSS") - before
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts anew
        pair.train_step(batch, optimizer)
        return {"between": between, "peak": resident("VmHWM") - before}


def measured(way: str, processes: int, given: argparse.Namespace) -> dict[str, Any]:
    """What the hungriest of the processes took."""
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for number in range(processes):
            told = {"RANK": number, "WORLD_SIZE": processes, "LOCAL_RANK": number}
            # Large tensors go back to the system at once, so that the resident set tells of them.
            told |= {"MALLOC_MMAP_THRESHOLD_": 65536, "OMP_NUM_THREADS": 1}
            told |= {MEETING: f"file://{folder}/meeting", "GLOO_SOCKET_IFNAME": "lo"}
            options = ["--here", way, "--items", given.items, "--accumulate", given.accumulate]
            command = [sys.executable, __file__, *map(str, options)]
            environment = os.environ | {name: str(value) for name, value in told.items()}
            children.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            )
        said = [child.communicate()[0].splitlines()[-1] for child in children]
    rows = [json.loads(one) for one in said]
    found = {key: round(max(row[key] for row in rows)) for key in rows[0]}
    return {"way": way, "processes": processes, **found}


def main() -> None:
    """Measure each way in fresh processes, and print."""
    parser = argparse.ArgumentParser(description="Memory of processes that divide weights.")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--items", type=int, default=8, help="images and captions of a batch")
    parser.add_argument("--accumulate", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--here", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(steps_here(given.here, given.items, given.accumulate)))
        return
    print(f"{'':12} {'processes':>9} {'between steps, MB':>18} {'peak, MB':>9}")
    report = []
    for way in given.ways:
        report.append(measured(way, given.processes, given))
        row = report[-1]
        print(f"{way:12} {row['processes']:9} {row['between']:18,} {row['peak']:9,}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

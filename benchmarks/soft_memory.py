"""How much memory a training step of soft alignment takes, beside the published loops of SCAN.

    python benchmarks/soft_memory.py [--dims N ...] [--captions FILE] [--json FILE]

Times are measured by `zoo bench soft`, which says what the published loops are. A step is the
scores of 128 images with 128 captions, the triplet loss over all negatives, and the gradients of
both sides, in float32, made in a process of its own; peaks are those of the resident set, over what
is there before (Linux).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch

from zoo.bench import soft
from zoo.bench.collection import collection, narrow
from zoo.bench.setting import Setting
from zoo.bench.training import step
from zoo.interfaces import Pairs, Similarity
from zoo.losses import TripletLoss

BATCH = 128
SCORES = {"published": soft.published, "float32": soft.kernel}


def resident(name: str) -> int:
    """MiB that this process holds (VmRSS), or held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith(name))


def peak_here(variant: str, attend: str, dim: int, captions: Path | None) -> int:
    """MiB of one step beyond what is there before it."""
    torch.set_num_threads(1)
    made = collection(Setting(images=BATCH, captions=BATCH, dim=dim, lengths=captions))
    texts = narrow(made.texts[made.pairs[:, 1]])

    def one_step(count: int) -> None:
        number = torch.arange(count)
        pairs = Pairs(number, number, torch.eye(count, dtype=torch.bool))
        step(
            lambda images, texts: Similarity(SCORES[variant](images, texts, attend)),
            (made.images[:count], texts[:count]),
            TripletLoss(margin=0.2, negatives="all"),
            pairs,
        )

    one_step(2)  # what the libraries keep once they have run
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = resident("VmRSS")
    one_step(BATCH)
    return resident("VmHWM") - before


def main() -> None:
    """Measure each step in a fresh process, and print."""
    parser = argparse.ArgumentParser(description="Memory of a step of soft alignment.")
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 256])
    parser.add_argument("--captions", type=Path, help="real captions, for their lengths")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--here", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(peak_here(*given.here, given.dims[0], given.captions))
        return
    report = []
    print(f"{'dim':>5} {'attend':8} {'variant':10} {'peak MiB':>9}")
    for dim in given.dims:
        for attend in soft.SHARPNESS:
            for variant in SCORES:
                call = [sys.executable, __file__, "--here", variant, attend, "--dims", str(dim)]
                call += ["--captions", str(given.captions)] if given.captions else []
                told = subprocess.run(call, check=True, capture_output=True, text=True).stdout
                report.append({"dim": dim, "attend": attend, "variant": variant, "mib": int(told)})
                print(f"{dim:5} {attend:8} {variant:10} {int(told):9}", flush=True)
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

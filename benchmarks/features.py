"""How fast a feature store opens, and how fast random batches are read from it.

    python benchmarks/features.py [--rounds N] [--dense GB] [--captions FOLDER] [--json FILE]

A store of COCO's training split, 113,287 images of 36 x 2048 in half precision, is made of sparse
files, with five captions an image, real ones (repeated) from a data set of SCAN's layout if its
FOLDER is given. It is opened in fresh processes. Then batches of 128 random rows are read in turns:
"store", the whole batch as float32 tensors; "plain", one `os.pread` a row and nothing more;
"ahead", the same after all rows were announced. They come from the sparse store, whose files have
nothing on the disk, and from a store of `--dense` gigabytes of random numbers, not in the system's
cache ("disk") and in it ("memory"). A ratio is of seconds: above 1 the store is faster.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from zoo.data.store import INDEX, FeatureStore, Index, Plan, ShardEntry

ROOT = Path(__file__).resolve().parents[1]

IMAGES, SHARD_ROWS, BATCH = 113_287, 512, 128
SHAPE = (36, 2048)
ROW_BYTES = SHAPE[0] * SHAPE[1] * 2
OPENED = """
import json, time
from zoo.data.dataset import open_dataset
from zoo.data.store import FeatureStore
began, used = time.perf_counter(), time.process_time()
if {data!r}:
    features = open_dataset({data!r}, "train", features={store!r}).features
else:
    features = FeatureStore.open({store!r})
taken, used = time.perf_counter() - began, time.process_time() - used
pages = int(open("/proc/self/statm").read().split()[1])
import resource
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
print(json.dumps([taken, used, pages * resource.getpagesize() / 1e6, peak, len(features)]))
"""


def write_shard(path: Path, rows: int, values: np.random.Generator | None) -> int:
    """A shard of features with masks: sparse, or of random numbers. The bytes that it has."""
    ends = np.cumsum([0, rows * ROW_BYTES, rows * SHAPE[0]]).tolist()
    header = {
        "features": {"dtype": "F16", "shape": [rows, *SHAPE], "data_offsets": ends[:2]},
        "mask": {"dtype": "BOOL", "shape": [rows, SHAPE[0]], "data_offsets": ends[1:]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        start = file.tell()
        for _ in range(rows if values is not None else 0):
            file.write(values.normal(size=SHAPE).astype(np.float16).tobytes())
        file.seek(start + ends[1])
        file.write(b"\1" * (rows * SHAPE[0]))
    return path.stat().st_size


def write_store(folder: Path, ids: Sequence[str], *, dense: bool) -> Path:
    """A complete store of so many images."""
    folder.mkdir()
    values = np.random.default_rng(0) if dense else None
    shards = []
    for number, start in enumerate(range(0, len(ids), SHARD_ROWS)):
        rows = min(SHARD_ROWS, len(ids) - start)
        name = f"{number:05d}.safetensors"
        size = write_shard(folder / name, rows, values)
        shards.append(ShardEntry(file=name, rows=rows, size=size, sha256="0" * 64))
    index = Index(plan=Plan(ids=tuple(ids)), shards=tuple(shards))
    (folder / INDEX).write_text(index.model_dump_json(indent=1))
    return folder


def write_captions(folder: Path, ids: Sequence[str], source: Path | None) -> Path:
    """Five captions an image, in SCAN's layout."""
    folder.mkdir()
    captions = ["a man in a red coat walks his dog along the beach ."]
    if source is not None:
        captions = (source / "testall_caps.txt").read_text(encoding="utf-8").splitlines()
    (folder / "train_ids.txt").write_text("".join(f"{image}\n" for image in ids))
    with (folder / "train_caps.txt").open("w", encoding="utf-8") as file:
        file.writelines(f"{captions[n % len(captions)]}\n" for n in range(5 * len(ids)))
    return folder


def opening(data: Path | None, store: Path, rounds: int) -> dict[str, float]:
    """Seconds, those of the processor, and megabytes of a fresh process; medians."""
    code = OPENED.format(data=str(data) if data else "", store=str(store))
    taken = []
    for _ in range(rounds):
        out = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "plugins")])},
        ).stdout
        taken.append(json.loads(out))
    names = ("seconds", "processor_s", "resident_mb", "peak_mb")
    medians = [statistics.median(column) for column in zip(*taken, strict=True)]
    return {name: round(value, 2) for name, value in zip(names, medians, strict=False)}


def plain(store: FeatureStore, files: Sequence[int], rows: np.ndarray) -> None:
    """The features of some rows by one `os.pread` each."""
    for number, row in store.places[rows].tolist():
        place = store.shards[number].place("features")
        os.pread(files[number], ROW_BYTES, place.start + row * ROW_BYTES)


def ahead(store: FeatureStore, files: Sequence[int], rows: np.ndarray) -> None:
    """The same after the system was told of all of them: the most that the disk gives."""
    for number, row in store.places[rows].tolist():
        store.shards[number].announce("features", row)
    plain(store, files, rows)


def forget(files: Sequence[int]) -> None:
    """Ask the system to drop the files from its cache."""
    for file in files:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def batches(store: FeatureStore, rounds: int, *, cold: bool) -> dict[str, float]:
    """Gigabytes a second, as they lie on the disk, of each way of reading; the store's ratios."""
    random = np.random.default_rng(0)
    files = [os.open(shard.path, os.O_RDONLY) for shard in store.shards]
    reads: dict[str, Callable[[np.ndarray], object]] = {
        "plain": lambda rows: plain(store, files, rows),
        "ahead": lambda rows: ahead(store, files, rows),
        "store": store.rows,
    }
    taken: dict[str, list[float]] = {name: [] for name in reads}
    for number in range(rounds + 2):
        for name in random.permutation(list(reads)).tolist():
            rows = random.integers(0, len(store), BATCH)
            forget(files) if cold else plain(store, files, rows)
            started = time.perf_counter()
            reads[name](rows)
            if number > 1:
                taken[name].append(time.perf_counter() - started)
    for file in files:
        os.close(file)
    figures = {
        f"{name}_gb_s": BATCH * ROW_BYTES / statistics.median(taken[name]) / 1e9 for name in reads
    }
    for name in ("plain", "ahead"):
        pairs = zip(taken[name], taken["store"], strict=True)
        figures[f"ratio_{name}"] = statistics.median(one / other for one, other in pairs)
    return {name: round(figure, 2) for name, figure in figures.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How fast features are opened and read.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dense", type=float, default=2, help="gigabytes of random numbers")
    parser.add_argument("--captions", type=Path, help="a folder with testall_caps.txt")
    parser.add_argument("--folder", type=Path, help="where the stores are made for a while")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folder = Path(place)
        ids = [str(4 * image + 9) for image in range(IMAGES)]
        sparse = write_store(folder / "sparse", ids, dense=False)
        data = write_captions(folder / "coco_precomp", ids, arguments.captions)
        several = min(arguments.rounds, 5)
        report = {
            "opening the store": opening(None, sparse, several),
            "opening the data set": opening(data, sparse, several),
            "batches, sparse": batches(FeatureStore.open(sparse), arguments.rounds, cold=False),
        }
        count = int(arguments.dense * 1e9 / ROW_BYTES)
        if count >= BATCH:
            dense = FeatureStore.open(write_store(folder / "dense", ids[:count], dense=True))
            report["batches, disk"] = batches(dense, arguments.rounds, cold=True)
            report["batches, memory"] = batches(dense, arguments.rounds, cold=False)
    for name, figures in report.items():
        print(f"{name:22}", "  ".join(f"{what} {value}" for what, value in figures.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

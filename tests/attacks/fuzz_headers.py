"""Loads a model from many damaged files: none may do more than raise `WeightsError`.

In the tests some thousands are tried; `python tests/attacks/fuzz_headers.py --count 100000` tries
more, and says how it went.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[place]) for place in (1, 2)]
    sys.path.insert(2, str(Path(__file__).resolve().parents[2] / "plugins"))

from attacks.headers import damaged
from tiny import tiny_model
from zoo.errors import WeightsError
from zoo.loading.weights import load_weights

LONGEST_ERROR = 5_000  # characters
KINDS = (
    "cut off",
    "checkpoint of torch.save",
    "at most",
    "no JSON object",
    "a name twice",
    "metadata other",
    "has the name",
    "not described by",
    "a dtype that is none",
    "a shape that is none",
    "has no place",
    "do not fit each other",
    "begins at byte",
    "does not fit the model's configuration",
)
"""What errors say of a file; whatever else they say is of its JSON."""


@dataclass
class Tried:
    """What became of the files: the refusals by their fault, and the seconds of the slowest."""

    loaded: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0


def fuzz(folder: Path, count: int, seed: int = 0) -> Tried:
    """Load damaged files of a tiny model, one after another.

    Whatever is raised but `WeightsError` passes on. A file that is accepted must be one that the
    format's own library accepts too, and reads alike.
    """
    model, chance, tried = tiny_model(), random.Random(seed), Tried()
    sound = (model.save(folder / "sound") / "model.safetensors").read_bytes()
    path = folder / "damaged.safetensors"
    for _ in range(count):
        data = damaged(sound, chance)
        path.write_bytes(data)
        started = time.perf_counter()
        try:
            load_weights(model, path)
        except WeightsError as error:
            check_error(str(error))
            tried.refused[kind_of(str(error))] += 1
        else:
            check_loaded(model, data)
            tried.loaded += 1
        tried.slowest = max(tried.slowest, time.perf_counter() - started)
    return tried


def kind_of(message: str) -> str:
    """The fault in few words."""
    return next((kind for kind in KINDS if kind in message), "no sound JSON")


def check_error(message: str) -> None:
    """It can be shown on a terminal."""
    assert message.isprintable(), message
    assert len(message) < LONGEST_ERROR, message


def check_loaded(model: torch.nn.Module, data: bytes) -> None:
    """The model has the tensors of the file, as another reader reads them."""
    theirs, ours = load(data), model.state_dict()
    assert theirs.keys() == ours.keys()
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor.to(ours[name].dtype)), name


def main() -> None:
    """Try as many as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        tried = fuzz(Path(folder), given.count, given.seed)
    seconds = time.perf_counter() - started
    sys.stdout.write(
        f"{given.count:,} files in {seconds:.0f} s: {tried.loaded:,} loaded, "
        f"{tried.refused.total():,} refused; the slowest took {tried.slowest * 1000:.0f} ms\n"
    )
    for fault, times in tried.refused.most_common():
        sys.stdout.write(f"{times:8,}  {fault}\n")


if __name__ == "__main__":
    main()

"""Runs of the toy recipe in several processes, and what they end with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import toy_matching as toy
from zoo.training.checkpoint import list_checkpoints, read_checkpoint

HERE = Path(__file__).parent
STILL = ["model.image_encoder.dropout=0.0", "checkpoint.every=None", "train_cfg.max_epochs=2"]
SGRAF = [
    "plugin=sgraf",
    "vocabulary={'minimum_count': 1}",
    "model.image_encoder={'type': 'sgraf_regions', 'feature_dim': 6, 'dim': 8, 'dropout': 0.0,"
    " 'slots': 3}",
    "model.text_encoder={'type': 'sgraf_words', 'dropout': 0.0, 'reader':"
    " {'type': 'bigru', 'word_dim': 5, 'dim': 8}}",
    "model.aligner={'type': 'similarity_vectors', 'dim': 8, 'similarity_dim': 4, 'head': 'saf'}",
    "loss={'type': 'triplet', 'negatives': 'hardest', 'reduction': 'mean'}",
]
"""SGRAF in place of the toy model: a BiGRU, batch norms, and an aligner that learns."""


class Trials:
    """The toy recipe on toy data, run by a process that forks those of each run.

    imports: modules that it imports before, for all of them
    """

    def __init__(self, folder: Path, *imports: str) -> None:
        self.folder = folder
        self.recipe = toy.write_recipe(folder)
        self.data = toy.write_data(folder / "data")
        path = os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parent / "plugins")])
        self.server = subprocess.Popen(
            [sys.executable, str(HERE / "training_processes.py"), *imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        )

    def attempt(self, name: str, count: int, *overrides: str, **how: object) -> list[int]:
        """The exit status of each process of a run."""
        job = {
            "recipe": str(self.recipe),
            "data": str(self.data),
            "work_dir": str(self.folder / name),
            "count": count,
            "overrides": [*STILL, *overrides],
            **how,
        }
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(job), file=self.server.stdin, flush=True)
        statuses: list[int] = json.loads(self.server.stdout.readline())
        return statuses

    def finish(self, name: str, count: int, *overrides: str, **how: object) -> dict:
        """Run to the end: what the last checkpoint holds."""
        assert set(self.attempt(name, count, *overrides, **how)) == {0}, self.said(name, count)
        return self.end(name)

    def end(self, name: str) -> dict:
        """Every tensor of the last checkpoint, moments of the optimiser too, and of the model."""
        saved = read_checkpoint(list_checkpoints(self.folder / name / "checkpoints")[-1])
        state = saved.state["optimizer"]["state"]
        moments = {
            f"moments.{number}.{key}": value
            for number, values in state.items()
            for key, value in values.items()
        }
        mean = {f"average.{key}": value for key, value in (saved.average or {}).items()}
        exported = load_file(self.folder / name / "model" / "model.safetensors")
        model = {f"exported.{key}": value for key, value in exported.items()}
        return {**saved.model, **mean, **moments, **model}

    def said(self, name: str, count: int = 2) -> str:
        """What the processes of a run wrote."""
        files = [Path(f"{self.folder / name}.{number}.out") for number in range(count)]
        return "\n".join(file.read_text() for file in files)


def furthest(ours: dict, theirs: dict) -> float:
    """The largest difference of two weights or buffers, in the end or in their mean.

    What was exported is left out: which epoch was the best may hang on the last bit of a score.
    """
    assert ours.keys() == theirs.keys()
    kinds = ("model.", "loss.", "average.")
    return max(
        (ours[key].double() - theirs[key].double()).abs().max().item()
        for key in ours
        if key.startswith(kinds)
    )


def same(ours: dict, theirs: dict) -> bool:
    """Whether both are equal bit for bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)

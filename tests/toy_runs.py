"""Runs of the toy recipe in this process: begun, ended in the middle, gone on with, compared."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from rich.console import Console

import toy_matching as toy
from zoo.interfaces import Similarity
from zoo.loading.weights import load_folder
from zoo.training.checkpoint import list_checkpoints, read_checkpoint
from zoo.training.hooks import PlaceHook
from zoo.training.session import train


class CrashError(Exception):
    """What ends a run in the tests."""


class ToyRun:
    """Trains the toy recipe in a folder of `where`, "run" unless told; keeps what was said."""

    def __init__(self, where: Path) -> None:
        toy.register()
        self.where, self.folder = where, where / "run"
        self.recipe, self.data = toy.write_recipe(where), toy.write_data(where / "data")
        self.said = ""

    def __call__(self, *overrides, recipe=None, work_dir="run", **options):
        """The folder of the model."""
        console = Console(file=io.StringIO(), width=200)
        try:
            return train(
                recipe or self.recipe,
                options.pop("data", self.data),
                self.where / work_dir,
                overrides=list(overrides),
                console=console,
                **options,
            )
        finally:
            self.said = console.file.getvalue()

    def crash(self, monkeypatch, iteration, *overrides, **options):
        """Let a run end after that many iterations, before the hooks that follow them."""
        with monkeypatch.context() as patch:
            crash_at(patch, iteration)
            try:
                self(*overrides, **options)
            except CrashError:
                return
        raise AssertionError(f"the run never came to iteration {iteration}")

    def record(self, work_dir="run"):
        """The content of run.json."""
        return json.loads((self.where / work_dir / "run.json").read_text())

    def log(self, kind, work_dir="run"):
        """The lines of a kind in log.jsonl."""
        text = (self.where / work_dir / "log.jsonl").read_text()
        return [line for line in map(json.loads, text.splitlines()) if line["kind"] == kind]

    def steps(self, work_dir="run"):
        """The names of the checkpoints, oldest first."""
        return [path.name for path in list_checkpoints(self.where / work_dir / "checkpoints")]


def crash_at(monkeypatch, iteration):
    """Let the next run end after that many iterations."""

    def crash(_, runner, *__, **___):
        if runner.iter + 1 == iteration:
            raise CrashError

    monkeypatch.setattr(PlaceHook, "after_train_iter", crash)


def weights(folder):
    """The exported weights."""
    return load_folder(folder).state_dict()


def ends(folder):
    """The exported weights, and the last ones with their average: what a run ended with."""
    last = read_checkpoint(list_checkpoints(folder.parent / "checkpoints")[-1])
    mean = {f"average.{name}": tensor for name, tensor in (last.average or {}).items()}
    return {"step": torch.tensor(last.step), **weights(folder), **last.model, **mean}


def equal(ours, theirs):
    """Whether two states are equal bit for bit."""
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def poison(monkeypatch, iterations):
    """Let the loss of these iterations of a run, from 1, be no number; and spoil the buffers."""
    seen = []
    forward = toy.ToyAligner.forward

    def poisoned(self, images, texts):
        similarity = forward(self, images, texts)
        if not self.training:
            return similarity
        seen.append(None)
        return Similarity(similarity.scores * (torch.nan if len(seen) in iterations else 1))

    monkeypatch.setattr(toy.ToyAligner, "forward", poisoned)
    return seen

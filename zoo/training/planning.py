"""What a run would be, without running it: model, memory, steps, rate, data, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from ..data.dataset import Dataset
from ..loading.fitting import PARTS
from .footprint import Footprint, footprint
from .run import Run
from .run_folder import RunFolder
from .samples import EpochSampler
from .schedules import advance

BARS = "▁▂▃▄▅▆▇█"
COLUMNS = 48


@dataclass(frozen=True)
class Part:
    """A part of the model, or the loss: its type, and its parameters in numbers."""

    name: str
    type: str
    trained: int
    frozen: int


@dataclass(frozen=True)
class Split:
    """A split as it was found."""

    use: str
    name: str
    images: int
    captions: int
    reads: str
    fingerprint: str


@dataclass(frozen=True)
class Plan:
    """A run that was not begun.

    batch:  items of the training set in a step
    length: steps of an epoch
    steps:  in all
    rates:  the learning rate of each step, of the group that learns fastest
    memory: bytes of a step, estimated, of one of the `processes`
    folder: where files would go, and what lies there now
    """

    name: str
    recipe: str
    device: str
    seed: int
    parts: Sequence[Part]
    data: Sequence[Split]
    by: str
    batch: int
    length: int
    epochs: int
    steps: int
    rates: Sequence[float]
    memory: Footprint
    folder: str
    state: str
    parent: str | None = None
    processes: int = 1

    @property
    def schedule(self) -> str:
        """The rate in words.

        >>> Plan.words([0.1, 0.4, 0.2])
        'from 0.1 to 0.4 at step 2, then to 0.2'
        """
        return self.words(self.rates)

    @staticmethod
    def words(rates: Sequence[float]) -> str:
        """Rates in words: the first, the highest and where, the last."""
        first, highest, last = rates[0], max(rates), rates[-1]
        if first == highest == last == min(rates):
            return f"{first:.3g} throughout"
        at = rates.index(highest) + 1
        rises = (
            f"from {first:.3g} to {highest:.3g} at step {at:,}, then"
            if at > 1
            else (f"from {first:.3g}")
        )
        return f"{rises} to {last:.3g}"

    @property
    def figure(self) -> str:
        """The rate as a row of bars, from the first step to the last.

        Each stands for the highest rate of its share of the steps.
        """
        columns = min(COLUMNS, self.steps)
        ends = [round(self.steps * (column + 1) / columns) for column in range(columns)]
        starts = [0, *ends[:-1]]
        shares = [max(self.rates[start:end]) for start, end in zip(starts, ends, strict=True)]
        top = max(shares) or 1.0
        return "".join(BARS[round(one / top * (len(BARS) - 1))] for one in shares)

    def to_json(self) -> dict[str, Any]:
        """As plain values; of the rates those of each epoch's first step."""
        told = asdict(self) | {"schedule": self.schedule}
        told["memory"] = self.memory.to_json()
        told["rates"] = list(self.rates[:: self.length])
        return told


def plan_of(
    run: Run,
    device: str,
    folder: RunFolder,
    processes: int = 1,
    strategy: Mapping[str, Any] | None = None,
) -> Plan:
    """What a run that was built, and not begun, would do, with its files in that folder.

    Memory is that of one of so many processes, which may divide weights by a `strategy`.
    """
    run.runner.prepare()
    epochs, length = run.runner.max_epochs, len(run.runner.train_dataloader)
    recipe, config = run.recipe, run.model.config
    assert config is not None
    rates = list(advance(run.runner, epochs * length, length, epochs))
    loader = run.runner.train_dataloader.loader
    first = islice(EpochSampler(len(loader.dataset), recipe["seed"]), recipe["data"]["batch_size"])
    samples = [loader.dataset[place] for place in first]
    return Plan(
        name=recipe["name"],
        recipe=str(recipe.path),
        device=device,
        seed=recipe["seed"],
        parts=_parts(run),
        data=_splits(run),
        by=recipe["data"]["by"],
        batch=recipe["data"]["batch_size"],
        length=length,
        epochs=epochs,
        steps=epochs * length,
        rates=rates,
        memory=footprint(run, samples, loader.collate_fn, processes, strategy),
        processes=processes,
        folder=str(folder.path),
        state=folder.state(),
        parent=config.parent.name if config.parent else None,
    )


def _parts(run: Run) -> list[Part]:
    assert run.model.config is not None
    parts = {part: getattr(run.model, part) for part in PARTS} | {"loss": run.loss}
    types = {part: getattr(run.model.config, part, None) for part in PARTS}
    types["loss"] = run.recipe["loss"]
    found = []
    for name, part in parts.items():
        if part is not None:
            sizes = [(one.numel(), one.requires_grad) for one in part.parameters()]
            trained = sum(size for size, learns in sizes if learns)
            everything = sum(size for size, _ in sizes)
            kind = str((types[name] or {}).get("type", ""))
            found.append(Part(name, kind, trained, everything - trained))
    return found


def _splits(run: Run) -> list[Split]:
    reads = run.recipe["data"]["inputs"]
    used: dict[str, Dataset | None] = {"train": run.training, "dev": run.dev}
    return [
        Split(use, one.split, len(one.image_ids), len(one.captions), reads, one.fingerprint)
        for use, one in used.items()
        if one is not None
    ]

"""Variants of one recipe, trained and measured alike: what `zoo ablate` does.

Every row of the recipe's `ablations`, and `full`, the recipe as it is, is trained with every seed
in a folder of its own, and the exported model measured. Several processes may share the work: each
takes runs that no other holds.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from ..data.dataset import Dataset
from ..device import usable_device
from ..errors import InputError, ZooError
from ..evaluation.measuring import evaluate
from ..files import sha256
from ..loading.weights import load_folder
from ..lock import BusyError, held
from ..model_folders.saving import WEIGHTS
from ..spelling import nearest
from ..version import __version__
from .ablation_record import AblationRecord
from .continuing import what_changed
from .overrides import parse
from .recipe import read_recipe
from .run_folder import RunFolder, now, run_meta, this_command
from .session import data_prints, default_device, open_data, open_split, train
from .settings import FULL
from .trial import Trial

PATIENCE = 5.0
"""Seconds between two looks at runs that other processes hold."""


class Ablation:
    """The trials of a recipe in one folder, and their results.json.

    `rows` and `seeds` choose among the trials: all rows, and the recipe's seed, if they are not
    given. `splits` are measured, by default the dev split alone: whoever compares variants chooses,
    and nothing is chosen on test. `overrides` hold in every row that does not set the same key.

    Raises `InputError` for an unknown row or key, a row whose model cannot be built, and a folder
    that holds a run of another recipe; nothing has been trained then.
    """

    def __init__(
        self,
        recipe: Path | str,
        data: Path,
        work_dir: Path,
        *,
        rows: Sequence[str] = (),
        seeds: Sequence[int] = (),
        splits: Sequence[str] = (),
        overrides: Mapping[str, Any] | Sequence[str] = (),
        features: Path | None = None,
        device: str | None = None,
        console: Console | None = None,
    ) -> None:
        self.data, self.features = data, features
        self.device = usable_device(device or default_device())
        self.console = console or Console(stderr=True)
        full = read_recipe(recipe, overrides)
        self.rows: dict[str, Mapping[str, Any]] = {FULL: {}, **full.ablations}
        self.splits = list(splits) or [full["data"]["dev"] or "dev"]
        self.trials = [
            self._trial(row, seed, full.path, parse(overrides), work_dir)
            for row in self._chosen(rows, full.path)
            for seed in dict.fromkeys(seeds or [full["seed"]])
        ]
        self.record = AblationRecord(work_dir / "results.json", full["name"], self.rows)
        self._check()

    def run(self, told: Callable[[], object] = lambda: None) -> list[dict[str, Any]]:
        """Train and measure what is not done yet; the trials that failed.

        `told` is called after each trial. A trial that fails is noted and the others go on. Those
        of another living process are waited for, and taken over if it ends before them.
        """
        failed_before = self.record.failed()
        waiting = list(self.trials)
        while waiting:
            busy = [trial for trial in waiting if not self._attempt(trial, failed_before, told)]
            if len(busy) == len(waiting):
                time.sleep(PATIENCE)
            elif busy:
                self._say(f"{len(busy)} runs are taken by other processes, and waited for")
            waiting = busy
        names = {trial.name for trial in self.trials}
        return [one for name, one in self.record.failed().items() if name in names]

    def _attempt(
        self, trial: Trial, failed_before: Mapping[str, Any], told: Callable[[], object]
    ) -> bool:
        """Complete a trial; False where another process has taken it."""
        try:
            with held(trial.lock):
                failed = self.record.failed()
                if failed.get(trial.name) != failed_before.get(trial.name):
                    return True  # another process has just tried it
                if not self._is_done(trial):
                    self._complete(trial)
                    told()
        except BusyError:
            return False
        return True

    def _complete(self, trial: Trial) -> None:
        self._say(f"{trial.name} ({trial.words})")
        try:
            model = train(
                trial.recipe.path,
                self.data,
                trial.folder.path,
                resume=True,
                overrides=trial.settings,
                features=self.features,
                device=str(self.device),
                console=self.console,
            )
            for split in self.splits:
                self.record.add(self._measure(trial, model, split))
        except BusyError:
            raise
        except (ZooError, RuntimeError) as error:
            self._say(f"{trial.name} failed: {error}")
            self.record.fail({**trial.identity, "error": str(error), "date": now()})

    def _measure(self, trial: Trial, folder: Path, split: str) -> dict[str, Any]:
        """The row of results.json."""
        model = load_folder(folder, device=self.device)
        measured = evaluate(model, open_split(trial.recipe, self.data, split, self.features))
        began = trial.folder.record() or {}
        seconds = began.get("training_seconds")
        return {
            **trial.identity,
            **measured.to_json(),
            "epoch": began.get("best", {}).get("epoch"),
            "training_seconds": None if seconds is None else round(seconds, 1),
            "trained_on": began.get("trained_on"),
            "model_sha256": sha256(folder / WEIGHTS),
            "command": shlex.join(this_command()),
            "zoo_version": __version__,
        }

    def _is_done(self, trial: Trial) -> bool:
        if trial.folder.state() != "finished":
            return False
        sha = sha256(trial.folder.model / WEIGHTS)
        rows = self.record.of(trial.row, trial.seed)
        return set(self.splits) <= {row["split"] for row in rows if row["model_sha256"] == sha}

    def _chosen(self, rows: Sequence[str], path: Path) -> Sequence[str]:
        for row in rows:
            if row not in self.rows:
                raise InputError(f"{path} has no ablation {row!r}. {nearest(row, self.rows)}")
        return [row for row in self.rows if row in rows or not rows]

    def _trial(
        self, row: str, seed: int, path: Path, overrides: Mapping[str, Any], work_dir: Path
    ) -> Trial:
        settings = {**overrides, **self.rows[row], "seed": seed}
        folder = RunFolder(work_dir / row / f"seed-{seed}")
        try:
            recipe = read_recipe(path, settings)
        except InputError as error:
            raise InputError(f"Ablation {row!r}: {error}") from error
        return Trial(row, seed, self.rows[row], settings, recipe, folder)

    def _check(self) -> None:
        """Build the model of each row, untrained, and compare what lies in the folders."""
        self.record.read()
        for split in self.splits:
            open_split(self.trials[0].recipe, self.data, split, self.features)
        opened: dict[str, tuple[Dataset, Dataset | None]] = {}
        checked = set()
        for trial in self.trials:
            reads = str([trial.recipe["data"][key] for key in ("train", "dev", "inputs")])
            if reads not in opened:
                opened[reads] = open_data(trial.recipe, self.data, self.features)
            training, dev = opened[reads]
            record = trial.folder.record()
            if record is not None and trial.folder.state() != "new":
                prints = data_prints(trial.recipe, self.data, training, dev)
                asked = run_meta(trial.recipe, prints)
                what_changed(record, asked, trial.folder.path, "exact")
            if trial.row not in checked:
                checked.add(trial.row)
                trial.check_builds(training, self.data)

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

"""What a run tells while it goes: a progress bar or plain lines on stderr, and log.jsonl."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..errors import DataError
from ..files import write_atomically
from .engine import Hook, ZooRunner
from .gauges import Gauges
from .hooks import Findings
from .schedules import rate
from .visualizers import Visualizers


class JournalHook(Hook):  # type: ignore[misc]
    """Reports loss, learning rate, time left and the dev figures."""

    priority = "BELOW_NORMAL"

    def __init__(
        self,
        log: Path,
        findings: Findings,
        every: int,
        console: Console,
        gauges: Gauges,
        visualizers: Visualizers,
        part: int = 0,
    ) -> None:
        self.log, self.findings, self.every, self.console = log, findings, every, console
        self.gauges, self.visualizers, self.part = gauges, visualizers, part
        self.speed = ""
        self.losses: list[float] = []
        self.bar: Progress | None = None
        self.task: Any = None

    def before_train(self, runner: ZooRunner) -> None:
        """Open the bar, or say where the run begins."""
        self.began, self.first = time.monotonic(), runner.iter
        if self.console.is_terminal:
            self.bar = _bar(self.console)
            self.bar.start()
            self.task = self.bar.add_task("", total=runner.max_iters, completed=runner.iter)
        else:
            self._say(f"training: {runner.max_epochs} epochs, {runner.max_iters} iterations")
        if runner.iter:
            self._say(f"resumed at epoch {runner.epoch + 1}, iteration {runner.iter}")

    def after_train_iter(
        self, runner: ZooRunner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Advance the bar; each `every` iterations write a line to the log."""
        del batch_idx, data_batch
        self.losses += [loss for loss in (outputs["loss"],) if math.isfinite(loss)]
        done = runner.iter + 1
        mean = sum(self.losses) / max(len(self.losses), 1)
        if self.bar is not None:
            self.bar.update(self.task, completed=done, description=self._text(runner, mean))
        if done % self.every == 0 or done == runner.max_iters:
            wait = runner.train_dataloader.wait_share()
            told = {
                "loss": mean,
                "lr": rate(runner),
                **self.gauges.read(),
                "data_wait": round(wait, 3),
                **({"overflows": outputs["overflows"]} if outputs.get("overflows") else {}),
            }
            self.speed = f" {told['pairs_per_second']:,.0f} pairs/s"
            self.write(kind="train", epoch=runner.epoch + 1, iteration=done, **told)
            self.visualizers.add({"train": told}, done)
            if self.bar is None:
                left = self._seconds_left(runner, done)
                text = f"{self._text(runner, mean)} {done}/{runner.max_iters} left {left}"
                self._say(text if wait < SLOW else f"{text}, {wait:.0%} of it waiting for data")
            self.losses.clear()

    def after_measurement(self, runner: ZooRunner) -> None:
        """Tell the dev figures of an epoch."""
        del runner
        last, best = self.findings.last, self.findings.best
        told = {key: last[key] for key in ("rsum", *FIGURES)}
        self.write(kind="dev", epoch=last["epoch"], step=last["step"], **told)
        self.visualizers.add({"dev": told, "epoch": last["epoch"]}, last["step"])
        mark = " (best so far)" if best == last else f" (best {best['rsum']:.1f})"
        figures = " ".join(f"{key} {last[key]:.1f}" for key in FIGURES)
        self._say(f"epoch {last['epoch']:.0f} dev {figures} rsum {last['rsum']:.1f}{mark}")

    def after_train(self, runner: ZooRunner) -> None:
        """Close the bar."""
        del runner
        self.close()

    def close(self) -> None:
        """Close the bar, if one is open, and what else is shown to."""
        self.visualizers.close()
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def _text(self, runner: ZooRunner, loss: float) -> str:
        text = f"epoch {runner.epoch + 1}/{runner.max_epochs} loss {loss:.4g} lr {rate(runner):.2e}"
        text += self.speed
        best = self.findings.best.get("rsum")
        return text if best is None else f"{text} dev rsum {best:.1f}"

    def _seconds_left(self, runner: ZooRunner, done: int) -> str:
        each = (time.monotonic() - self.began) / max(done - self.first, 1)
        minutes, seconds = divmod(round(each * (runner.max_iters - done)), 60)
        return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def write(self, **values: Any) -> None:
        """A line of the log."""
        part = {"part": self.part} if self.part else {}
        line = json.dumps({**part, **values, "time": round(time.time(), 1)})
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise DataError(
                f"{self.log} could not be written ({error.strerror}). Free some space and start "
                "again with --resume; the checkpoints are whole."
            ) from error


def warn(console: Console, text: str) -> None:
    """Tell what the reader should know and need not act upon."""
    console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)


SLOW = 0.1
"""From this share of the time on, waiting for data is told on the screen; the log has all."""
FIGURES = ("i2t_r1", "i2t_r5", "i2t_r10", "t2i_r1", "t2i_r5", "t2i_r10")


def trim_log(log: Path, iteration: int, part: int) -> None:
    """Drop what was logged after the iteration that a run resumes from: it will come again.

    `part` is the checkpoint's: where it is not the run's first, iterations may have begun anew.
    """
    if not log.exists():
        return
    kept = []
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            reached = entry.get("part", 0), entry.get("iteration", entry.get("step", 0))
        except (ValueError, AttributeError):
            continue  # a line cut short by a kill
        if reached <= (part, iteration):
            kept.append(line + "\n")
    write_atomically(log, "".join(kept).encode())


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=4,
    )

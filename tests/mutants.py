"""Puts known faults into copies of the zoo's own plugins and of its core: is each caught?

    python tests/mutants.py

Each fault is written into a copy of `zoo/` and `plugins/`. One of a plugin must fail
`zoo plugin check`; one of the core must fail the tests that are named. Takes minutes, so the test
suite leaves it out: test_faults.py asks the same of a toy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


class Mutant(NamedTuple):
    """What stands in place of what, in which file; the plugin or the test file that must fail."""

    what: str
    file: str
    old: str
    new: str
    by: str


MUTANTS = (
    Mutant(
        "TVRN: every text refined by the block's first image",
        "plugins/zoo_tvrn/model.py",
        "self._refined(first or images.context, texts)",
        "self._refined(images.context[:1] if images.context else None, texts)",
        "tvrn",
    ),
    Mutant(
        "CHAN: regions less the batch's mean",
        "plugins/zoo_chan/model.py",
        "return unit_fragments(hidden, batch.mask)",
        "return unit_fragments(hidden - hidden.mean(), batch.mask)",
        "chan",
    ),
    Mutant(
        "CHAN: attention that sees padding",
        "plugins/zoo_chan/model.py",
        "key_padding_mask=~mask, ",
        "",
        "chan",
    ),
    Mutant(
        "MSSAN: margins that are not saved",
        "plugins/zoo_mssan/margins.py",
        'self.register_buffer("margins", torch.tensor([margin, margin]))',
        'self.register_buffer("margins", torch.tensor([margin, margin]), persistent=False)',
        "mssan",
    ),
    Mutant(
        "SHAN: attention whose mask multiplies",
        "zoo/kernels/attention.py",
        "sharp.masked_fill_(padding, -torch.inf)",
        "sharp = sharp * ~padding",
        "shan",
    ),
    Mutant(
        "the diagonal is the only match",
        "zoo/losses.py",
        "    image, text = matches.nonzero(as_tuple=True)",
        "    matches = torch.eye(*matches.shape, dtype=torch.bool)\n"
        "    image, text = matches.nonzero(as_tuple=True)",
        "chan",
    ),
    Mutant(
        "MFA: means with padding in them",
        "zoo/ops.py",
        "return values.masked_fill(~mask, 0).sum(dim=-1) / mask.sum(dim=-1)",
        "return values.mean(dim=-1)",
        "mfa",
    ),
    Mutant(
        "ties count for the match",
        "zoo/metrics.py",
        "ahead = block >= best.scores",
        "ahead = block > best.scores",
        "tests/test_metrics.py",
    ),
)


def check(mutant: Mutant, place: Path) -> tuple[bool, str]:
    """Whether the fault is caught in the copy at `place`, and the first words about it."""
    file = place / mutant.file
    text = file.read_text(encoding="utf-8")
    if mutant.old not in text:
        return False, f"{mutant.file} has changed; write the fault anew"
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        return _run(mutant.by, place)
    finally:
        file.write_text(text, encoding="utf-8")


def _run(by: str, place: Path) -> tuple[bool, str]:
    command = ["-m", "pytest", "-q", "-x", *by.split()]
    if not by.startswith("tests/"):
        command = [
            "-c",
            f"from zoo.cli import main; raise SystemExit(main(['plugin','check','{by}']))",
        ]
    path = os.pathsep.join(str(place / part) for part in (".", "plugins", "tests"))
    environment = {**os.environ, "PYTHONPATH": path}
    ended = subprocess.run(
        [sys.executable, *command], cwd=place, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    told = [line for line in ended.stdout.splitlines() if line.startswith(("failed", "FAILED"))]
    return ended.returncode == 1 and bool(told), told[0] if told else ended.stderr[-300:]


def main() -> int:
    """Try them all; 1 where one is not caught."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for part in ("zoo", "plugins", "tests"):
            shutil.copytree(ROOT / part, place / part)
        for part in ("registry.yaml", "pyproject.toml"):
            shutil.copy(ROOT / part, place / part)
        for mutant in MUTANTS:
            caught, words = check(mutant, place)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {mutant.what}: {words[:150]}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""How long commands take before they do anything: beside the interpreter, and beside torch."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..demo import PHOTOS
from .rounds import Row, Took, rows
from .setting import Setting

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"
CAT = str(PHOTOS / "cat.jpg")
BESIDE = "the import of torch alone, in a fresh interpreter"
CALLS: dict[str, list[str]] = {
    "python": ["pass"],
    "import torch": ["import torch"],
    "import zoo": ["import zoo"],
    "zoo list": [MAIN, "list"],
    "zoo score": [MAIN, "score", CAT, "--text", "a cat"],
}


def measure(setting: Setting) -> tuple[list[Row], dict[str, Any]]:
    """A row for each command, beside the import of torch, which some of them need."""
    for call in CALLS.values():  # files into the cache, bytecode written
        _taken(call)
    rounds = [{name: _taken(call) for name, call in CALLS.items()} for _ in range(setting.rounds)]
    return rows(rounds, "import torch"), {}


def _taken(call: list[str]) -> Took:
    """Of a fresh interpreter that runs the code, with all that it started."""
    paths = [str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]
    began, used = time.perf_counter(), _used()
    subprocess.run(
        [sys.executable, "-c", *call],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    return Took(_used() - used, time.perf_counter() - began)


def _used() -> float:
    """Processor time of the processes that this one started and that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

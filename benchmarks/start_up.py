"""How long the zoo takes to start: `import zoo` and `zoo list` beside the interpreter alone.

    python benchmarks/start_up.py [--rounds N] [--json FILE]

Each round runs all commands once, in turn, so a machine that slows down slows all of them; what is
reported is the median over the rounds, and the median of the differences within a round; "least"
is the smallest of these differences, which a busy machine distorts least.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "python": "pass",
    "import zoo": "import zoo",
    "zoo list": "import sys; from zoo.cli import main; sys.exit(main(['list']))",
}


def seconds(code: str) -> float:
    """Wall clock of one fresh interpreter that runs the code."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )
    return time.perf_counter() - started


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """For each command, in seconds: all of it, and what is beyond the interpreter's; the ratio."""
    for code in COMMANDS.values():  # files into the cache, bytecode written
        seconds(code)
    taken = [{name: seconds(code) for name, code in COMMANDS.items()} for _ in range(rounds)]
    report = {}
    for name in COMMANDS:
        median = statistics.median(one[name] for one in taken)
        beyond = [one[name] - one["python"] for one in taken]
        ratio = statistics.median(one[name] / one["python"] for one in taken)
        report[name] = {
            "seconds": round(median, 4),
            "beyond_python": round(statistics.median(beyond), 4),
            "least": round(min(beyond), 4),
            "ratio": round(ratio, 2),
        }
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How long the zoo takes to start.")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    report = measure(arguments.rounds)
    print(f"{'command':12} {'median':>8} {'beyond python':>14} {'least':>8} {'ratio':>6}")
    for name, row in report.items():
        seconds_of = f"{row['seconds']:8.3f} {row['beyond_python']:14.3f} {row['least']:8.3f}"
        print(f"{name:12} {seconds_of} {row['ratio']:6.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()

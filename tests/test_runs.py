"""Runs beside each other: what their own files tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.lock import held, is_held
from zoo.report.runs import differing, find_runs

RECIPE = {
    "name": "toy",
    "seed": 1,
    "loss": {"type": "triplet", "margin": 0.2},
    "train_cfg": {"max_epochs": 3},
}


def write_run(folder, epochs=3, rsum=10.0, finished=True, **settings):
    """A run as `zoo train` leaves it."""
    recipe = RECIPE | settings
    folder.mkdir(parents=True)
    record = {"recipe": recipe, "seed": recipe["seed"], "data": {}, "started": "now"}
    if finished:
        record |= {"finished": "later", "training_seconds": 3723.4}
        (folder / "model").mkdir()
    (folder / "run.json").write_text(json.dumps(record))
    lines = []
    for epoch in range(1, epochs + 1):
        lines.append({"kind": "train", "epoch": epoch, "iteration": 5 * epoch, "loss": 1 / epoch})
        lines.append({"kind": "dev", "epoch": epoch, "step": 5 * epoch, "rsum": rsum - epoch})
    text = "".join(json.dumps(line | {"time": 100.0 + n}) + "\n" for n, line in enumerate(lines))
    (folder / "log.jsonl").write_text(text + '{"kind": "tra')
    return folder


@pytest.fixture
def folder(tmp_path):
    """Three runs: one finished, one that was cut short, one that saved nothing."""
    write_run(tmp_path / "a")
    write_run(tmp_path / "row" / "b", 2, 30.0, False, seed=2, loss={"type": "triplet", "margin": 1})
    (tmp_path / "row/b/checkpoints/step_00000010").mkdir(parents=True)
    (tmp_path / "row/b/checkpoints/step_00000010/meta.json").write_text("{}")
    write_run(tmp_path / "c", 0, finished=False, loss={"type": "contrastive"})
    return tmp_path


def test_a_line_for_each_run(folder, capsys):
    """State, seed, epoch, best rsum on dev, time, and the settings in which they differ."""
    assert main(["runs", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: " ".join(line.split()) for line in lines if "toy" in line}
    assert rows["a"] == "a toy finished 1 3/3 9.0 1 1:02:03 loss.type=triplet, loss.margin=0.2"
    assert rows["c"] == "c toy nothing saved 1 0/3 loss.type=contrastive"
    assert rows["row/b"] == (
        "row/b toy unfinished 2 2/3 29.0 1 0:00:03 loss.type=triplet, loss.margin=1"
    )


def test_a_program_is_told_all(folder, capsys):
    """As JSON: the best figures, the differing settings, seed and data of each."""
    assert main(["runs", str(folder), "--json"]) == 0
    first, *_, last = json.loads(capsys.readouterr().out)
    assert first["best"]["rsum"] == 9.0
    assert first["training_seconds"] == 3723.4
    assert last["differs"] == {"loss.type": "triplet", "loss.margin": 1}
    assert differing(find_runs(folder))["loss.margin"] == [0.2, None, 1]


@pytest.mark.parametrize(("name", "begins"), [("x.png", b"\x89PNG"), ("x.svg", b"<?xml")])
def test_curves_are_drawn(folder, tmp_path, name, begins):
    """As the file's name ends; a name that ends otherwise is refused before anything is read."""
    assert main(["runs", str(folder), "--figure", str(tmp_path / name)]) == 0
    drawn = (tmp_path / name).read_bytes()
    assert drawn.startswith(begins)
    if name == "x.svg":
        assert drawn.count(b'id="line2d') > 10
        assert b"row/b" in drawn


def test_a_figure_of_no_known_kind_is_refused(folder, tmp_path, capsys):
    """With the kinds that there are."""
    assert main(["runs", str(folder), "--figure", str(tmp_path / "x.jpg")]) == 1
    assert "drawn as png, svg, pdf" in capsys.readouterr().err


def test_a_folder_without_runs_and_a_damaged_run_are_told(tmp_path, capsys):
    """With what to do about it."""
    assert main(["runs", str(tmp_path)]) == 1
    assert "holds no run" in capsys.readouterr().err
    (tmp_path / "run.json").write_text("{")
    assert main(["runs", str(tmp_path)]) == 1
    assert "run.json cannot be read" in capsys.readouterr().err


def test_a_run_that_goes_on_right_now_is_seen_and_not_disturbed(folder):
    """Its lock is looked at, not taken; also where this very process holds it."""
    lock = folder / "a" / ".lock"
    program = (
        "import sys; from pathlib import Path; from zoo.lock import held\n"
        "with held(Path(sys.argv[1])): print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert holder.stdout.readline() == "held\n"
    assert is_held(lock)
    assert find_runs(folder)[0].state == "running"
    holder.communicate("\n", timeout=30)
    assert not is_held(lock)
    with held(lock):
        assert is_held(lock)
        assert subprocess.run(
            [sys.executable, "-c", program, str(lock)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        ).returncode
    assert not is_held(lock)

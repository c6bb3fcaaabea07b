"""Several processes measure what one does, to the last bit, and notice what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from shared_work import all_measured, measured, write_data
from test_processes import ended, start
from zoo.errors import InputError
from zoo.evaluation.encoding import for_all
from zoo.processes import Processes
from zoo.scores import SavedScores
from zoo.workers import WorkerError, run_workers

SETTING = "from pathlib import Path\nfrom shared_work import *\nfolder = Path({data!r})\n"


@pytest.fixture
def data(tmp_path):
    """A data set on disk."""
    return write_data(tmp_path / "data")


def shared(tmp_path, data, body: str, count: int = 2, **options):
    """Exit status, stdout and stderr of processes that run the lines with `folder`."""
    return ended(start(tmp_path, SETTING.format(data=str(data)) + body, count, **options))


def test_two_processes_measure_what_one_does(tmp_path, data, monkeypatch):
    """In either precision, with folds, captions left out, and both tie policies; so do all."""
    monkeypatch.setattr("zoo.evaluation.split_scores.multiplies_bfloat16", None)
    alone = all_measured(data, Processes())

    told = shared(tmp_path, data, "for one in all_measured(folder, processes): print(one)")

    for status, out, error in told:
        assert status == 0, error
        assert out.splitlines() == alone
    assert len({json.loads(one)["metrics"]["rsum"] for one in alone}) > 3
    assert [json.loads(one)["precision"] for one in alone] == ["exact"] * 6 + ["float32"] * 6


def test_what_one_of_them_lost_others_go_on_with(tmp_path, data):
    """The other one ends in time; three go on, and the file is the one that one process writes."""
    whole = measured(data, Processes(), save_scores=tmp_path / "alone")
    place = str(tmp_path / "s")

    (status, _, error), (killed, _, _) = shared(
        tmp_path, data, f"save_and_die(folder, Path({place!r}), processes)"
    )

    assert (status, killed) == (1, 9)
    assert "LostError: One of 2 processes ended" in error
    assert 0 < SavedScores._read(tmp_path / "s").rows_done < 23
    (tmp_path / "meeting").unlink()
    body = f"print(measured(folder, processes, save_scores=Path({place!r})))"
    for status, out, error in shared(tmp_path, data, body, 3):
        assert (status, out) == (0, whole + "\n"), error
    bits = [(tmp_path / name / "scores.npy").read_bytes() for name in ("s", "alone")]
    assert bits[0] == bits[1]


def test_processes_that_would_score_other_things_are_refused(tmp_path, data):
    """All of them, with what differs."""
    body = (
        "dataset = zoo.open_dataset(folder, 'test')\n"
        "evaluate(model(processes.number), dataset, processes=processes)"
    )

    for status, _, error in shared(tmp_path, data, body):
        assert status == 1
        assert "Process 1 of 2 has another model_fingerprint than process 0. Give all" in error


def test_the_command_shares_the_work(run, model_folder, data_folder, tmp_path):
    """--nproc has the record of one process, and says how many computed it."""
    records = []
    for options in ((), ("--nproc", 2)):
        command = ("evaluate", model_folder, "--data", data_folder, *options)
        status, _, error = run(*command, "--json", tmp_path / "record.json")
        assert status == 0, error
        records.append(json.loads((tmp_path / "record.json").read_text()))

    one, two = records
    assert two["measured_on"].endswith(", in each of 2 processes")
    assert one["metrics"] == two["metrics"]
    assert two["command"].endswith("--nproc 2 --json " + str(tmp_path / "record.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--scores {place} --nproc 2", "measured by one process. Leave --nproc out"),
        ("{place} --data {place} --report p.html --nproc 2", "kept with --save-scores FOLDER"),
    ],
)
def test_what_cannot_be_shared_is_refused(run, tmp_path, options, message):
    """Before anything is started, with what to do."""
    status, _, error = run("evaluate", *options.format(place=tmp_path).split())

    assert status == 1
    assert message in error


def test_a_worker_that_fails_ends_all(tmp_path):
    """Soon, with its last words; one that was killed, with the signal; none is left."""
    alive = tmp_path / "alive"
    wait = f"import os, time; n = os.environ['RANK']; open({str(alive)!r} + n, 'w')\n"
    fails = "n == '1' and sys.exit('error: features.npy is damaged.')\ntime.sleep(60)"
    began = time.monotonic()

    with pytest.raises(WorkerError, match=r"Process 1 of 2 failed with status 1.*npy is damaged"):
        run_workers([], 2, code="import sys; " + wait + fails)
    killed = "n == '1' and os.kill(os.getpid(), 9)\ntime.sleep(60)"
    with pytest.raises(WorkerError, match=r"was killed \(SIGKILL, perhaps for want of memory\)"):
        run_workers([], 2, code=wait + killed)

    assert time.monotonic() - began < 30
    assert run_workers([], 3, code=wait) is None
    assert len(list(tmp_path.glob("alive*"))) == 3


def test_workers_end_with_the_command(tmp_path):
    """Also when it is asked to end by its process id."""
    lines = f"import os, time; open(os.path.join({str(tmp_path)!r}, str(os.getpid())), 'w');"
    code = f"import zoo.workers as w; w.run_workers([], 2, code={lines!r} + 'time.sleep(60)')"
    environment = {name: value for name, value in os.environ.items() if name != "RANK"}
    command = subprocess.Popen([sys.executable, "-c", code], env=environment)
    limit = time.monotonic() + 20
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < limit:
        time.sleep(0.05)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    command.send_signal(signal.SIGTERM)

    assert command.wait(timeout=20) == 128 + signal.SIGTERM
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_start_no_workers(monkeypatch):
    """--nproc within torchrun is refused."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"this is one of several already.*Leave --nproc out"):
        run_workers([], 2)


@pytest.mark.parametrize(("count", "steps"), [(1, [4, 3]), (3, [2, 1]), (2, [2, 2, 1])])
def test_progress_reaches_its_end(count, steps):
    """The first process tells of all of them, never of more than there is."""
    told = Counter()
    advance = for_all(lambda what, done, _: told.update({what: done}), Processes(0, count))
    for step in steps:
        advance("score", step, 7)

    assert told == {"score": 7}
    assert for_all(None, Processes(0, 2)) is None

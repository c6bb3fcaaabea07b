"""Who a process is, by what its launcher says."""

from __future__ import annotations

import pytest

from zoo.errors import InputError
from zoo.processes import Processes
from zoo.training.launchers import first_node, named_processes, restarted, told_by_slurm

TASK = {
    "SLURM_PROCID": "9",
    "SLURM_NTASKS": "16",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[017-018]",
    "SLURM_JOB_NODELIST": "login,gpu[017-018]",
    "SLURM_STEP_TASKS_PER_NODE": "8(x2)",
    "SLURM_JOB_ID": "1234567",
}


def test_a_task_of_slurm_is_named_as_torchrun_would():
    """Its number, how many there are here and in all, and the first node as the place to meet."""
    assert told_by_slurm(TASK) == {
        "RANK": "9",
        "WORLD_SIZE": "16",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "8",
        "MASTER_ADDR": "gpu017",
        "MASTER_PORT": "34567",
    }


def test_where_tasks_meet_is_the_users_to_say():
    """MASTER_ADDR and MASTER_PORT of the environment stand."""
    told = told_by_slurm(TASK | {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"})
    assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("10.0.0.1", "29500")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("node7,node9", "node7"),
        ("gpu[003-007,9],login1", "gpu003"),
        ("rack[2,4]-gpu", "rack2-gpu"),
        ("", ""),
    ],
)
def test_the_first_node_of_a_list(nodes, first):
    """As SLURM writes lists: names, ranges with leading zeros, suffixes."""
    assert first_node(nodes) == first


def test_without_srun_the_launcher_slurm_is_refused(monkeypatch):
    """A batch script has some of the variables, and no number of a task."""
    for name in TASK:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_NTASKS", "16")
    with pytest.raises(InputError, match=r"SLURM_PROCID, SLURM_LOCALID of.*with srun"):
        named_processes("slurm")


def test_without_torchrun_its_launcher_is_refused(monkeypatch):
    """In Python there is nothing that starts the processes."""
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="Start the program with torchrun"):
        named_processes("pytorch")


def test_without_a_launcher_a_process_is_alone(monkeypatch):
    """Whatever the environment says."""
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)
    assert named_processes("none") == Processes()
    assert named_processes("slurm") == Processes(9, 16, 1)


@pytest.mark.parametrize(
    ("name", "value", "again"),
    [
        ("SLURM_RESTART_COUNT", "1", True),
        ("SLURM_RESTART_COUNT", "0", False),
        ("TORCHELASTIC_RESTART_COUNT", "2", True),
        ("TORCHELASTIC_RESTART_COUNT", "0", False),
    ],
)
def test_a_process_that_is_started_again_knows_it(monkeypatch, name, value, again):
    """So that it goes on where the run was."""
    for one in ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, value)
    assert restarted() is again

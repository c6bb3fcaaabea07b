"""A checkpoint is whole or not there."""

from __future__ import annotations

import json

import pytest
import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from zoo.errors import DataError
from zoo.training import checkpoint as checkpoints
from zoo.training.checkpoint import (
    Checkpoint,
    list_checkpoints,
    newest_checkpoint,
    prune,
    read_checkpoint,
    remove_leftovers,
    write_checkpoint,
)


def make(step: int, average: bool = True) -> Checkpoint:
    """A checkpoint whose tensors say which step it is."""
    weights = {"model.weight": torch.full((3, 2), float(step)), "model.count": torch.tensor(step)}
    state = {"lr": 0.1, "name": "x", "betas": (0.9, 0.99), "none": None, "m": [torch.ones(2)]}
    mean = {"weight": torch.ones(3, 2) * step} if average else None
    return Checkpoint(step, weights, mean, state, {"recipe": {"seed": 1}})


@pytest.fixture
def folder(tmp_path):
    """Checkpoints of steps 1 to 3."""
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, make(step))
    return tmp_path


@pytest.mark.parametrize("average", [True, False])
def test_what_is_written_is_read(tmp_path, average):
    """Every part comes back, and no file in it needs more than torch allows to anyone."""
    path = write_checkpoint(tmp_path, make(7, average))
    assert get_unsafe_globals_in_checkpoint(path / "train_state.pt") == []
    read = read_checkpoint(path)
    assert read.step == 7
    assert torch.equal(read.model["model.weight"], torch.full((3, 2), 7.0))
    assert (read.average is not None) == average
    assert read.state["betas"] == (0.9, 0.99)
    assert torch.equal(read.state["m"][0], torch.ones(2))
    assert read.meta == {"recipe": {"seed": 1}}


def test_types_that_torch_would_refuse_are_made_plain(tmp_path):
    """A subclass of str (torch's own version is one) is stored as a str."""
    saved = make(1)
    state = {**saved.state, "torch": torch.__version__}
    path = write_checkpoint(tmp_path, Checkpoint(1, saved.model, None, state, {}))
    assert type(read_checkpoint(path).state["torch"]) is str
    with pytest.raises(TypeError, match="cannot hold a object"):
        write_checkpoint(tmp_path, Checkpoint(2, saved.model, None, {"x": object()}, {}))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "name", ["model.safetensors", "average.safetensors", "train_state.pt", "meta.json"]
)
@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_flipped_bit_is_found_and_passed_over(folder, name, place):
    """One wrong bit anywhere: the checkpoint before it is read, and a line says why."""
    file = folder / "step_00000003" / name
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 4
    file.write_bytes(data)
    said = []
    newest = newest_checkpoint(folder, said.append)
    assert newest is not None
    assert newest.step == 2
    assert len(said) == 1
    assert "step_00000003 is passed over" in said[0]
    assert [path.name for path in list_checkpoints(folder)] == ["step_00000001", "step_00000002"]


def test_a_missing_file_is_found(folder):
    """A checkpoint without one of its files is passed over."""
    (folder / "step_00000003" / "average.safetensors").unlink()
    newest = newest_checkpoint(folder, lambda _: None)
    assert newest is not None
    assert newest.step == 2


def test_without_a_description_there_is_no_checkpoint(folder):
    """A folder without meta.json does not count, and is removed like a half-written one."""
    (folder / "step_00000003" / "meta.json").unlink()
    (folder / "step_00000004.tmp-123").mkdir()
    (folder / "step_00000004.tmp-123" / "meta.json").write_text("{}")
    assert [path.name for path in list_checkpoints(folder)] == ["step_00000001", "step_00000002"]
    remove_leftovers(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["step_00000001", "step_00000002"]


def test_no_checkpoint_at_all_is_none(tmp_path):
    """An empty or absent folder holds none."""
    assert newest_checkpoint(tmp_path / "absent", print) is None


def test_pruning_keeps_the_newest_and_the_best(folder):
    """Two at least are kept, whatever is asked."""
    for step in (4, 5):
        write_checkpoint(folder, make(step))
    prune(folder, keep=1)
    assert [int(path.name[5:]) for path in list_checkpoints(folder)] == [4, 5]


def test_a_step_can_be_written_again(folder):
    """A later checkpoint of the same step takes the place of the first."""
    write_checkpoint(folder, make(3, average=False))
    assert read_checkpoint(folder / "step_00000003").average is None


def test_a_full_disk_leaves_the_earlier_checkpoints(folder, monkeypatch):
    """When writing fails, nothing half-written stays and the error says what to do."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_durably", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_checkpoint(folder, make(4))
    assert [int(path.name[5:]) for path in sorted(folder.iterdir())] == [1, 2, 3]


def test_a_checkpoint_of_another_format_is_refused(folder):
    """A later version's checkpoint is not guessed at."""
    file = folder / "step_00000003" / "meta.json"
    meta = json.loads(file.read_text()) | {"format": 2}
    del meta["digest"]
    file.write_text(json.dumps(meta | {"digest": checkpoints._digest(meta)}))
    with pytest.raises(DataError, match="has the format 2, 1 is wanted"):
        read_checkpoint(folder / "step_00000003")

"""A model folder is written whole and read strictly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

import zoo
from tiny import CAPTIONS, FEATURES, tiny_model
from zoo.errors import DataError, InputError, PluginError, WeightsError
from zoo.loading.weights import FolderFiles, load_folder


@pytest.fixture
def folder(tmp_path):
    """A saved model."""
    return tiny_model().save(tmp_path / "model")


def scores_of(model):
    """Three images against four captions."""
    torch.manual_seed(1)
    images = model.encode_images(torch.randn(3, 5, FEATURES))
    return model.score(images, model.encode_texts(CAPTIONS))


def test_a_saved_model_scores_the_same(folder):
    """Through the public name of a folder."""
    assert_close(scores_of(zoo.load(f"local-dir:{folder}")), scores_of(tiny_model()))


def test_half_precision_is_read_as_float32(tmp_path):
    """Half the bytes, nearly the scores."""
    half = tiny_model().save(tmp_path / "half", half=True)
    whole = tiny_model().save(tmp_path / "whole")
    model = load_folder(half)

    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert_close(scores_of(model), scores_of(tiny_model()), atol=2e-2, rtol=2e-2)
    assert (half / "model.safetensors").stat().st_size < 0.6 * (
        whole / "model.safetensors"
    ).stat().st_size


def test_saving_replaces_a_folder_as_a_whole(folder):
    """Nothing of the old one, and no temporary name, stays behind."""
    (folder / "stale.txt").write_text("old")
    tiny_model().save(folder, results={"metrics": {}})

    names = sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "model.safetensors", "results.json", "vocab.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("present", ["notes.txt", "config.json", "model.safetensors"])
def test_a_folder_of_other_things_is_never_replaced(tmp_path, present):
    """A wrong path costs nobody's files, and the message says what was wanted."""
    (tmp_path / present).write_text("mine")

    with pytest.raises(InputError, match=r"no model folder: it lacks .*new or an empty folder"):
        tiny_model().save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [present]


def test_a_model_is_saved_where_one_stands_and_through_a_link(tmp_path, monkeypatch):
    """An empty folder is filled; a link stays one."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    tiny_model().save(tmp_path / "link")
    monkeypatch.chdir(tmp_path / "real")
    tiny_model().save(".")

    assert (tmp_path / "link").is_symlink()
    assert_close(scores_of(load_folder(tmp_path / "link")), scores_of(tiny_model()))


def test_the_card_of_the_old_folder_is_carried_over(folder):
    """What stands there by hand is not lost."""
    (folder / "README.md").write_text("mine")
    tiny_model().save(folder)

    assert (folder / "README.md").read_text() == "mine"


def test_a_failing_rename_puts_the_old_folder_back(folder, monkeypatch):
    """The second of the two fails: nothing has changed and nothing is left over."""
    before, rename = (folder / "config.json").stat().st_ino, Path.rename

    def fail(path, target):
        if path.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"):
        tiny_model().save(folder)
    assert (folder / "config.json").stat().st_ino == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("moment", ["between the renames", "before the removal"])
def test_what_a_killed_save_left_is_put_back_or_removed(folder, monkeypatch, moment):
    """By the next save, also by one that fails; another folder's left-over stays."""
    other = folder.parent / ".model.2.7.old"
    other.mkdir()
    leftover = folder.parent / ".model.123.old"
    if moment == "between the renames":
        folder.rename(leftover)
    else:
        shutil.copytree(folder, leftover)
    monkeypatch.setattr("zoo.model_folders.saving._serialize", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        tiny_model().save(folder)
    assert {path.name for path in folder.parent.iterdir()} == {"model", other.name}
    assert_close(scores_of(load_folder(folder)), scores_of(tiny_model()))


def test_a_failing_save_leaves_the_old_folder(folder, monkeypatch):
    """As when the disk is full."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.files.os.fsync", full)
    with pytest.raises(DataError, match="No space left"):
        tiny_model().save(folder)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def change_tensors(folder, change):
    """Rewrite the weights after a change."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_all_mismatches_stand_in_one_error(folder):
    """So that mending takes one attempt."""

    def damage(tensors):
        del tensors["image_encoder.project.bias"]
        tensors["image_encoder.project.weight"] = torch.zeros(3, FEATURES)
        tensors["extra"] = torch.zeros(1)

    change_tensors(folder, damage)

    with pytest.raises(WeightsError) as caught:
        load_folder(folder)

    message = str(caught.value)
    assert "extra is not part of the model" in message
    assert "image_encoder.project.bias is missing" in message
    assert "image_encoder.project.weight is (3, 12), wanted (16, 12)" in message


def test_weights_that_are_not_finite_are_refused(folder):
    """A bit flip can make one."""

    def damage(tensors):
        tensors["image_encoder.project.bias"][2] = torch.nan

    change_tensors(folder, damage)

    with pytest.raises(
        WeightsError, match=r"project\.bias holds values that are not finite"
    ) as caught:
        load_folder(folder)
    assert "are one tensor of the model" not in str(caught.value)  # NaN is not equal to itself


@pytest.mark.parametrize("kept", [0, 7, 100, 2000])
def test_a_file_cut_short_is_refused(folder, kept):
    """Wherever it was cut."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_folder(folder)


def change_config(folder, change):
    """Rewrite config.json after a change."""
    path = folder / "config.json"
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: c.update(colour="red"), WeightsError, "colour: Extra inputs"),
        (lambda c: c.pop("aligner"), WeightsError, "aligner: Field required"),
        (lambda c: c.update(schema_version=2), WeightsError, "schema_version"),
        (lambda c: c["aligner"].update(type="hard_aligment"), InputError, "'hard_alignment'"),
        (lambda c: c["aligner"].update(type="os.system"), InputError, "No aligner is called"),
        (lambda c: c["aligner"].update(pool="lse"), InputError, "no argument 'pool'"),
        (lambda c: c["plugin"].update(name="chen"), PluginError, "'chen' is not installed"),
    ],
)
def test_a_configuration_is_read_strictly(folder, change, error, message):
    """Unknown keys, missing keys, and names that nobody registered."""
    change_config(folder, change)

    with pytest.raises(error, match=message):
        load_folder(folder)


def test_a_configuration_that_is_no_json_is_named(folder):
    """The path stands in the message."""
    (folder / "config.json").write_text("{")

    with pytest.raises(WeightsError, match=r"model/config\.json is not a model configuration"):
        load_folder(folder)


def test_a_missing_vocabulary_is_named(folder):
    """It cannot be guessed from the weights."""
    (folder / "vocab.json").unlink()

    with pytest.raises(WeightsError, match=r"has no file vocab\.json, which the model needs"):
        load_folder(folder)


def test_a_folder_says_which_files_it_has(folder):
    """Those right in it; a path that leads out, or a folder that is not there, has none."""
    files = FolderFiles(folder)

    assert "vocab.json" in files
    assert not any(name in files for name in ("vocab.txt", "../model/vocab.json", "", "..", 3))
    assert list(FolderFiles(folder / "absent")) == []


def test_a_folder_without_a_model_is_named(tmp_path):
    """And so is a path that is no folder."""
    with pytest.raises(WeightsError, match=r"has no config\.json"):
        load_folder(tmp_path)
    with pytest.raises(WeightsError, match="is not a folder"):
        load_folder(tmp_path / "absent")


def test_weights_too_large_for_half_precision_are_refused(tmp_path):
    """They would be stored as infinity."""
    model = tiny_model()
    with torch.no_grad():
        model.image_encoder.project.bias[0] = 1e6

    with pytest.raises(WeightsError, match=r"as float16.*save without half"):
        model.save(tmp_path / "model", half=True)
    assert not any(tmp_path.iterdir())

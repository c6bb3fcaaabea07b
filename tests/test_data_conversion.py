"""Features of every form become one store: each image once, whole after any kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch

from test_data_sources import FORMS, check, write_captions, write_form
from zoo.data import conversion
from zoo.data.conversion import convert, open_sources
from zoo.data.dataset import open_dataset
from zoo.data.store import FeatureStore, verify
from zoo.errors import DataError, InputError

SPLITS = {"train": range(6), "test": range(6, 8), "testall": range(6, 11)}
FEATURES = np.random.default_rng(0).normal(size=(11, 3, 4)).astype(np.float16).astype(np.float32)


def write_data(folder: Path) -> Path:
    """SCAN's layout: train has a row an image, the others a row a caption; test is in testall."""
    folder.mkdir()
    for split, images in SPLITS.items():
        ids = [str(100 + image) for image in images for _ in range(1 if split == "train" else 2)]
        (folder / f"{split}_ids.txt").write_text("".join(f"{one}\n" for one in ids))
        captions = "".join(f"caption {n} of {split}\n" for n in range(2 * len(images)))
        (folder / f"{split}_caps.txt").write_text(captions)
        np.save(folder / f"{split}_ims.npy", FEATURES[[int(one) - 100 for one in ids]])
    return folder


def test_each_image_is_stored_once_whatever_splits_it_is_in(tmp_path):
    """Rows of captions and images of two splits are one row; every split reads what it had."""
    data = write_data(tmp_path / "data")
    done = convert(open_sources(data), tmp_path / "store", shard_rows=4)
    store = FeatureStore.open(tmp_path / "store")
    assert (len(store), done.converted, done.kept) == (11, 11, 0)
    assert len(list((tmp_path / "store").glob("*.safetensors"))) == 3
    verify(tmp_path / "store")
    for split in SPLITS:
        before, after = (open_dataset(data, split, features=one) for one in (None, done.folder))
        assert after.image_ids == before.image_ids
        rows = range(len(before.image_ids))
        assert torch.equal(after.features.rows(rows).features, before.features.rows(rows).features)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_converted(tmp_path, form):
    """With its boxes and sizes, and images of fewer regions padded."""
    root = write_captions(tmp_path / "data")
    place = write_form(root, form)
    beside = form in ("cora", "two tables")
    sources = open_sources(root if beside else place, ["test"] if beside else [])
    done = convert(sources, tmp_path / "made", dtype="float32", shard_rows=2)
    assert done.bytes == sum(path.stat().st_size for path in done.folder.glob("*.safetensors"))
    check(open_dataset(root, "test", features=done.folder).features, FORMS[form])


KILLED = """
import os, signal, sys
from pathlib import Path
from zoo.data.conversion import convert, open_sources
from zoo.data import writer

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[3] == "between":
    shards = [0]
    def advance(count):
        shards[0] += 1
        if shards[0] == 3:
            die()
else:
    advance = None
    write = writer.write_atomically
    def write_half(path, data):
        if path.name == "00002.safetensors":
            (path.parent / f".{path.name}.x.tmp").write_bytes(data[:50])
            die()
        write(path, data)
    writer.write_atomically = write_half
convert(open_sources(Path(sys.argv[1])), Path(sys.argv[2]), shard_rows=2, advance=advance)
"""


@pytest.mark.parametrize("moment", ["between", "within"])
def test_a_conversion_that_is_killed_goes_on(tmp_path, moment):
    """After kill -9, finished shards are kept untouched and the store is the same in the end."""
    data, out = write_data(tmp_path / "data"), tmp_path / "store"
    root = Path(__file__).resolve().parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(data), str(out), moment],
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(DataError, match="is not complete: 2 shards"):
        FeatureStore.open(out)
    before = {path.name: path.stat() for path in out.glob("*.safetensors")}
    done = convert(open_sources(data), out, shard_rows=2)
    assert (done.converted, done.kept) == (7, 4)
    for name, stat in before.items():
        assert (out / name).stat().st_mtime_ns == stat.st_mtime_ns
    whole = convert(open_sources(data), tmp_path / "whole", shard_rows=2)
    assert done.fingerprint == whole.fingerprint
    assert not list(out.glob(".*"))


def test_other_features_are_not_mixed_into_a_store(tmp_path):
    """What was begun with some features is not continued with others."""
    data = write_data(tmp_path / "data")
    convert(open_sources(data), tmp_path / "store")
    np.save(data / "train_ims.npy", FEATURES[:6] + 1)
    with pytest.raises(DataError, match="made with other features that were converted"):
        convert(open_sources(data), tmp_path / "store")


def test_splits_that_contradict_each_other_are_refused(tmp_path):
    """One image with two sets of features, or splits of two dims, are named."""
    data = write_data(tmp_path / "data")
    np.save(data / "test_ims.npy", FEATURES[[6, 6, 8, 8]])
    with pytest.raises(DataError, match="'107' has other features in testall than in test"):
        convert(open_sources(data, ["test", "testall"]), tmp_path / "store")
    np.save(data / "test_ims.npy", FEATURES[[6, 6, 7, 7], :, :2])
    with pytest.raises(DataError, match=r"testall has features of dim 4.*test has.* dim 2"):
        convert(open_sources(data, ["test", "testall"]), tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_the_disk_is_looked_at_before_anything_is_written(tmp_path, monkeypatch):
    """The error has what is needed and what is free; what is there already is not counted again."""
    data = write_data(tmp_path / "data")
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, conversion.SPARE + 100))
    with pytest.raises(DataError, match=r"will need 0\.0 GB more, and 0\.1 GB are free"):
        convert(open_sources(data), tmp_path / "store")
    assert not (tmp_path / "store").exists()
    monkeypatch.undo()
    convert(open_sources(data), tmp_path / "store")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(0, 0, 0))
    assert convert(open_sources(data), tmp_path / "store").kept == 11


def test_the_need_is_what_the_store_takes(tmp_path):
    """The estimate is within a hundredth of the bytes that a large shard has, and not below."""
    np.save(tmp_path / "one.npy", np.zeros((36, 2048), np.float32))
    sources = open_sources(tmp_path)
    needed = conversion._Origin(sources).row_bytes(np.dtype("float16"))
    made = convert(sources, tmp_path / "store").bytes
    assert made / 1.01 < needed < made


def test_the_command_converts_a_split(tmp_path, run):
    """It says what was done, in words or as JSON, and does it once."""
    data, out = write_data(tmp_path / "data"), tmp_path / "store"
    status, text, _ = run("convert-features", data / "train_ims.npy", out, "--dtype", "fp32")
    assert status == 0
    assert "6 images converted, 0 there before. 3 x 4 in float32 without boxes, 0.00 GB" in text
    status, text, _ = run(
        "convert-features", data, out, "--split", "train", "--dtype", "fp32", "--json"
    )
    told = json.loads(text)
    assert (status, told["converted"], told["kept"], told["splits"]) == (0, 0, 6, ["train"])
    assert told["fingerprint"] == FeatureStore.open(out).fingerprint


def test_the_command_says_what_to_do(tmp_path, run):
    """Values beyond half precision, a split without features, and no features at all."""
    data, out = write_data(tmp_path / "data"), tmp_path / "store"
    np.save(data / "train_ims.npy", FEATURES[:6] * 1e6)
    status, _, error = run("convert-features", data, out, "--split", "train")
    assert status == 1
    assert "which are not finite numbers in float16" in error
    assert "--dtype fp32" in error
    assert (
        run("convert-features", data, tmp_path / "b", "--split", "train", "--dtype", "fp32")[0] == 0
    )
    (data / "train_ims.npy").unlink()
    status, _, error = run("convert-features", data, tmp_path / "c", "--split", "train")
    assert status == 1
    assert "has no features of train" in error
    status, _, error = run("convert-features", tmp_path / "nothing", tmp_path / "c")
    assert status == 1
    assert "nothing at" in error


def test_a_store_is_converted_to_half_precision(tmp_path):
    """A store in float32 is a source like any other."""
    data = write_data(tmp_path / "data")
    exact = convert(open_sources(data), tmp_path / "exact", dtype="float32").folder
    half = convert(open_sources(exact), tmp_path / "half").folder
    one, other = FeatureStore.open(exact), FeatureStore.open(half)
    assert torch.equal(one.rows(range(11)).features, other.rows(range(11)).features)
    assert one.ids == other.ids


def test_splits_that_a_table_lacks_are_none_to_convert(tmp_path):
    """Karpathy's file may have one split alone, with features above the folder of captions."""
    image = {"filename": "1.jpg", "split": "test", "sentences": [{"raw": "a caption"}]}
    table = tmp_path / "data/annotations/dataset_mine.json"
    table.parent.mkdir(parents=True)
    table.write_text(json.dumps({"dataset": "mine", "images": [image]}))
    np.save(tmp_path / "data/test_ims.npy", FEATURES[:1])
    assert list(open_sources(tmp_path / "data")) == ["test"]
    with pytest.raises(InputError, match="lists no image of dev"):
        open_sources(tmp_path / "data", ["dev"])


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "nothing at"), ("features.npy", "an array alone"), ("file.txt", "no features in")],
)
def test_what_cannot_be_converted_is_said(tmp_path, name, message):
    """A place that is not there, an array without ids, and other files."""
    if name != "nothing":
        np.save(tmp_path / "features.npy", FEATURES)
        (tmp_path / "features.npy").rename(tmp_path / name)
    with pytest.raises(DataError, match=message):
        open_sources(tmp_path / name)

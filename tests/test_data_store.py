"""The feature store: what is written is read, in any order, and damage is found."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.batch import Regions
from zoo.data.dataset import open_dataset
from zoo.data.store import FeatureStore, Plan, verify
from zoo.data.writer import StoreWriter
from zoo.errors import DataError

IDS = tuple(f"image{number}.jpg" for number in range(10))


def regions(rows: range, *, boxes: bool = True) -> Regions:
    """Regions that tell which image they are of; they are exact in float16."""
    count = len(rows)
    values = torch.arange(rows.start, rows.stop).float()[:, None, None]
    return Regions(
        features=values + torch.arange(12).reshape(1, 3, 4) / 16,
        mask=torch.arange(3)[None] <= torch.arange(count)[:, None],
        boxes=values.expand(count, 3, 4) if boxes else None,
        sizes=torch.tensor([[640, 480]]).expand(count, 2) if boxes else None,
    )


def write_store(folder: Path, *, boxes: bool = True, **options) -> FeatureStore:
    """A store of ten images in shards of four."""
    writer = StoreWriter(folder, Plan(ids=IDS, shard_rows=4, **options))
    for number, rows in writer.unfinished():
        writer.write(number, regions(rows, boxes=boxes))
    return writer.finish()


def test_rows_come_in_the_order_asked_for(tmp_path):
    """Rows from several shards, repeated and backwards, are those that were written."""
    store = write_store(tmp_path)
    assert (len(store), store.ids, store.regions, store.dim) == (10, IDS, 3, 4)
    asked = [9, 0, 4, 4, 3]
    read = store.rows(asked)
    expected = torch.cat([regions(range(row, row + 1)).features for row in asked])
    assert read.features.dtype == torch.float32
    assert torch.equal(read.features, expected)
    assert torch.equal(read.boxes[:, 0, 0], torch.tensor(asked).float())
    assert read.sizes.tolist() == [[640, 480]] * 5
    assert read.mask[0].tolist() == [True, True, False]
    assert read.mask.dtype == torch.bool


@pytest.mark.parametrize("indices", [[], np.array([1, 2]), torch.tensor([1, 2]), range(2)])
def test_row_numbers_may_be_any_sequence(tmp_path, indices):
    """Lists, arrays, tensors and ranges work, and none gives an empty batch."""
    assert len(write_store(tmp_path).rows(indices)) == len(indices)


def test_features_without_boxes_stay_without(tmp_path):
    """What was not written is None."""
    read = write_store(tmp_path, boxes=False).rows([0])
    assert read.boxes is None
    assert read.sizes is None


def test_half_precision_is_stored_unless_asked_otherwise(tmp_path):
    """A store takes half the bytes by default, and exact values in float32."""
    small = write_store(tmp_path / "half").shards[0].arrays["features"]
    exact = write_store(tmp_path / "full", dtype="float32").shards[0].arrays["features"]
    assert (small.dtype, exact.dtype) == (np.float16, np.float32)


def test_a_selection_is_another_order_of_the_same_rows(tmp_path):
    """Selected images come in the order of their ids; the shards are shared."""
    store = write_store(tmp_path)
    chosen = store.select(["image7.jpg", "image2.jpg"])
    assert chosen.ids == ("image7.jpg", "image2.jpg")
    assert torch.equal(chosen.rows([0, 1]).features, store.rows([7, 2]).features)
    assert chosen.shards == store.shards
    assert chosen.select(["image2.jpg"]).rows([0]).boxes[0, 0, 0] == 2


def test_an_image_without_features_is_named(tmp_path):
    """The message has the number and the first of the missing images."""
    store = write_store(tmp_path)
    with pytest.raises(DataError, match=r"2 of 3 images have no features.*'x\.jpg'"):
        store.select(["image0.jpg", "x.jpg", "y.jpg"])


def test_a_worker_gets_the_store_without_its_features(tmp_path):
    """Sending a store that was read from to another process sends paths and row numbers."""
    store = write_store(tmp_path)
    unread = len(pickle.dumps(store))
    store.rows(range(10))
    sent = pickle.dumps(store)
    assert len(sent) == unread
    assert torch.equal(pickle.loads(sent).rows([5]).features, store.rows([5]).features)


def test_a_data_set_finds_its_images_by_file_name(tmp_path):
    """Numeric ids with a mapping, and folders before names, lead to the same features."""
    write_store(tmp_path / "features")
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "test_ids.txt").write_text("30\n20\n")
    (folder / "test_caps.txt").write_text("one\ntwo\n")
    (folder / "id_mapping.json").write_text('{"30": "val/image3.jpg", "20": "val/image2.jpg"}')
    dataset = open_dataset(folder, "test", features=tmp_path / "features")
    assert dataset.features is not None
    assert dataset.features.rows([0, 1]).boxes[:, 0, 0].tolist() == [3, 2]


def test_an_interrupted_store_is_not_opened_and_goes_on(tmp_path):
    """Before the last shard it is refused with the remedy; then the missing shards are made."""
    plan = Plan(ids=IDS, shard_rows=4)
    first = StoreWriter(tmp_path / "store", plan)
    first.write(1, regions(range(4, 8)))
    with pytest.raises(DataError, match="not complete: 1 shards"):
        FeatureStore.open(tmp_path / "store")
    (tmp_path / "store" / ".00002.safetensors.x.tmp").write_bytes(b"half")
    again = StoreWriter(tmp_path / "store", plan)
    missing = dict(again.unfinished())
    assert missing == {0: range(4), 2: range(8, 10)}
    for number, rows in missing.items():
        again.write(number, regions(rows))
    assert again.finish().fingerprint == write_store(tmp_path / "other").fingerprint
    assert not list((tmp_path / "store").glob(".*"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": IDS[::-1]}, "other images"),
        ({"sizes": (1,) * 10}, "other contents"),
        ({"extractor": {"size": 288}}, "other settings"),
        ({"weights": "0" * 64}, "other weights"),
        ({"dtype": "float32"}, "another dtype"),
    ],
)
def test_a_store_of_something_else_is_not_continued(tmp_path, change, words):
    """The message says what differs, and the store stays as it was."""
    before = write_store(tmp_path).fingerprint
    with pytest.raises(DataError, match=f"made with {words}"):
        StoreWriter(tmp_path, Plan(**{"ids": IDS, "shard_rows": 4, **change}))
    assert FeatureStore.open(tmp_path).fingerprint == before


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    """A store is not written among photographs."""
    (tmp_path / "beach.jpg").touch()
    with pytest.raises(DataError, match="no feature store"):
        StoreWriter(tmp_path, Plan(ids=IDS))
    assert [path.name for path in tmp_path.iterdir()] == ["beach.jpg"]


@pytest.mark.parametrize("ids", [(), ("a", "a")])
def test_ids_must_be_there_and_differ(tmp_path, ids):
    """No images, or two of one id, are refused before anything is written."""
    with pytest.raises(DataError, match="different ids"):
        StoreWriter(tmp_path / "store", Plan(ids=ids))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "not finite numbers in float16 nor in any type"),
        (float("inf"), "not finite numbers in float16 nor in any type"),
        (1e6, r"up to 1,000,000, which are not finite numbers in float16.*--dtype fp32"),
    ],
)
def test_features_that_are_not_finite_are_not_stored(tmp_path, value, words):
    """NaN, infinity, and what float16 cannot hold: the error names the image; no shard appears."""
    writer = StoreWriter(tmp_path, Plan(ids=IDS))
    bad = regions(range(9))
    bad.features[3, 1, 2] = value
    with pytest.raises(DataError, match=rf"'image4\.jpg' has features.*{words}"):
        writer.write(0, bad, {"image1.jpg": "it is no picture"})
    assert not list(tmp_path.glob("*.safetensors"))


def damage(folder: Path, fault: str) -> None:
    """One fault in a complete store."""
    index, shard = folder / "index.json", folder / "00001.safetensors"
    if fault == "no index":
        index.unlink()
    if fault == "cut index":
        index.write_bytes(index.read_bytes()[:-40])
    if fault == "strange index":
        index.write_text(json.dumps({**json.loads(index.read_text()), "more": 1}))
    if fault == "path in index":
        index.write_text(index.read_text().replace("00001.safetensors", "../00001.safetensors"))
    if fault == "rows in index":
        index.write_text(index.read_text().replace('"rows": 2', '"rows": 1'))
    if fault == "no shard":
        shard.unlink()
    if fault == "cut shard":
        shard.write_bytes(shard.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no index", r"no feature store: index\.json"),
        ("cut index", r"index\.json is damaged"),
        ("strange index", r"index\.json is damaged \(Extra inputs"),
        ("path in index", r"index\.json is damaged \(String should match"),
        ("rows in index", "9 rows for 10 images"),
        ("no shard", r"00001\.safetensors is missing or not as it was written"),
        ("cut shard", r"00001\.safetensors is missing or not as it was written"),
    ],
)
def test_damage_is_found_when_the_store_is_opened(tmp_path, fault, message):
    """Each fault gives an error that names the file."""
    write_store(tmp_path)
    damage(tmp_path, fault)
    with pytest.raises(DataError, match=message):
        FeatureStore.open(tmp_path)


def test_going_on_does_not_vouch_for_what_changed(tmp_path):
    """The checksum of a shard is that of when it was written, however often the command is given.

    One that was deleted is written again, and has its own.
    """
    write_store(tmp_path)
    path = tmp_path / "00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    write_store(tmp_path)
    with pytest.raises(DataError, match=r"00001\.safetensors is missing .* Delete that file, and"):
        verify(tmp_path)
    path.unlink()
    write_store(tmp_path)
    verify(tmp_path)


@pytest.mark.parametrize("finished", [True, False])
def test_a_shard_that_was_cut_off_is_named_when_going_on(tmp_path, finished):
    """Whether the store was complete or not."""
    writer = StoreWriter(tmp_path, Plan(ids=IDS, shard_rows=4))
    for number, rows in writer.unfinished():
        writer.write(number, regions(rows))
    if finished:
        writer.finish()
    path = tmp_path / "00001.safetensors"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"00001\.safetensors .* Delete that file, and give"):
        write_store(tmp_path)


def test_one_changed_bit_is_found_by_reading_all(tmp_path):
    """`verify` accepts the store as written, and not with one bit changed."""
    write_store(tmp_path)
    verify(tmp_path)
    shard = tmp_path / "00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    FeatureStore.open(tmp_path)
    with pytest.raises(DataError, match=r"00001\.safetensors"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "head", [b"", b"\xff" * 8, (2).to_bytes(8, "little") + b"{}", (2).to_bytes(8, "little") + b"[]"]
)
def test_a_shard_that_is_no_safetensors_file_gives_a_clear_error(tmp_path, head):
    """A damaged header of the right length is found when the shard is read."""
    write_store(tmp_path)
    shard = tmp_path / "00001.safetensors"
    size = shard.stat().st_size
    shard.write_bytes(head.ljust(size, b" ")[:size])
    with pytest.raises(DataError, match="does not hold"):
        FeatureStore.open(tmp_path).rows([5])


LARGE = """
import json, sys
from zoo.data.dataset import open_dataset
def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
features = open_dataset(sys.argv[1], "train", features=sys.argv[2]).features
told = [len(features), megabytes(), "torch" in sys.modules]
import numpy
random = numpy.random.default_rng(0)
features.rows(random.integers(0, len(features), 32))
before = megabytes()
for _ in range(20):
    features.rows(random.integers(0, len(features), 32))
print(json.dumps([*told, megabytes() - before]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell memory")
def test_a_store_of_coco_takes_no_more_memory_than_its_batches(tmp_path):
    """All of COCO train opens below 200 MB without torch; reading on adds nothing to that."""
    from benchmarks.features import IMAGES, write_captions, write_store

    ids = [str(image) for image in range(IMAGES)]
    store = write_store(tmp_path / "store", ids, dense=False)
    data = write_captions(tmp_path / "data", ids, None)
    root = Path(__file__).resolve().parents[1]
    out = subprocess.run(
        [sys.executable, "-c", LARGE, str(data), str(store)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ).stdout
    images, opened, torch_there, grown = json.loads(out)
    assert images == IMAGES
    assert opened < 200
    assert not torch_there
    assert grown < 50  # twenty batches have 94 MB on the disk

"""Data sets on disk: every layout gives the same split, and contradictions are found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.data.dataset import open_dataset
from zoo.data.layouts import recognise
from zoo.errors import DataError, InputError

IDS = ["a.jpg", "b.jpg", "c.jpg"]
CAPTIONS = ["a one", "a two", "b one", "b two", "c one", "c two"]


def write_scan(folder: Path, ids: list[str], captions: list[str], split: str = "test") -> Path:
    """A folder in SCAN's layout."""
    folder.mkdir(exist_ok=True)
    (folder / f"{split}_ids.txt").write_text("".join(f"{one}\n" for one in ids), encoding="utf-8")
    text = "".join(f"{one}\n" for one in captions)
    (folder / f"{split}_caps.txt").write_text(text, encoding="utf-8")
    return folder


def write_karpathy(folder: Path, images: list[dict]) -> Path:
    """A folder with a Karpathy JSON."""
    folder.mkdir(exist_ok=True)
    (folder / "dataset_toy.json").write_text(json.dumps({"dataset": "toy", "images": images}))
    return folder


def karpathy_image(name: str, split: str, captions: list[str], **more) -> dict:
    """One entry of such a file."""
    return {"filename": name, "split": split, "sentences": [{"raw": c} for c in captions], **more}


def write_pictures(folder: Path, names: list[str]) -> None:
    """An images folder; pictures differ in size."""
    for number, name in enumerate(names):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8 + number, 8)).save(path)


def features(rows: int) -> np.ndarray:
    """Features (rows, 2, 3) that differ in every row."""
    return np.arange(rows * 6, dtype=np.float32).reshape(rows, 2, 3)


@pytest.mark.parametrize("ids", [IDS, [one for one in IDS for _ in range(2)]])
def test_ids_may_stand_for_images_or_for_captions(tmp_path, ids):
    """An id a line for each image, or for each caption: the split is the same."""
    dataset = open_dataset(write_scan(tmp_path / "toy_precomp", ids, CAPTIONS), "test")
    assert (dataset.name, dataset.split) == ("toy", "test")
    assert dataset.image_ids == tuple(IDS)
    assert dataset.captions == tuple(CAPTIONS)
    assert dataset.caption_images.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.caption_images.dtype == np.int64
    assert dataset.captions_of(1) == ("b one", "b two")
    assert dataset.matches().shape == (3, 6)
    assert dataset.matches().nonzero().tolist() == [[0, 0], [0, 1], [1, 2], [1, 3], [2, 4], [2, 5]]
    assert dataset.image_paths is None
    assert dataset.features is None


def test_captions_of_an_image_may_be_apart_and_of_any_number(tmp_path):
    """With an id for each caption, an image's captions are found wherever they stand."""
    folder = write_scan(tmp_path, ["x", "y", "x", "x"], ["one", "two", "three", "four"])
    dataset = open_dataset(folder, "test")
    assert dataset.image_ids == ("x", "y")
    assert dataset.captions_of(0) == ("one", "three", "four")


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("flickr8k", "f8k"),
        ("flickr30k", "f30k"),
        ("f30k_precomp", "f30k"),
        ("f30k", "f30k"),
        ("coco_precomp", "coco"),
        ("coco", "coco"),
        ("mine", "mine"),
    ],
)
def test_known_data_sets_have_the_names_of_the_registry(tmp_path, monkeypatch, folder, name):
    """By either layout, and also when the folder is the one that one stands in."""
    write_scan(tmp_path / folder, IDS, CAPTIONS)
    images = [karpathy_image("a.jpg", "val", ["one"])]
    (tmp_path / folder / "dataset_x.json").write_text(
        json.dumps({"dataset": folder, "images": images})
    )
    monkeypatch.chdir(tmp_path / folder)
    assert open_dataset(".", "test").name == name
    assert open_dataset("dataset_x.json", "dev").name == name


def test_val_is_dev(tmp_path):
    """The field's two names of one split open the same."""
    write_scan(tmp_path, IDS, CAPTIONS, split="dev")
    assert open_dataset(tmp_path, "val").fingerprint == open_dataset(tmp_path, "dev").fingerprint
    assert open_dataset(tmp_path, "val").split == "dev"


def test_karpathy_restval_belongs_to_train(tmp_path):
    """Train takes both parts, dev is val, and every caption stays; paths keep their folder."""
    folder = write_karpathy(
        tmp_path,
        [
            karpathy_image("a.jpg", "train", ["one"]),
            karpathy_image("b.jpg", "val", [" two ", "three"]),
            karpathy_image("c.jpg", "restval", ["four", "five"], filepath="val2014"),
        ],
    )
    write_pictures(tmp_path, ["a.jpg", "val2014/c.jpg", "b.jpg"])
    train, dev = open_dataset(folder, "train"), open_dataset(folder, "dev")
    assert train.image_ids == ("a.jpg", "val2014/c.jpg")
    assert train.captions == ("one", "four", "five")
    assert train.caption_images.tolist() == [0, 1, 1]
    assert dev.captions == ("two", "three")
    assert train.image_paths == (tmp_path / "images/a.jpg", tmp_path / "images/val2014/c.jpg")


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_both_layouts_of_flickr8k_agree(shared_data, split):
    """Caption and id files give what the Karpathy JSON gives."""
    folder = shared_data / "flickr8k"
    scan, json_ = (
        recognise(path, split).read(split) for path in (folder, folder / "dataset_flickr8k.json")
    )
    assert len(scan.image_ids) == {"train": 6000, "dev": 1000, "test": 1000}[split]
    assert scan.name == json_.name == "f8k"
    assert scan.image_ids == json_.image_ids
    assert scan.captions == json_.captions
    assert np.array_equal(scan.pairs, json_.pairs)
    assert scan.file_names == json_.file_names


def test_real_pictures_are_found(shared_data):
    """Every image of a real split has its picture."""
    dataset = open_dataset(shared_data / "flickr8k", "test")
    assert dataset.image_paths is not None
    assert len(dataset.image_paths) == 1000
    assert tuple(path.name for path in dataset.image_paths) == dataset.image_ids


@pytest.mark.parametrize(
    ("name", "split", "images", "captions"),
    [("coco", "testall", 5000, 25000), ("coco", "dev", 1000, 5000), ("f30k", "dev", 1014, 5070)],
)
def test_published_splits_have_their_known_numbers(shared_data, name, split, images, captions):
    """COCO and Flickr30K have the numbers of images and captions that the field reports."""
    dataset = open_dataset(shared_data / f"{name}_precomp", split)
    assert (dataset.name, len(dataset.image_ids), len(dataset.captions)) == (name, images, captions)
    assert (dataset.matches().sum(1) == 5).all()


@pytest.mark.parametrize("name", ["id_mapping.json", "id_mappings.json"])
def test_an_id_mapping_leads_to_the_pictures(tmp_path, name):
    """Numeric ids find their pictures by id_mapping.json, in the folder or above it."""
    root = tmp_path / "coco"
    root.mkdir()
    folder = write_scan(root / "precomp", ["7", "9"], ["one", "two"])
    (root / name).write_text('{"7": "val2014/seven.jpg", "9": "val2014/nine.jpg"}')
    write_pictures(root, ["val2014/seven.jpg", "val2014/nine.jpg"])
    paths = open_dataset(folder, "test").image_paths
    assert paths == (root / "images/val2014/seven.jpg", root / "images/val2014/nine.jpg")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"a.jpg": 3}', b"\xff"])
def test_a_damaged_id_mapping_is_named(tmp_path, content):
    """With what to do about it."""
    write_scan(tmp_path, IDS, CAPTIONS)
    (tmp_path / "id_mapping.json").write_bytes(content)
    with pytest.raises(DataError, match=r"id_mapping\.json does not lead from ids to file names"):
        open_dataset(tmp_path, "test")


@pytest.mark.parametrize("repeated", [False, True])
def test_feature_arrays_have_rows_of_images_or_of_captions(tmp_path, repeated):
    """Both kinds of array give the same features for each image."""
    write_scan(tmp_path, IDS, CAPTIONS)
    np.save(tmp_path / "test_ims.npy", features(3).repeat(2, axis=0) if repeated else features(3))
    store = open_dataset(tmp_path, "test").features
    assert store is not None
    assert store.ids == tuple(IDS)
    assert np.array_equal(store.rows([2, 0]).features.numpy(), features(3)[[2, 0]])
    assert store.rows([1]).mask.all()


def test_an_array_whose_rows_do_not_repeat_is_not_taken_for_captions(tmp_path):
    """As many rows as captions, but those of one image differ: an error names two of them."""
    write_scan(tmp_path, IDS, CAPTIONS)
    np.save(tmp_path / "test_ims.npy", features(6))
    with pytest.raises(DataError, match="rows 0 and 1 of one image differ"):
        open_dataset(tmp_path, "test")


def test_ids_of_captions_are_not_taken_for_images(tmp_path):
    """Rows that repeat under different ids are found."""
    write_scan(tmp_path, [f"caption {n}" for n in range(6)], CAPTIONS)
    np.save(tmp_path / "test_ims.npy", features(3).repeat(2, axis=0))
    with pytest.raises(DataError, match="equal rows for different images"):
        open_dataset(tmp_path, "test")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (features(4), "4 rows for 3 images with 6 captions"),
        (np.zeros(3, np.float32), r"\(images, regions, dim\)"),
        (np.array([{"a": 1}] * 3, dtype=object), r"\(images, regions, dim\)"),
    ],
)
def test_arrays_that_fit_nothing_are_refused(tmp_path, array, message):
    """The message has the numbers found and wanted."""
    write_scan(tmp_path, IDS, CAPTIONS)
    np.save(tmp_path / "test_ims.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path, "test")


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path):
    """It is the same in another folder, and another with another caption, order or picture."""
    first, second = (write_scan(tmp_path / name, IDS, CAPTIONS) for name in ("one", "two"))
    fingerprint = open_dataset(first, "test").fingerprint
    assert fingerprint == open_dataset(second, "test").fingerprint
    write_pictures(first, IDS)
    pictured = open_dataset(first, "test").fingerprint
    assert pictured != fingerprint
    Image.new("RGB", (90, 90), "red").save(first / "images" / IDS[0])
    assert open_dataset(first, "test").fingerprint != pictured
    write_scan(second, IDS, [*CAPTIONS[:-1], "other"])
    assert open_dataset(second, "test").fingerprint != fingerprint
    write_scan(second, IDS[::-1], CAPTIONS)
    assert open_dataset(second, "test").fingerprint != fingerprint


def broken_folder(folder: Path, fault: str) -> Path:
    """A folder with one fault."""
    write_scan(folder, IDS, CAPTIONS)
    if fault == "absent":
        return folder / "nowhere"
    if fault == "empty":
        (folder / "none").mkdir()
        return folder / "none"
    if fault == "counts":
        write_scan(folder, IDS, CAPTIONS[:-1])
    if fault == "repeated":
        write_scan(folder, ["a.jpg", "b.jpg", "a.jpg"], CAPTIONS)
    if fault == "blank":
        write_scan(folder, IDS, [*CAPTIONS[:3], " ", *CAPTIONS[4:]])
    if fault == "encoding":
        (folder / "test_caps.txt").write_bytes(b"caf\xe9\n" * 6)
    if fault == "no ids":
        (folder / "test_ids.txt").unlink()
    if fault == "picture":
        write_pictures(folder, IDS[:2])
    if fault == "pictures":
        write_pictures(folder, ["other.jpg"])
    if fault == "json":
        (folder / "test_caps.txt").unlink()
        write_karpathy(folder, [{"split": "test"}])
    return folder


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("absent", InputError, "no folder .*nowhere"),
        ("empty", InputError, "no data set that is known"),
        ("counts", DataError, "5 captions and 3 ids"),
        ("repeated", DataError, "3 ids, of which 2 differ, for 6 captions"),
        ("blank", DataError, r"test_caps\.txt has nothing in line 4"),
        ("encoding", DataError, r"test_caps\.txt is not UTF-8 text \(byte 3\)"),
        ("no ids", DataError, r"test_ids\.txt is missing"),
        ("picture", DataError, r"1 of 3 pictures are not there, the first .*c\.jpg"),
        ("pictures", DataError, r"3 of 3 pictures are not there, the first .*images/a\.jpg"),
        ("json", DataError, r"dataset_toy\.json is not a data set"),
    ],
)
def test_a_broken_folder_gives_one_clear_error(tmp_path, fault, kind, message):
    """Each fault is named, with the file and the numbers."""
    with pytest.raises(kind, match=message):
        open_dataset(broken_folder(tmp_path / "toy", fault), "test")


def test_an_unknown_split_names_those_that_are_there(tmp_path):
    """The message lists the splits found."""
    write_scan(tmp_path, IDS, CAPTIONS, split="dev")
    write_scan(tmp_path, IDS, CAPTIONS, split="testall")
    with pytest.raises(InputError, match=r"no split 'train'\. Choose one of dev, testall"):
        open_dataset(tmp_path, "train")


def test_a_data_set_shows_itself_in_a_line(tmp_path):
    """However many photographs it has: a notebook prints it."""
    folder = write_scan(tmp_path / "f8k_precomp", ["a", "b"], ["one .", "two ."] * 5)

    assert repr(open_dataset(folder, split="test")) == "Dataset(f8k test: 2 images, 10 captions)"

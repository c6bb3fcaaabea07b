"""Features in large .npy files and what lies beside them: rows, boxes, sizes, parses."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.data.dataset import open_dataset
from zoo.data.shards import OPEN_FILES, Shard
from zoo.data.side_files import find_side_files, read_parses, read_sizes
from zoo.errors import DataError

IMAGES, CAPTIONS, REGIONS = 3, 6, 2
FORMS = {"a row an image": np.arange(IMAGES), "a row a caption": np.repeat(np.arange(IMAGES), 2)}
RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.normal(size=(IMAGES, REGIONS, 4)).astype(np.float32)
BOXES = RANDOM.uniform(0, 100, size=(IMAGES, REGIONS, 4)).astype(np.float32)
SIZES = np.array([[640, 480], [500, 333], [20, 30]])


def gsmn_sizes(sizes: np.ndarray) -> np.ndarray:
    """Sizes in the dicts that GSMN wrote; some numbers are numpy's, as they may be there."""
    dicts = [{"image_w": int(width), "image_h": np.int64(height)} for width, height in sizes]
    return np.array(dicts, dtype=object)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The captions of three images, two each."""
    (tmp_path / "dev_ids.txt").write_text("7\n8\n9\n")
    (tmp_path / "dev_caps.txt").write_text("".join(f"caption {n}\n" for n in range(CAPTIONS)))
    return tmp_path


@pytest.mark.parametrize("features", FORMS)
@pytest.mark.parametrize("beside", FORMS)
@pytest.mark.parametrize("names", [("ims_bbx", "ims_size"), ("boxes", "img_sizes")])
def test_boxes_and_sizes_beside_the_features_are_read(folder, features, beside, names):
    """Under either naming, and in either form, whichever form the features have."""
    np.save(folder / "dev_ims.npy", FEATURES[FORMS[features]])
    np.save(folder / f"dev_{names[0]}.npy", BOXES[FORMS[beside]])
    sizes = SIZES[FORMS[beside]]
    np.save(folder / f"dev_{names[1]}.npy", gsmn_sizes(sizes) if names[1] == "ims_size" else sizes)
    source = open_dataset(folder, "dev").features
    assert (source.regions, source.dim, source.has_boxes) == (REGIONS, 4, True)
    read = source.select(["9", "7"]).rows([0, 1])
    assert torch.equal(read.features, torch.from_numpy(FEATURES[[2, 0]]))
    assert torch.equal(read.boxes, torch.from_numpy(BOXES[[2, 0]]))
    assert read.sizes.tolist() == SIZES[[2, 0]].tolist()


def test_reading_does_not_change_what_is_read(folder):
    """Boxes that a caller divides in place are whole again at the next access."""
    np.save(folder / "dev_ims.npy", FEATURES)
    np.save(folder / "dev_ims_bbx.npy", BOXES)
    source = open_dataset(folder, "dev").features
    source.rows([0]).boxes.div_(480)
    assert torch.equal(source.rows([0]).boxes[0], torch.from_numpy(BOXES[0]))


def test_boxes_and_sizes_belong_to_the_fingerprint(folder):
    """Features alone, with boxes, with other boxes, with sizes: all are different data."""
    np.save(folder / "dev_ims.npy", FEATURES)
    prints = [open_dataset(folder, "dev").features.fingerprint]
    for name, values in (("boxes", BOXES), ("boxes", BOXES + 1), ("img_sizes", SIZES)):
        np.save(folder / f"dev_{name}.npy", values)
        prints.append(open_dataset(folder, "dev").features.fingerprint)
    assert len(set(prints)) == 4


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("ims_bbx", BOXES[:2], r"dev_ims_bbx\.npy has 2 rows for 3 images with 6 captions"),
        ("ims_bbx", BOXES[:, :1], r"dev_ims_bbx\.npy has boxes of the shape \(1, 4\).*\(2, 4\)"),
        ("img_sizes", SIZES[:2], r"dev_img_sizes\.npy has 2 rows for 3 images"),
        ("img_sizes", SIZES[:, 0], r"dev_img_sizes\.npy.*its shape is \(3,\)"),
        ("img_sizes", SIZES * 0, r"dev_img_sizes\.npy.*its least value is 0"),
        ("ims_size", np.array([{"image_w": 3}] * 3, dtype=object), r"ims_size\.npy.*image_h"),
    ],
)
def test_side_files_of_another_source_are_named(folder, name, values, message):
    """The error says which file does not fit, what it has and what is wanted."""
    np.save(folder / "dev_ims.npy", FEATURES)
    np.save(folder / f"dev_{name}.npy", values)
    with pytest.raises(DataError, match=message):
        open_dataset(folder, "dev")


class Harmful:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_that_does_more_than_hold_numbers_is_refused(tmp_path):
    """Nothing of it is run, and the error says what it names."""
    made = tmp_path / "made"
    np.save(tmp_path / "dev_ims_size.npy", np.array([Harmful(made)] * 3, dtype=object))
    with pytest.raises(DataError, match=r"it names pathlib\.Path"):
        read_sizes(tmp_path / "dev_ims_size.npy")
    assert not made.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_sizes_of_every_protocol_are_read(tmp_path, protocol):
    """Older programs pickled in older protocols."""
    path = tmp_path / "dev_ims_size.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": (IMAGES,)}
        )
        pickle.dump(gsmn_sizes(SIZES), file, protocol)
    assert read_sizes(path).tolist() == SIZES.tolist()


def test_overlaps_parses_and_tags_are_found(tmp_path):
    """Every known name leads to its kind; what is not there is not listed."""
    names = ["ims_bbx.npy", "ims_size.npy", "IOU_half.npy", "caps.json", "tags.txt"]
    for name in names:
        (tmp_path / f"test_{name}").touch()
    found = find_side_files(tmp_path / "test_ims.npy")
    assert [path.name for path in found.values()] == [f"test_{name}" for name in names]
    assert list(found) == ["boxes", "sizes", "overlaps", "parses", "tags"]
    assert find_side_files(tmp_path / "dev_ims.npy") == {}


def test_dependency_parses_are_read_for_each_caption(tmp_path):
    """With labels and without, and counted against the captions."""
    path = tmp_path / "dev_caps.json"
    path.write_text(json.dumps([[[0, 2], [2, 1]], [["root", 0, 1]]]))
    assert read_parses(path, 2) == [((0, 2), (2, 1)), (("root", 0, 1),)]
    with pytest.raises(DataError, match="2 parses for 3 captions"):
        read_parses(path, 3)
    path.write_text(json.dumps([[[0, "two"]]]))
    with pytest.raises(DataError, match=r"'two'\] is not \(governor, dependent\)"):
        read_parses(path, 1)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_any_number_of_bits_becomes_float32(folder, dtype):
    """Half, double and big-endian arrays are read as float32."""
    np.save(folder / "dev_ims.npy", FEATURES.astype(dtype))
    read = open_dataset(folder, "dev").features.rows([1, 2]).features
    assert read.dtype == torch.float32
    assert np.allclose(read, FEATURES[1:], atol=1e-3)


def test_columns_first_is_refused(folder):
    """An array in Fortran's order has no rows to read."""
    np.save(folder / "dev_ims.npy", np.asfortranarray(FEATURES))
    with pytest.raises(DataError, match="do not lie row by row"):
        open_dataset(folder, "dev")


def test_a_file_that_becomes_shorter_is_an_error_and_no_crash(folder):
    """A file that is cut while it is open gives an error that names it."""
    np.save(folder / "dev_ims.npy", FEATURES)
    source = open_dataset(folder, "dev").features
    source.rows([0])
    with (folder / "dev_ims.npy").open("r+b") as file:
        file.truncate(140)
    with pytest.raises(DataError, match=r"dev_ims\.npy has 3 rows.*row 2 cannot be read"):
        source.rows([2])


def open_files() -> int:
    """How many files this process has open, 0 where the system does not tell."""
    listed = Path("/proc/self/fd")
    return sum(1 for _ in listed.iterdir()) if listed.is_dir() else 0


def test_more_files_than_may_be_open(tmp_path):
    """Files are closed again when many are read, and each row is still of its own file."""
    made = []
    for number in range(OPEN_FILES + 5):
        np.save(tmp_path / f"{number}.npy", np.full((1, 2), number, np.float32))
        made.append(Shard(tmp_path / f"{number}.npy"))
    before = open_files()
    out = np.empty((1, 2), np.float32)
    for number in (*range(len(made)), 0, len(made) - 1):
        made[number].read("values", 0, out)
        assert out.tolist() == [[number, number]]
    assert open_files() <= before + OPEN_FILES


def test_a_file_without_a_byte_is_named(tmp_path):
    """What a download that was cut off leaves is no fault of ours."""
    path = tmp_path / "test_ims.npy"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"test_ims\.npy does not hold rows"):
        Shard(path).place("values")


def test_equal_rows_may_have_what_is_no_number(tmp_path):
    """Rows with NaN repeat as others do; that they are not finite is said elsewhere."""
    (tmp_path / "test_ids.txt").write_text("1\n1\n2\n2\n")
    (tmp_path / "test_caps.txt").write_text("a\nb\nc\nd\n")
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    values[:, 0] = np.nan
    np.save(tmp_path / "test_ims.npy", values.repeat(2, 0))
    assert len(open_dataset(tmp_path, "test").features) == 2

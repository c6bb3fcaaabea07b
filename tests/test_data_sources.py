"""The same features in every form that the field has: they are found, and they are the same."""

from __future__ import annotations

import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from zoo.batch import Regions
from zoo.data.dataset import open_dataset
from zoo.data.region_tables import TableReader
from zoo.data.sources import open_named
from zoo.data.store import Plan
from zoo.data.writer import StoreWriter
from zoo.errors import DataError

RANDOM = np.random.default_rng(0)
COUNTS = (2, 3, 1)
IDS = ("20", "7", "300")
FILES = tuple(f"val2014/COCO_val2014_{int(one):012d}.jpg" for one in IDS)
FEATURES = [RANDOM.normal(size=(count, 8)).astype(np.float32) for count in COUNTS]
BOXES = [RANDOM.uniform(0, 50, size=(count, 4)).astype(np.float32) for count in COUNTS]
SIZES = [(640, 480), (333, 500), (50, 51)]


def write_captions(folder: Path, *, each: int = 2) -> Path:
    """A test split of three images of COCO, with its mapping to file names."""
    folder.mkdir(exist_ok=True)
    (folder / "test_ids.txt").write_text("".join(f"{one}\n" for one in IDS for _ in range(each)))
    (folder / "test_caps.txt").write_text("".join(f"caption {n}\n" for n in range(3 * each)))
    (folder / "id_mapping.json").write_text(json.dumps(dict(zip(IDS, FILES, strict=True))))
    return folder


def in_base64(values: np.ndarray) -> str:
    """As the tables have arrays."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def bottom_up(row: int, image: str) -> list[object]:
    """A line of bottom-up attention's table."""
    width, height = SIZES[row]
    values = in_base64(BOXES[row]), in_base64(FEATURES[row])
    return [image, width, height, COUNTS[row], *values]


def lxmert(row: int, image: str) -> list[object]:
    """A line of LXMERT's table: the height goes before the width."""
    width, height = SIZES[row]
    objects = in_base64(np.arange(COUNTS[row])), in_base64(np.ones(COUNTS[row], np.float32))
    values = in_base64(BOXES[row]), in_base64(FEATURES[row])
    return [image, height, width, *objects, *objects, COUNTS[row], *values]


def vinvl(row: int, image: str) -> list[object]:
    """A line of VinVL's table, which has neither boxes in pixels nor sizes."""
    table = {"num_boxes": COUNTS[row], "features": in_base64(FEATURES[row])}
    return [image, json.dumps(table)]


def vinvl_for_retrieval(row: int, image: str) -> list[object]:
    """A line of the table that VinVL's retrieval reads."""
    return [image, COUNTS[row], in_base64(FEATURES[row])]


def write_table(path: Path, line: Callable[[int, str], list[object]], order: list[int]) -> int:
    """A table of some images; gives the number of its bytes."""
    lines = ["\t".join(map(str, line(row, IDS[row]))) + "\n" for row in order]
    path.write_text("".join(lines))
    starts = np.cumsum([0] + [len(one) for one in lines])[:-1]
    if line in (vinvl, vinvl_for_retrieval):
        path.with_suffix(".lineidx").write_text("".join(f"{start}\n" for start in starts))
    return path.stat().st_size


def write_store(folder: Path, ids: tuple[str, ...]) -> None:
    """A store of the three images."""
    writer = StoreWriter(folder, Plan(ids=ids, dtype="float32", shard_rows=2))
    import torch

    features, boxes = np.zeros((3, 3, 8), np.float32), np.zeros((3, 3, 4), np.float32)
    for row, count in enumerate(COUNTS):
        features[row, :count], boxes[row, :count] = FEATURES[row], BOXES[row]
    mask = torch.arange(3)[None] < torch.tensor(COUNTS)[:, None]
    made = Regions(
        torch.from_numpy(features), mask, torch.from_numpy(boxes), torch.tensor(SIZES).float()
    )
    for number, rows in writer.unfinished():
        writer.write(number, made[rows.start : rows.stop])
    writer.finish()


def write_form(root: Path, form: str) -> Path:
    """The features in one form; gives their place."""
    if form in LINES:
        write_table(root / "test.tsv", LINES[form], [2, 0, 1])
        return root / "test.tsv"
    if form == "two tables":
        write_table(root / "train.tsv.0", bottom_up, [1])
        write_table(root / "train.tsv.1", bottom_up, [2, 1, 0])
        return root
    if form == "store":
        write_store(root / "store", FILES)
        return root / "store"
    for row, image in enumerate(IDS):
        if form == "cora":
            path = root / "region_feats/test/part0" / f"{row}.npy"
        elif form == "aoanet":
            path = root / "cocobu_att" / f"{image}.npz"
            (root / "cocobu_box").mkdir(exist_ok=True)
            np.save(root / f"cocobu_box/{image}.npy", BOXES[row])
            (root / "cocobu_fc").mkdir(exist_ok=True)
            np.save(root / f"cocobu_fc/{image}.npy", FEATURES[row].mean(0))
        else:
            path = root / "some features" / f"{image}{'.npz' if form == 'xmodaler' else '.npy'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "xmodaler":
            size = {"image_w": [SIZES[row][0]], "image_h": [SIZES[row][1]]}
            np.savez(path, features=FEATURES[row], boxes=BOXES[row], cls_prob=np.ones(9), **size)
        elif form == "aoanet":
            np.savez_compressed(path, feat=FEATURES[row])
        else:
            np.save(path, FEATURES[row])
    return path.parents[1] if form == "cora" else path.parent


LINES = {
    "bottom-up tsv": bottom_up,
    "lxmert tsv": lxmert,
    "vinvl tsv": vinvl,
    "vinvl tsv for retrieval": vinvl_for_retrieval,
}
FORMS = {
    "bottom-up tsv": "boxes and sizes",
    "lxmert tsv": "boxes and sizes",
    "two tables": "boxes and sizes",
    "vinvl tsv": "",
    "vinvl tsv for retrieval": "",
    "xmodaler": "boxes and sizes",
    "aoanet": "boxes",
    "cora": "",
    "flat": "",
    "store": "boxes and sizes",
}


def check(source, known: str) -> None:
    """The source is that of the three images, in the listing's order."""
    assert (len(source), source.regions, source.dim) == (3, 3, 8)
    assert source.has_boxes == ("boxes" in known)
    read = source.rows([2, 1])
    assert read.mask.sum(1).tolist() == [1, 3]
    for row, image in enumerate((2, 1)):
        count = COUNTS[image]
        assert np.array_equal(read.features[row, :count], FEATURES[image])
        assert not read.features[row, count:].any()
        if "boxes" in known:
            assert np.array_equal(read.boxes[row, :count], BOXES[image])
        if "sizes" in known:
            assert read.sizes[row].tolist() == list(SIZES[image])
    assert (read.sizes is None) == ("sizes" not in known)
    assert len(source.rows([])) == 0


@pytest.mark.parametrize("form", FORMS)
def test_features_in_every_form_are_the_same(tmp_path, form):
    """Given by their place, they are those of the images by whatever name they go."""
    root = write_captions(tmp_path / "data")
    place = write_form(root, form)
    source = open_dataset(root, "test", features=place).features
    check(source, FORMS[form])
    again = pickle.loads(pickle.dumps(source))
    check(again, FORMS[form])
    assert len(again.fingerprint) == 64


@pytest.mark.parametrize("form", [form for form in FORMS if form != "store"])
def test_features_beside_the_captions_are_found(tmp_path, form):
    """Nothing has to be named, and boxes or whole vectors beside them confuse nobody."""
    root = write_captions(tmp_path / "data")
    write_form(root, form)
    check(open_dataset(root, "test").features, FORMS[form])


def test_numbered_files_may_be_of_captions(tmp_path):
    """With a file for each caption, an image's is that of its first caption."""
    root = write_captions(tmp_path / "data")
    folder = root / "region_feats/test/part0"
    folder.mkdir(parents=True)
    for caption in range(6):
        np.save(folder / f"{caption}.npy", FEATURES[caption // 2])
    check(open_dataset(root, "test").features, "")
    (folder / "3.npy").unlink()
    with pytest.raises(DataError, match="5 files, and they are not numbered"):
        open_dataset(root, "test")


def test_two_forms_beside_each_other_are_not_chosen_from(tmp_path):
    """The error lists both; named, either is read; SPLIT_ims.npy goes before all."""
    root = write_captions(tmp_path / "data")
    write_form(root, "bottom-up tsv")
    place = write_form(root, "flat")
    with pytest.raises(DataError, match=r"more than one form.*test\.tsv, .*some features"):
        open_dataset(root, "test")
    check(open_dataset(root, "test", features=place).features, "")
    np.save(root / "test_ims.npy", RANDOM.normal(size=(3, 3, 5)).astype(np.float32))
    assert open_dataset(root, "test").features.dim == 5


def test_a_table_of_another_split_is_none_of_this_one(tmp_path):
    """Without any image of the split it is passed over; with some of them it is an error."""
    root = write_captions(tmp_path / "data")
    (root / "train.tsv").write_text("\t".join(map(str, bottom_up(0, "99"))) + "\n")
    assert open_dataset(root, "test").features is None
    write_table(root / "more.tsv", bottom_up, [1])
    with pytest.raises(DataError, match="2 of 3 images have no features, the first is '20'"):
        open_dataset(root, "test")


def test_tables_of_pairs_are_no_tables_of_regions(tmp_path):
    """A .tsv of captions beside them is passed over."""
    root = write_captions(tmp_path / "data")
    (root / "pairs.tsv").write_text("20\ta caption\n7\tanother\n")
    (root / "three.tsv").write_text("20\t4\ta caption\n")
    (root / "six.tsv").write_text("a\tb\tc\td\te\tf\n")
    assert open_dataset(root, "test").features is None


@pytest.mark.parametrize("at", ["head", "tail"])
def test_vinvl_may_say_the_number_of_boxes_anywhere(tmp_path, at):
    """Before features of any length, or behind them; boxes in pixels are read where they are."""
    features = RANDOM.normal(size=(3, 3000)).astype(np.float32)
    table = {"features": in_base64(features), "num_boxes": 3, "boxes": in_base64(BOXES[1])}
    items = list(table.items())[:: 1 if at == "tail" else -1]
    line = f"one\t{json.dumps(dict(items))}\n"
    (tmp_path / "test.tsv").write_text(line * 2)
    (tmp_path / "test.lineidx").write_text(f"0\n{len(line)}\n")
    source = open_named(tmp_path / "test.tsv")
    assert (source.ids, source.regions, source.has_boxes) == (("one",), 3, True)
    assert np.array_equal(source.rows([0]).features[0], features)


def test_lines_of_a_table_may_be_long(tmp_path):
    """Lines longer than what is read of their heads are counted and read whole."""
    features = RANDOM.normal(size=(100, 500)).astype(np.float32)
    boxes = RANDOM.normal(size=(100, 4)).astype(np.float32)
    objects = [in_base64(np.arange(100)), in_base64(boxes[:, 0])] * 2
    line = ["one", 5, 6, *objects, 100, in_base64(boxes), in_base64(features)]
    text = "\t".join(map(str, line))
    (tmp_path / "long.tsv").write_text(f"{text}\n{text.replace('one', 'two', 1)}")
    source = open_named(tmp_path)
    assert (source.ids, source.regions, source.dim) == (("one", "two"), 100, 500)
    assert np.array_equal(source.rows([1]).features[0], features)


def test_a_table_that_is_cut_off_is_named(tmp_path):
    """In the middle of features it is found when they are read, before them when it is opened."""
    path = tmp_path / "test.tsv"
    size = write_table(path, bottom_up, [0, 1, 2])
    text = path.read_text()
    path.write_text(text[: size - 7])
    with pytest.raises(DataError, match=r"test\.tsv \(image 300\)"):
        open_named(path)
    path.write_text(text[: text.index("300\t50") + 7])
    with pytest.raises(DataError, match=r"test\.tsv.*\(line 3, 7 bytes\)"):
        TableReader([path])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), r"7\.np[yz] cannot be read"),
        (lambda path: np.save(path, np.ones((2, 9), np.float32)), r"7\.npy has \(2, 9\).*8\)"),
        (lambda path: np.save(path, np.ones((0, 8), np.float32)), r"7\.npy has \(0, 8\)"),
        (lambda path: np.save(path, np.array([{}] * 9), allow_pickle=True), "Object arrays"),
    ],
)
def test_a_damaged_file_of_one_image_is_named(tmp_path, damage, message):
    """Cut off, of another dim, empty or pickled: the error has the file."""
    place = write_form(write_captions(tmp_path / "data"), "flat")
    damage(place / "7.npy")
    with pytest.raises(DataError, match=message):
        open_named(place).rows([0, 1, 2])


def test_a_damaged_archive_is_named(tmp_path):
    """A .npz that is cut off gives an error with its name."""
    place = write_form(write_captions(tmp_path / "data"), "aoanet")
    (place / "7.npz").write_bytes((place / "7.npz").read_bytes()[:-30])
    with pytest.raises(DataError, match=r"7\.npz cannot be read"):
        open_named(place).rows([0, 1, 2])


def test_a_grid_is_read_as_its_cells(tmp_path):
    """Features (height, width, dim) become regions, row by row."""
    grid = RANDOM.normal(size=(2, 3, 8)).astype(np.float16)
    np.save(tmp_path / "one.npy", grid)
    source = open_named(tmp_path)
    assert source.regions == 6
    assert np.array_equal(source.rows([0]).features[0, 4], grid[1, 1].astype(np.float32))


def test_features_change_their_fingerprint(tmp_path):
    """Other features, or other images, have another fingerprint; another place has not."""
    first = open_named(write_form(write_captions(tmp_path / "a"), "flat"))
    second = open_named(write_form(write_captions(tmp_path / "b"), "flat"))
    assert first.fingerprint == second.fingerprint
    np.save(tmp_path / "b/some features/7.npy", FEATURES[1] + 1)
    assert open_named(tmp_path / "b/some features").fingerprint != first.fingerprint
    boxed = open_named(write_form(tmp_path / "a", "aoanet")).fingerprint
    np.save(tmp_path / "a/cocobu_box/7.npy", BOXES[1] + 1)
    assert open_named(tmp_path / "a/cocobu_att").fingerprint != boxed


def test_what_is_no_features_is_said(tmp_path):
    """A folder without any form of features leads to the way to make them."""
    root = write_captions(tmp_path / "data")
    with pytest.raises(DataError, match=r"no features in a form .* zoo extract"):
        open_dataset(root, "test", features=root)


def test_numbered_files_are_in_the_order_of_numbers(tmp_path):
    """File 10 is that of the eleventh image, and not of the third."""
    root = tmp_path / "data"
    folder = root / "region_feats/test/part0"
    folder.mkdir(parents=True)
    (root / "test_ids.txt").write_text("".join(f"{image}\n" for image in range(50, 62)))
    (root / "test_caps.txt").write_text("".join(f"caption {n}\n" for n in range(24)))
    for number in range(12):
        np.save(folder / f"{number}.npy", np.full((1, 8), number, np.float32))
    read = open_dataset(root, "test").features.rows(range(12)).features
    assert read[:, 0, 0].tolist() == list(range(12))


def test_images_are_found_by_the_number_in_their_file(tmp_path):
    """Karpathy's JSON names files, and bottom-up features COCO's numbers, which are ids."""
    root = tmp_path / "data"
    root.mkdir()
    images = [
        {"filename": Path(file).name, "split": "test", "sentences": [{"raw": "a caption"}]}
        for file in FILES
    ]
    (root / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": images}))
    write_form(root, "aoanet")
    check(open_dataset(root, "test").features, "boxes")


def test_a_file_that_is_missing_hides_no_features(tmp_path):
    """Also where it is the first image's, the folder is found, and the image is named."""
    root = write_captions(tmp_path / "data")
    (write_form(root, "flat") / f"{IDS[0]}.npy").unlink()
    with pytest.raises(DataError, match="1 of 3 images have no features, the first is '20'"):
        open_dataset(root, "test")


@pytest.mark.parametrize("form", ["aoanet", "cora", "bottom-up tsv"])
def test_features_may_be_named_by_the_folder_around_them(tmp_path, form):
    """What is found beside captions is found there as well."""
    root = write_captions(tmp_path / "data")
    write_form(write_captions(tmp_path / "elsewhere"), form)
    source = open_dataset(root, "test", features=tmp_path / "elsewhere").features
    check(source, FORMS[form])

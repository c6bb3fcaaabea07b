"""The doctor: planted faults are found, sound data passes, and each problem comes with a remedy."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from zoo.batch import Regions
from zoo.data.store import Plan
from zoo.data.vocabulary import Vocabulary
from zoo.data.writer import StoreWriter
from zoo.doctor import Examination, examine
from zoo.doctor.captions import check_text
from zoo.doctor.rows import check_counts
from zoo.doctor.values import chosen_rows, image_faults

IMAGES, REGIONS, DIM = 6, 4, 8
CAPTION = "a {} dog number {} runs over the green grass"


def write(path: Path, lines: list[str], end: str = "\n") -> None:
    """Lines of text in UTF-8."""
    path.write_bytes("".join(line + end for line in lines).encode())


def write_split(folder: Path, split: str, start: int, each: int) -> None:
    """A split as SCAN's files have it, a row an image or a row a caption, with boxes and sizes."""
    rng = np.random.default_rng(start)
    names = [str(start + row) for row in range(IMAGES)]
    captions = [CAPTION.format(word, name) for name in names for word in ("small", "big")]
    write(folder / f"{split}_caps.txt", captions)
    write(folder / f"{split}_ids.txt", [name for name in names for _ in range(each)])
    corners = rng.uniform(0, 100, (IMAGES, REGIONS, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(1, 100, corners.shape)], -1)
    arrays = {
        "ims": rng.standard_normal((IMAGES, REGIONS, DIM)).astype(np.float32),
        "boxes": boxes.astype(np.float32),
        "img_sizes": np.full((IMAGES, 2), 200),
    }
    for name, values in arrays.items():
        np.save(folder / f"{split}_{name}.npy", values.repeat(each, axis=0))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A sound data set: train has a row an image, test a row a caption."""
    made = tmp_path / "mine_precomp"
    made.mkdir()
    write_split(made, "train", 0, each=1)
    write_split(made, "test", 100, each=2)
    names = {str(number): f"{number}.jpg" for number in (*range(IMAGES), *range(100, 106))}
    (made / "id_mapping.json").write_text(json.dumps(names))
    captions = (made / "train_caps.txt").read_text().splitlines()
    vocabulary = Vocabulary.build([*captions, " ".join(names)], 1).to_json()
    (made / "vocab.json").write_text(vocabulary)
    return made


def change(path: Path, row: object, value: object) -> None:
    """Set values of a .npy file."""
    values = np.load(path)
    values[row] = value
    np.save(path, values)


def change_line(path: Path, number: int, text: str) -> None:
    """Put another text into one line."""
    lines = path.read_text().splitlines()
    lines[number] = text
    write(path, lines)


def convert(path: Path, dtype: object) -> None:
    """The same array in another type."""
    np.save(path, np.load(path).astype(dtype))


def rewrite(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes wherever they are."""
    path.write_bytes(path.read_bytes().replace(old, new))


def written_as_bytes(path: Path) -> None:
    """Every line as Python 3 writes bytes."""
    write(path, [repr(line.encode()) for line in path.read_text().splitlines()])


def give_pictures(folder: Path, count: int, content: bytes) -> None:
    """Some of the pictures of "test", and no features."""
    (folder / "images").mkdir()
    for number in range(100, 100 + count):
        (folder / "images" / f"{number}.jpg").write_bytes(content)
    for path in folder.glob("*.npy"):
        path.unlink()


FAULTS = {
    "byte-order mark": (
        lambda at: rewrite(at / "test_caps.txt", b"a small dog number 100 ", b"\xef\xbb\xbfa dog "),
        ("warning", "byte-order mark", "test_caps.txt", "begins with a byte-order mark"),
    ),
    "line ends of Windows": (
        lambda at: rewrite(at / "test_caps.txt", b"\n", b"\r\n"),
        ("warning", "line ends", "test_caps.txt", "12 lines end as on Windows"),
    ),
    "an empty line": (
        lambda at: change_line(at / "test_caps.txt", 2, " "),
        ("problem", "empty lines", "test_caps.txt", "without text: 1, 3"),
    ),
    "Latin-1": (
        lambda at: rewrite(at / "test_caps.txt", b"dog number 101 ", b"caf\xe9 "),
        ("problem", "encoding", "test_caps.txt", "Line 3 is not UTF-8 .* 'é' there"),
    ),
    "UTF-8 read as Windows' text": (
        lambda at: change_line(
            at / "test_caps.txt", 3, "a man\u2019s hat".encode().decode("cp1252")
        ),
        ("problem", "garbled letters", "test", "another encoding: 1, 'a manâ€™s hat'"),
    ),
    "letters that were lost": (
        lambda at: change_line(at / "test_caps.txt", 3, "a caf\ufffd"),
        ("problem", "lost letters", "test", "an earlier conversion lost: 1, 'a caf\ufffd'"),
    ),
    "bytes as text": (
        lambda at: written_as_bytes(at / "test_caps.txt"),
        ("problem", "bytes as text", "test", "way to write bytes: 12, such as"),
    ),
    "one caption, written twice": (
        lambda at: rewrite(at / "test_caps.txt", b"small", b"big"),
        ("warning", "repeated captions", "test", "50% of the captions equal another"),
    ),
    "a caption too few": (
        lambda at: write(at / "test_caps.txt", ["a dog"] * 11),
        ("problem", "captions", "test", "has 11 captions and 12 ids"),
    ),
    "another number of rows than the field has": (
        lambda at: shutil.copytree(at, at.parent / "f30k_precomp"),
        ("problem", "counts", "test", "6 images with 12 captions .* f30k has 1,000 with 5,000"),
    ),
    "an id without a file name": (
        lambda at: rewrite(at / "id_mapping.json", b'"103"', b'"930"'),
        ("problem", "ids", "test", r"does not know: 1, 103"),
    ),
    "a mapping of another form": (
        lambda at: (at / "id_mapping.json").write_text("[1]"),
        ("problem", "captions", "test", "does not lead from ids to file names"),
    ),
    "an image of train in test": (
        lambda at: [
            change_line(at / "test_ids.txt", 0, "4"),
            change_line(at / "test_ids.txt", 1, "4"),
        ],
        ("problem", "splits", "test, train", "both splits have: 1, 4"),
    ),
    "a value that is not finite": (
        lambda at: change(at / "train_ims.npy", (3, 1, 2), np.nan),
        ("problem", "values", "train", r"not finite: 1, 3 \(of all 6 images"),
    ),
    "an overflow of float16": (
        lambda at: [
            convert(at / "train_ims.npy", np.float16),
            change(at / "train_ims.npy", (2, 0, 0), np.inf),
        ],
        ("problem", "values", "train", "not finite: 1, 2 "),
    ),
    "features of nothing": (
        lambda at: change(at / "train_ims.npy", slice(2, 4), 0),
        ("problem", "values", "train", "all 0: 2, 2, 3"),
    ),
    "one image's features for another": (
        lambda at: change(at / "train_ims.npy", 5, np.load(at / "train_ims.npy")[2]),
        ("problem", "equal rows", "train", "features of another: 1, 2 and 5"),
    ),
    "features in double precision": (
        lambda at: convert(at / "train_ims.npy", np.float64),
        ("warning", "type", "train", "6 images of 4 x 8 float64"),
    ),
    "whole numbers": (
        lambda at: convert(at / "train_ims.npy", np.int64),
        ("problem", "type", "train", "6 images of 4 x 8 int64"),
    ),
    "too few rows": (
        lambda at: np.save(at / "train_ims.npy", np.load(at / "train_ims.npy")[:5]),
        ("problem", "features", "train", "5 rows for 6 images"),
    ),
    "rows that belong to other captions": (
        lambda at: np.save(at / "test_ims.npy", np.roll(np.load(at / "test_ims.npy"), 1, 0)),
        ("problem", "features", "test", "rows .* of one image differ"),
    ),
    "a file that was cut off": (
        lambda at: (at / "train_ims.npy").write_bytes((at / "train_ims.npy").read_bytes()[:-9]),
        ("problem", "features", "train", "train_ims.npy"),
    ),
    "a box outside of its picture": (
        lambda at: change(at / "train_boxes.npy", (1, 2), (150, 150, 260, 190)),
        ("problem", "boxes", "train", "outside of the picture: 1, 1 "),
    ),
    "a box as width and height": (
        lambda at: change(at / "train_boxes.npy", (1, 2), (150, 150, 20, 20)),
        ("problem", "boxes", "train", "no area: 1, 1 "),
    ),
    "boxes that were divided by the size": (
        lambda at: change(at / "train_boxes.npy", 1, np.load(at / "train_boxes.npy")[1] / 200),
        ("problem", "boxes", "train", "shares of the picture and not pixels: 1, 1 "),
    ),
    "parses of other captions": (
        lambda at: (at / "train_caps.json").write_text("[[[1, 2]]]"),
        ("problem", "side files", "train", "1 parses for 12 captions"),
    ),
    "a vocabulary of other captions": (
        lambda at: (at / "vocab.json").write_text('["<unk>", "cat"]'),
        ("problem", "vocabulary", "vocab.json", "2 words, of its own; 100.0% of the words"),
    ),
    "a damaged vocabulary": (
        lambda at: (at / "vocab.json").write_text("{"),
        ("problem", "vocabulary", "vocab.json", "not JSON"),
    ),
    "pictures that are not all there": (
        lambda at: give_pictures(at, 5, b"picture"),
        ("problem", "pictures", "test", "1 of 6 pictures are not there"),
    ),
    "a picture without a byte": (
        lambda at: give_pictures(at, 6, b""),
        ("problem", "pictures", "test", "without a byte: 6, such as 100.jpg"),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(folder, fault):
    """Under its name, at its place, with what was found and what to do."""
    plant, (level, check, place, words) = FAULTS[fault]
    assert not [one for one in examine(folder).findings if one.level != "fine"]

    where = plant(folder)
    found = examine(where if isinstance(where, Path) else folder)

    named = [one for one in found.findings if (one.level, one.check) == (level, check)]
    assert place in {one.place for one in named}
    assert any(re.search(words, one.what) for one in named), found.findings
    assert all(one.remedy.endswith(".") for one in found.findings if one.level != "fine")
    assert (found.problems > 0) == (level == "problem")


def test_sound_data_passes(folder):
    """No warning either; what was read is said, and that rows repeat."""
    found = examine(folder)
    assert (found.problems, {one.level for one in found.findings}) == (0, {"fine"})
    assert found.layout.startswith("SCAN precomp")
    assert found.splits == ("test", "train")
    said = {(one.check, one.place): one.what for one in found.findings}
    assert said["counts", "train"] == "6 images with 12 captions (2 an image)."
    assert said["features", "train"] == "6 images of 4 x 8 float32, with boxes."
    assert "lies there 2 times" in said["repeated rows", "test"]
    assert "all 6 images that were read are sound" in said["values", "test"]
    assert ("repeated rows", "train") not in said


def test_real_data_passes(shared_data):
    """The captions of COCO and Flickr30K, their ids and their vocabularies are as known."""
    for name, vocabulary in (("coco", "11,353 words"), ("f30k", "8,481 words")):
        found = examine(shared_data / f"{name}_precomp")
        assert {one.level for one in found.findings} == {"fine"}
        words = next(one.what for one in found.findings if one.check == "vocabulary")
        assert words.startswith(f"{vocabulary}, those of {name}; 0.")


def test_real_data_without_its_own_vocabulary_is_warned_of(shared_data, tmp_path):
    """That of the other data set, and one of its own making, both know the words well enough."""
    data = tmp_path / "f30k_precomp"
    shutil.copytree(shared_data / "f30k_precomp", data, copy_function=shutil.copyfile)
    data.chmod(0o755)
    coco = (shared_data / "vocab" / "coco_precomp_vocab.json").read_text()
    shorter = json.loads((shared_data / "vocab" / "f30k_precomp_vocab.json").read_text())
    words = sorted(shorter["word2idx"], key=shorter["word2idx"].get)
    for text, what in (
        (coco, "those of coco, and the data set is f30k"),
        (json.dumps(words[:-1]), "not those that published weights for f30k"),
        (json.dumps([*words, "<mask>"]), ""),
    ):
        (data / "vocab.json").write_text(text)
        warned = [one.what for one in examine(data).findings if one.level != "fine"]
        assert [what in one for one in warned] == ([True] if what else [])


def test_the_forgotten_part_of_coco_is_named():
    """82,783 images are train without restval."""
    images, captions = 82_783, 414_113
    pairs = np.stack([np.arange(captions) % images, np.arange(captions)], 1)
    listing = SimpleNamespace(
        name="coco", image_ids=range(images), captions=range(captions), pairs=pairs
    )
    (finding,) = check_counts(listing, "train")
    assert finding.level == "problem"
    assert finding.what.endswith('113,287 with 566,747. That is train without "restval".')


@pytest.mark.parametrize(
    ("caption", "garbled"),
    [
        ("a café in Málaga", False),
        ("\u201ca sign\u201d \u2013 a naïve Ñandú", False),
        ("a caf\u00c3\u00a9", True),
        ("\u00c3\u0081vila, with a letter that Windows has not", True),
        ("\u65e5\u672c \u2764 a sign", False),
        ("\u65e5\u672c \u2764 a caf\u00c3\u00a9", True),
    ],
)
def test_garbled_letters_are_told_from_foreign_ones(caption, garbled):
    """Letters beyond ASCII are no fault; two that are one letter of UTF-8 are."""
    listing = SimpleNamespace(captions=[caption], caption_images=np.array([0]))
    (finding,) = check_text(listing, "test")
    assert (finding.check == "garbled letters") == garbled


def test_only_test_may_lie_in_testall(folder):
    """That is how COCO's two test splits are; train in testall is a fault."""
    for kind in ("caps.txt", "ids.txt", "ims.npy", "boxes.npy", "img_sizes.npy"):
        shutil.copy(folder / f"test_{kind}", folder / f"testall_{kind}")
    assert examine(folder).problems == 0
    shutil.copy(folder / "train_caps.txt", folder / "dev_caps.txt")
    shutil.copy(folder / "train_ids.txt", folder / "dev_ids.txt")
    assert [one.place for one in examine(folder).findings if one.level == "problem"] == [
        "dev, train"
    ]


def test_two_names_of_one_split_are_looked_at_once(tmp_path):
    """Karpathy's COCO has one test split, which SCAN calls testall."""
    images = [
        {
            "filename": f"COCO_val2014_{number:012d}.jpg",
            "cocoid": number,
            "split": split,
            "sentences": [{"raw": "a dog"}],
        }
        for number, split in enumerate(("train", "restval", "val", "test"))
    ]
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"images": images, "dataset": "coco"}))
    found = examine(tmp_path)
    assert found.splits == ("train", "dev", "test")
    assert {one.check for one in found.findings if one.level == "problem"} == {"counts"}
    assert examine(tmp_path, "testall").splits == ("testall",)


def write_store(folder: Path) -> Path:
    """A feature store of three images, the last of which has one region and padding."""
    regions = Regions(
        torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0)),
        torch.tensor([[True, True], [True, True], [True, False]]),
        torch.tensor([1.0, 2.0, 30.0, 40.0]).expand(3, 2, 4).clone(),
        torch.full((3, 2), 50),
    )
    regions.boxes[2, 1] = 0
    writer = StoreWriter(folder, Plan(ids=("one", "two", "three"), dtype="float32", shard_rows=3))
    for number, _ in writer.unfinished():
        writer.write(number, regions)
    writer.finish()
    return folder


@pytest.mark.parametrize("fault", ["infinite", "outside", "empty"])
def test_padding_has_no_faults(fault):
    """The same values are one in a region that is real."""
    features, boxes = torch.ones(1, 2, 4), torch.tensor([[[1.0, 2.0, 30.0, 40.0]] * 2])
    features[0, 1] = {"infinite": torch.inf}.get(fault, 1)
    boxes[0, 1] = torch.tensor(
        {"outside": [-9.0, 0, 9, 9], "empty": [5.0] * 4}.get(fault, [1, 1, 9, 9])
    )
    for real in (True, False):
        mask = torch.tensor([[True, real]])
        found = image_faults(Regions(features, mask, boxes, torch.full((1, 2), 50)))
        assert [name for name, bad in found.items() if bad.any()] == ([fault] if real else [])


def test_an_image_whose_real_regions_are_0_is_one_of_nothing():
    """Whatever the padding holds; one region that is not 0 is enough."""
    features = torch.zeros(2, 2, 4)
    features[:, 1, 3] = 1
    mask = torch.tensor([[True, False], [True, True]])
    assert image_faults(Regions(features, mask))["zero"].tolist() == [True, False]


def test_a_feature_store_is_looked_at_alone(tmp_path):
    """Sound with padding; bytes that changed are found by their checksum."""
    store = write_store(tmp_path / "store")
    found = examine(store, full=True)
    assert (found.layout, found.problems) == ("feature store", 0)
    assert any("3 images of 2 x 4 float32, with boxes" in one.what for one in found.findings)

    (shard,) = store.glob("*.safetensors")
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    problems = [one for one in examine(store, full=True).findings if one.level == "problem"]
    assert "checksums" in {one.check for one in problems}

    shard.unlink()
    assert [one.check for one in examine(store).findings] == ["store"]


def test_features_may_lie_elsewhere(folder, tmp_path):
    """They are opened for the images of the split; where nothing lies is a problem."""
    write_split(tmp_path, "test", 100, each=1)
    found = examine(folder, "test", features=tmp_path / "test_ims.npy")
    assert found.problems == 0
    assert "repeated rows" not in {one.check for one in found.findings}
    nothing = examine(folder, "test", features=tmp_path / "no.npy").findings
    assert "There is nothing at" in next(one.what for one in nothing if one.level == "problem")


def test_a_sample_is_read_unless_all_is_wanted(folder):
    """Rows that are far apart, each with its neighbour; `full` reads the fault that they miss."""
    count = 1000
    rows = chosen_rows(count, full=False)
    assert len(rows) == 128
    assert {0, 1, count - 2, count - 1} <= set(rows.tolist())
    missed = next(row for row in range(count) if row not in rows)
    write(folder / "train_caps.txt", [f"a dog {row}" for row in range(count)])
    write(folder / "train_ids.txt", [f"{row}" for row in range(1000, 1000 + count)])
    values = np.random.default_rng(0).standard_normal((count, 2, 3)).astype(np.float32)
    values[missed] = np.inf
    np.save(folder / "train_ims.npy", values)
    for name in ("train_boxes.npy", "train_img_sizes.npy", "id_mapping.json", "vocab.json"):
        (folder / name).unlink()

    steps: list[int] = []
    sampled = examine(folder, "train", advance=lambda _what, done, _total: steps.append(done))
    whole = examine(folder, "train", full=True)

    assert (sampled.problems, sum(steps)) == (0, 128)
    assert "128 of 1,000 images" in next(
        one.what for one in sampled.findings if one.check == "values"
    )
    assert [str(1000 + missed) in one.what for one in whole.findings if one.level == "problem"] == [
        True
    ]


def served(found: Examination) -> set[str]:
    """The models that can read what was examined."""
    return {model.model for model in found.models if model.fits}


def test_models_that_fit_are_named(folder):
    """By the features' dimensions and boxes; without features, by the pictures."""
    assert served(examine(folder)) == set()
    wide = np.random.default_rng(0).standard_normal((IMAGES, REGIONS, 2048)).astype(np.float32)
    np.save(folder / "train_ims.npy", wide)
    with_boxes = examine(folder, "train")
    (folder / "train_boxes.npy").unlink()
    without = examine(folder, "train")
    assert {"chan-coco", "tvrn-coco"} <= served(with_boxes)
    assert "chan-f8k" not in served(with_boxes)
    assert served(with_boxes) - served(without) == {
        name for name in served(with_boxes) if name.startswith("tvrn")
    }
    why = {model.model: model.why for model in without.models}
    assert why["tvrn-coco"] == "needs region boxes, and these features have none"
    assert why["chan-f8k"] == "reads grid features of 1280 dimensions, not 2048"

    for path in folder.glob("*.npy"):
        path.unlink()
    assert served(examine(folder)) == set()
    give_pictures(folder, 6, b"picture")
    pictures = examine(folder, "test")
    assert "chan-f8k" in served(pictures)
    assert "chan-coco" not in served(pictures)


def test_the_command_prints_a_table_and_ends_with_1_for_a_problem(run, folder):
    """Sound data ends with 0; a problem is told with its place and remedy, in JSON as well."""
    status, out, _ = run("doctor", folder)
    assert status == 0
    assert out.rstrip().endswith("no problems, no warnings")

    change(folder / "train_ims.npy", (3, 1, 2), np.nan)
    status, out, _ = run("doctor", folder, "--split", "train")
    assert status == 1
    assert out.rstrip().endswith("1 problem, no warnings")
    assert "test" not in out.splitlines()[2:]

    status, out, _ = run("doctor", folder, "--json")
    said = json.loads(out)
    assert (status, said["problems"], said["splits"]) == (1, 1, ["test", "train"])
    assert {"level", "check", "place", "what", "remedy"} == set(said["findings"][0])
    assert {"model", "status", "fits", "why"} == set(said["models"][0])


@pytest.mark.parametrize("place", ["nothing", "."])
def test_a_place_without_data_is_a_problem(tmp_path, run, place):
    """Nothing there, or nothing that is known: one problem, and no traceback."""
    found = examine(tmp_path / place)
    assert [(one.level, one.check) for one in found.findings] == [("problem", "layout")]
    assert found.models == ()
    assert run("doctor", tmp_path / place)[0] == 1


def test_boxes_that_are_no_numbers_are_not_called_empty():
    """NaN is a fault of its own: to convert such boxes would not help."""
    boxes = torch.full((1, 2, 4), torch.nan)
    found = image_faults(Regions(torch.ones(1, 2, 3), torch.ones(1, 2) > 0, boxes))
    assert [name for name, rows in found.items() if rows.any()] == ["infinite"]


def test_the_machine_is_told(run):
    """What multiplies, and what the zoo makes of it; not beside data, and not nothing."""
    status, out, _ = run("doctor", "--machine", "--json")
    report = json.loads(out)

    assert status == 0
    exact = report["bfloat16 instructions"] != "none" and report["oneDNN"] == "in use"
    assert report["scoring on cpu"].startswith("exact" if exact else "float32")
    assert report["kernels on cpu"] == "torch (no CUDA device)"
    assert "bfloat16 instructions" in run("doctor", "--machine")[1]
    for words in (["doctor"], ["doctor", "data", "--machine"]):
        status, _, error = run(*words)
        assert status == 1
        assert "Give the PATH of data to look at, or --machine" in error

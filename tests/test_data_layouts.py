"""One data set in every layout opens to the same images, captions, pairs and features."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import zoo
from layout_trees import LAYOUTS, Described, annotations, dump, lines, pairs
from zoo.data.layouts import recognise
from zoo.errors import DataError, InputError

IMAGES = tuple(
    Described(
        number, tuple(f"caption {n} of {number} , it is 'so' \u201cé\u201d" for n in range(3))
    )
    for number in (7, 19, 23, 391895)
)
RAGGED = tuple(one._replace(captions=one.captions[: 1 + row % 3]) for row, one in enumerate(IMAGES))
SPLIT = {"scan": "testall", "scan_in_a_tree": "testall"}
WORDS = {
    "scan": "SCAN precomp: testall_caps.txt, testall_ids.txt",
    "scan_in_a_tree": "SCAN precomp: testall_caps.txt, testall_ids.txt",
    "karpathy": "Karpathy JSON: dataset_coco.json",
    "coco": "COCO annotations: captions_test2014.json",
    "coco_with_ids": "COCO annotations: captions_val2014.json, coco_test_ids.npy",
    "lavis": "LAVIS JSON: coco_karpathy_test.json",
    "lavis_train": "LAVIS JSON: coco_karpathy_test.json",
    "json_lines": "JSON lines: all_data_final_test_set0_2014.jsonline",
    "table": "table of pairs: captions_test.tsv",
    "tokens": "table of pairs: test.token",
    "bars": "table of pairs: results.csv",
    "commas": "table of pairs: captions.csv",
    "texts_beside_pictures": "pictures with texts: COCO_val2014_000000000007.jpg, "
    "COCO_val2014_000000000019.jpg, COCO_val2014_000000000023.jpg and 1 more",
}


def check_same(dataset, images):
    """The data set is these images with their captions."""
    assert dataset.name == "coco"
    assert dataset.image_ids == tuple(str(one.number) for one in images)
    assert dataset.captions == tuple(text for _, _, text in pairs(images))
    rows = {one.number: row for row, one in enumerate(images)}
    owners = [[rows[one.number], caption] for caption, (one, _, _) in enumerate(pairs(images))]
    assert dataset.pairs.tolist() == owners
    assert dataset.pairs.dtype == np.int64


def open_with_features(folder, name, features, repeated):
    """The tree with random features beside its captions, a row an image or a row a caption."""
    split = SPLIT.get(name, "test")
    np.save(folder / f"{split}_ims.npy", features[repeated] if name == "scan" else features)
    return zoo.open_dataset(folder, split)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_opens_to_the_same_data_set(tmp_path, name):
    """Ids, captions, pairs and features are the same, and what was recognised is told."""
    folder = LAYOUTS[name](tmp_path, IMAGES)
    features = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    dataset = open_with_features(folder, name, features, np.arange(4).repeat(3))
    check_same(dataset, IMAGES)
    assert dataset.features.rows(range(4)).features.numpy().tobytes() == features.tobytes()
    assert dataset.layout == WORDS[name]


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "scan_in_a_tree"])
def test_images_may_have_any_number_of_captions(tmp_path, name):
    """One to three captions an image, in every layout that can say so."""
    check_same(zoo.open_dataset(LAYOUTS[name](tmp_path, RAGGED), SPLIT.get(name, "test")), RAGGED)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_agree_on_real_captions(tmp_path, shared_data, name):
    """The first images of COCO's test split, with their ids and captions."""
    real = zoo.open_dataset(shared_data / "coco_precomp", "testall")
    images = sorted(
        (
            Described(int(number), real.captions_of(row))
            for row, number in enumerate(real.image_ids[:60])
        ),
    )
    check_same(zoo.open_dataset(LAYOUTS[name](tmp_path, images), SPLIT.get(name, "test")), images)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("crlf", [False, True])
def test_bytes_are_read_as_utf_8(tmp_path, monkeypatch, name, crlf):
    """In every language of a machine, with a byte-order mark, and with the line ends of Windows."""
    folder = LAYOUTS[name](tmp_path, IMAGES)
    for path in folder.iterdir():
        if path.suffix not in {".npy", ".jpg"}:
            text = path.read_bytes().replace(b"\n", b"\r\n") if crlf else path.read_bytes()
            path.write_bytes(b"\xef\xbb\xbf" + text)
    monkeypatch.setenv("LC_ALL", "C")
    check_same(zoo.open_dataset(folder, SPLIT.get(name, "test")), IMAGES)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_around_the_data_set_will_do(tmp_path, name):
    """It is found up to two levels below."""
    LAYOUTS[name](tmp_path, IMAGES)
    check_same(zoo.open_dataset(tmp_path, SPLIT.get(name, "test")), IMAGES)


def test_features_may_lie_above_the_captions(tmp_path):
    """Where these are in a folder of their own, "annotations"."""
    folder = LAYOUTS["coco"](tmp_path, IMAGES)
    np.save(folder.parent / "test_ims.npy", np.arange(24, dtype=np.float32).reshape(4, 2, 3))
    assert zoo.open_dataset(folder.parent, "test").features.ids == ("7", "19", "23", "391895")


def test_karpathys_number_of_an_image_goes_before_its_name(tmp_path):
    """Files may have other names than COCO's."""
    image = {"filename": "x.jpg", "cocoid": 9, "split": "test", "sentences": [{"raw": "one"}]}
    dump(tmp_path / "dataset_coco.json", {"images": [image]})
    assert zoo.open_dataset(tmp_path, "test").image_ids == ("9",)


def test_what_lies_beside_the_captions_is_told(tmp_path):
    """Parses and overlaps, which features do not carry, by their kind."""
    folder = LAYOUTS["scan"](tmp_path, IMAGES)
    parses = dump(folder / "testall_caps.json", [])
    lines(folder / "test_caps.json", ["of another split"])
    assert zoo.open_dataset(folder, "testall").side_files == {"parses": parses}


def test_pictures_are_found_where_the_field_puts_them(tmp_path):
    """In an images folder, with or without its inner folders, or beside the captions."""
    for number, (name, place) in enumerate(
        [
            ("karpathy", "images/val2014"),
            ("lavis", "val2014"),
            ("coco", "images"),
            ("coco_with_ids", "images/val2014"),
            ("scan_in_a_tree", "images/val2014"),
            ("tokens", "."),
        ]
    ):
        folder = LAYOUTS[name](tmp_path / str(number), IMAGES)
        pictures = tmp_path / str(number) / "coco" / place
        pictures.mkdir(parents=True, exist_ok=True)
        for one in IMAGES:
            (pictures / one.name).write_bytes(b"some bytes")
        paths = zoo.open_dataset(folder, SPLIT.get(name, "test")).image_paths
        assert paths is not None, name
        assert [path.resolve() for path in paths] == [
            pictures.resolve() / one.name for one in IMAGES
        ]


def test_pictures_of_lavis_have_the_folder_in_their_names(tmp_path):
    """Which may be there once or twice."""
    lines(tmp_path / "flickr30k/images/flickr30k-images/1.jpg", ["x"])
    dump(
        tmp_path / "flickr30k/annotations/test.json",
        [{"image": "flickr30k-images/1.jpg", "caption": ["one"]}],
    )
    dataset = zoo.open_dataset(tmp_path / "flickr30k", "test")
    assert dataset.name == "f30k"
    assert dataset.image_paths == (tmp_path / "flickr30k/images/flickr30k-images/1.jpg",)


# ------------------------------------------------------------------------------- splits and choices


def test_caption_ids_make_restval_part_of_train(tmp_path):
    """VSE++'s ids take captions out of both annotation files; dev is what is in its file."""
    first, second = annotations(IMAGES[:2]), annotations(IMAGES[2:])
    for one in second["annotations"]:
        one["id"] += 50000
    dump(tmp_path / "captions_train2014.json", first)
    dump(tmp_path / "captions_val2014.json", second)
    for name, ids in {"train": [8999, 9000], "restval": [59000], "dev": [58999, 58998]}.items():
        np.save(tmp_path / f"coco_{name}_ids.npy", np.array(ids))
    train, dev = (zoo.open_dataset(tmp_path, split) for split in ("train", "dev"))
    assert train.image_ids == ("7", "23")
    assert train.captions == (*IMAGES[0].captions[1::-1], IMAGES[2].captions[0])
    assert dev.captions == IMAGES[2].captions[1:]
    assert set(recognise(tmp_path).splits) == {"train", "dev"}


def test_annotations_of_several_years_keep_their_years(tmp_path):
    """Where "val" would mean two files, it means none."""
    for year in (2014, 2017):
        dump(tmp_path / f"captions_val{year}.json", annotations(IMAGES))
    assert zoo.open_dataset(tmp_path, "val2017").captions
    with pytest.raises(InputError, match=r"no split 'val'\. Choose one of val2014, val2017"):
        zoo.open_dataset(tmp_path, "val")


@pytest.mark.parametrize("name", ["karpathy", "coco", "coco_with_ids", "lavis"])
def test_the_whole_test_split_of_coco_has_two_names(tmp_path, name):
    """SCAN's layout says "testall" for what the others call "test"."""
    folder = LAYOUTS[name](tmp_path, IMAGES)
    both = [zoo.open_dataset(folder, split).fingerprint for split in ("test", "testall")]
    assert both[0] == both[1]


def test_files_without_a_split_are_all(tmp_path):
    """The message says so to those who ask for another."""
    lines(tmp_path / "pairs.csv", ["image,caption", "a.jpg,one"])
    assert zoo.open_dataset(tmp_path, "all").captions == ("one",)
    with pytest.raises(InputError, match=r"no split 'test'\. Choose one of all"):
        zoo.open_dataset(tmp_path, "test")


def test_noisy_pairs_have_one_caption_an_image(tmp_path):
    """NCR's cc152k: an id and a caption a line, and as many rows of features."""
    folder = tmp_path / "cc152k_precomp"
    lines(folder / "dev_caps.tsv", ["31\tone of them", "7\tand another"])
    lines(folder / "train_caps.tsv", ["5\tof no interest"])
    np.save(folder / "dev_ims.npy", np.arange(12, dtype=np.float32).reshape(2, 2, 3))
    dataset = zoo.open_dataset(folder, "dev")
    assert dataset.name == "cc152k"
    assert dataset.image_ids == ("31", "7")
    assert dataset.pairs.tolist() == [[0, 0], [1, 1]]
    assert dataset.features.rows([1]).features[0, 0].tolist() == [6, 7, 8]


def test_flickr8k_as_it_is_distributed(tmp_path):
    """Tokens in one file, and a list of pictures a split, whose order counts."""
    rows = [f"{name}.jpg#{n}\t{name} {n}" for name in "abc" for n in range(2)]
    lines(tmp_path / "Flickr8k.token.txt", rows)
    lines(tmp_path / "Flickr8k.lemma.token.txt", rows)
    lines(tmp_path / "CrowdFlowerAnnotations.txt", ["a.jpg\tb.jpg#2\t0.5\t1\t2"])
    lines(tmp_path / "readme.txt", ["Some words, and more of them.", "a b"])
    lines(tmp_path / "Flickr_8k.trainImages.txt", ["b.jpg"])
    lines(tmp_path / "Flickr_8k.testImages.txt", ["c.jpg", "a.jpg"])
    dataset = zoo.open_dataset(tmp_path, "test")
    assert dataset.name == "f8k"
    assert dataset.image_ids == ("c.jpg", "a.jpg")
    assert dataset.captions == ("c 0", "c 1", "a 0", "a 1")
    assert set(recognise(tmp_path).splits) == {"train", "test"}


def test_folders_may_be_splits(tmp_path):
    """A table in "Train" is of train, and one in "validation" of dev."""
    for folder, text in {"Train": "one", "validation": "two"}.items():
        lines(tmp_path / folder / "metadata.csv", ["file_name,text", f"a.jpg,{text}"])
    assert zoo.open_dataset(tmp_path, "train").captions == ("one",)
    assert zoo.open_dataset(tmp_path, "dev").captions == ("two",)
    dump(tmp_path / "test/metadata.jsonl", {"file_name": "a.jpg", "text": "three"})
    assert zoo.open_dataset(tmp_path, "test").captions == ("three",)


def test_pictures_of_one_name_are_not_mixed_up(tmp_path):
    """Without the folders that tell them apart, neither picture nor features are found."""
    lines(tmp_path / "test.tsv", ["a/1.jpg\tone caption", "b/1.jpg\tanother caption"])
    lines(tmp_path / "images/1.jpg", ["x"])
    (tmp_path / "some features").mkdir()
    np.save(tmp_path / "some features/1.npy", np.ones((2, 8), np.float32))
    with pytest.raises(DataError, match="2 of 2 images have no features"):
        zoo.open_dataset(tmp_path, "test")
    (tmp_path / "some features/1.npy").unlink()
    with pytest.raises(DataError, match="2 of 2 pictures are not there"):
        zoo.open_dataset(tmp_path, "test")


def test_what_is_hidden_or_closed_is_passed_by(tmp_path, monkeypatch):
    """Copies that a system makes under hidden names, and folders that may not be read."""
    LAYOUTS["tokens"](tmp_path, IMAGES)
    (tmp_path / "coco/._test.token").write_bytes(b"\x00\x05\x16\x07")
    LAYOUTS["scan"](tmp_path / ".hidden", IMAGES)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def guarded(folder):
        if Path(folder).name == "closed":
            raise PermissionError(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    assert recognise(tmp_path).words() == "table of pairs: test.token"


def test_two_layouts_in_one_folder_have_an_order(tmp_path):
    """The first that has the split counts, unless a file is given."""
    LAYOUTS["karpathy"](tmp_path, IMAGES)
    folder = LAYOUTS["lavis"](tmp_path, IMAGES).parent
    assert zoo.open_dataset(folder, "test").layout.startswith("Karpathy")
    table = lines(folder / "captions_test.tsv", ["a.jpg\tof no interest"])
    assert zoo.open_dataset(table, "test").captions == ("of no interest",)
    file = folder / "annotations/coco_karpathy_test.json"
    assert zoo.open_dataset(file, "test").layout.startswith("LAVIS")
    check_same(zoo.open_dataset(file, "test"), IMAGES)


@pytest.mark.parametrize(
    ("first", "second", "choices"),
    [
        ("a/dataset_a.json", "a/dataset_b.json", r"a/dataset_a\.json, .*a/dataset_b\.json"),
        ("a/dataset_a.json", "b/dataset_b.json", r"/a, .*/b\."),
        ("a/precomp/dataset_a.json", "b/annotations/dataset_b.json", r"/a, .*/b\."),
    ],
)
def test_several_data_sets_are_not_guessed_between(tmp_path, first, second, choices):
    """The message lists what to give instead."""
    for name in (first, second):
        dump(tmp_path / name, {"images": [{"split": "test"}]})
    with pytest.raises(InputError, match=f"more than one data set. Give one of .*{choices}"):
        zoo.open_dataset(tmp_path, "test")


# ----------------------------------------------------------------------------------- many to many


def test_a_caption_may_describe_several_images(tmp_path):
    """Rows of one caption id are one caption; the map, its blocks and the first image are told."""
    rows = ["image,caption,caption_id", "a,both,1", "b,other,2", "b,both,1", "b,own,3", "c,other,2"]
    lines(tmp_path / "test.csv", rows)
    dataset = zoo.open_dataset(tmp_path, "test")
    assert dataset.captions == ("both", "other", "own")
    assert dataset.pairs.tolist() == [[0, 0], [1, 0], [1, 1], [2, 1], [1, 2]]
    assert dataset.caption_images.tolist() == [0, 1, 1]
    assert dataset.matches().tolist() == [[1, 0, 0], [1, 1, 1], [0, 1, 0]]
    assert dataset.matches([2, 1, 1], [2, 1]).tolist() == [[0, 1], [1, 1], [1, 1]]
    assert dataset.captions_of(1) == ("both", "other", "own")


def test_equal_texts_are_captions_of_their_own(tmp_path):
    """Without ids nothing tells that two lines are one caption."""
    lines(tmp_path / "test.tsv", ["a.jpg\tthe same text", "b.jpg\tthe same text"])
    assert zoo.open_dataset(tmp_path, "test").pairs.tolist() == [[0, 0], [1, 1]]


def test_the_fingerprint_follows_every_pair(tmp_path):
    """Another image of a caption is another data set, though its first image is the same."""
    prints = set()
    for number, rows in enumerate((["a,both,1", "b,own,2"], ["a,both,1", "b,own,2", "b,both,1"])):
        lines(tmp_path / str(number) / "test.csv", ["image,caption,caption_id", *rows])
        prints.add(zoo.open_dataset(tmp_path / str(number), "test").fingerprint)
    assert len(prints) == 2


# ------------------------------------------------------------------------------------------ traps


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test_obj36.tsv", "9\t640\t480\t36\tAAAA BBBB\tCCCC"),  # bottom-up attention
        ("test.features.tsv", '9\t{"num_boxes": 2, "features": "AAAA"}'),  # VinVL
        ("test.label.tsv", '9\t[{"class": "dog", "rect": [1, 2]}]'),
        ("train_tags.txt", "dog, cat, tree"),
        ("test.tsv", "9\t" + "AAAA BBBB " * 7_000),
        ("coco_vocab.json", '{"word2idx": {"image": 1, "caption": 2}}'),
        ("test_caps.json", '[{"word": "dog", "head": 2}]'),
        ("f30k_train.jsonl", '{"text": "a caption of no image"}'),
    ],
)
def test_other_files_are_no_captions(tmp_path, name, content):
    """Features, tags, vocabularies and parses that lie beside them are left alone."""
    lines(tmp_path / name, [content])
    with pytest.raises(InputError, match="no data set that is known"):
        zoo.open_dataset(tmp_path, "test")


@pytest.mark.parametrize(
    ("rows", "captions"),
    [
        (['a.jpg\t"so" it is', 'b.jpg\t" alone'], ('"so" it is', '" alone')),
        (['a.jpg\t"one ""two"""', 'b.jpg\t"no" "no"'], ('one "two"', '"no" "no"')),
        (["image,caption", "a.jpg,one , two", 'b.jpg,"one , two"'], ("one , two", "one , two")),
        (
            ["image_name| comment_number| comment", "a.jpg| 3| one", "a.jpg| 4   A dog ."],
            ("one", "A dog ."),
        ),
        (["image\tcaption", "a.jpg\tone", "", "b.jpg\ttwo"], ("one", "two")),
        (["a.jpg\tdog", "b.jpg\ttwo dogs"], ("dog", "two dogs")),
    ],
)
def test_tables_are_read_as_they_are_in_the_field(tmp_path, rows, captions):
    """Quotes that mean themselves, commas without quotes, and Flickr30K's row without its bar."""
    lines(tmp_path / "test.csv", rows)
    assert zoo.open_dataset(tmp_path, "test").captions == captions


KARPATHYS = '{"filename": "a", "split": "test", "sentences": [{"raw": "b"}]}'


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("test.csv", ["image,caption", "a.jpg"], r"Row 1 of .*test\.csv has 1 cells and not 2"),
        ("test.csv", ["image,caption", "a.jpg,"], "has '' as a caption of a.jpg"),
        (
            "test.csv",
            ["image,caption,caption_id", "a,one,1", "b,two,1"],
            "has 'two' as a caption of b, and 'one' under the same id",
        ),
        ("test.csv", ["image,caption"], "lists no caption"),
        ("test.csv", ["caption,image", "a dog, running,1.jpg"], "Row 1 .* 3 cells and not 2"),
        ("test.csv", ["image,caption", '1.jpg,"a dog', "2.jpg,a cat"], r"test\.csv .* quotes"),
        ("test.csv", ["image,caption", '1.jpg,"a" dog', "2.jpg,a cat"], r"test\.csv .* quotes"),
        ("test.jsonl", ['{"image": "a", "caption": "b"}', "{"], "Line 2 of .* is not JSON"),
        ("test.jsonl", ['{"image": "a", "caption": "b"}', "{}"], "Record 2 of .* has no image"),
        ("test.json", ['[{"image": "a", "caption": "b"}, 3]'], "Record 2 of .* has no image"),
        ("test.json", ['[{"image": "a", "caption": "b"}, '], r"test\.json is not JSON"),
        ("captions_test.json", ['{"images": 3}'], "no captions as COCO's annotations"),
        ("test_caps.txt", [], "0 captions and 0 ids in test"),
        (
            "dataset_x.json",
            ['{"images": [{"filename": "a", "split": "test", "sentences": [{"raw": " "}]}]}'],
            "has '' as a caption of a",
        ),
        (
            "dataset_x.json",
            [f'{{"images": [{", ".join(2 * [KARPATHYS])}]}}'],
            "lists the image a more than once",
        ),
        ("test.json", ['[{"image": null, "caption": "b"}]'], "Record 1 of .* has no image"),
        ("test.json", ['[{"image": "a", "caption": [["b"]]}]'], "Record 1 of .* has no image"),
        ("test.json", ['[{"image": "a", "caption": null}]'], "Record 1 of .* has no image"),
        (
            "captions_test.json",
            ['{"images": [{"id": 1}], "annotations": [{"image_id": 1, "id": 2, "caption": null}]}'],
            "no captions as COCO's annotations",
        ),
    ],
)
def test_damage_is_named(tmp_path, name, rows, message):
    """With the file, and the row where there are rows."""
    lines(tmp_path / name, rows)
    lines(tmp_path / "test_ids.txt", [])
    with pytest.raises(DataError, match=message):
        zoo.open_dataset(tmp_path, "test")


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (np.array([9000, 3]), r"1 of 2 captions of .*coco_test_ids\.npy are in no captions_"),
        (np.array([[9000]]), r"coco_test_ids\.npy holds no list of caption ids"),
        (np.array([9000.0]), r"coco_test_ids\.npy holds no list of caption ids"),
    ],
)
def test_caption_ids_must_be_those_of_captions(tmp_path, ids, message):
    """One that is in no file, and what is no list of numbers, is named."""
    folder = LAYOUTS["coco_with_ids"](tmp_path, IMAGES)
    np.save(folder / "coco_test_ids.npy", ids)
    with pytest.raises(DataError, match=message):
        zoo.open_dataset(folder, "test")


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def test_caption_ids_are_not_unpickled(tmp_path):
    """A file of objects could run anything."""
    folder = LAYOUTS["coco_with_ids"](tmp_path, IMAGES)
    np.save(folder / "coco_test_ids.npy", np.array([Trap(tmp_path / "mark")]), allow_pickle=True)
    with pytest.raises(DataError, match=r"coco_test_ids\.npy holds no list of caption ids"):
        zoo.open_dataset(folder, "test")
    assert not (tmp_path / "mark").exists()


def test_a_split_that_karpathys_file_lacks_is_the_users_choice(tmp_path):
    """The file is not damaged."""
    lines(tmp_path / "dataset_x.json", ['{"images": []}'])
    with pytest.raises(InputError, match="lists no image of test"):
        zoo.open_dataset(tmp_path, "test")


def test_records_without_a_caption_are_no_layout(tmp_path):
    """A list of pictures alone says nothing of texts."""
    dump(tmp_path / "test.json", [{"image": "a.jpg"}])
    lines(tmp_path / "test.jsonl", [json.dumps({"image": "a.jpg"})])
    with pytest.raises(InputError, match="no data set that is known"):
        recognise(tmp_path)

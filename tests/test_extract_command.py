"""`zoo extract` and `zoo merge-features`: what is extracted, by what, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from zoo.cli.pictures import in_order, list_photos, read_list
from zoo.data.shards import Shard
from zoo.data.store import FeatureStore, Index
from zoo.errors import InputError
from zoo.vision.grid import GridExtractor


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch) -> Path:
    """A folder with five photographs in and below it, seen from the folder above."""
    folder = tmp_path / "photos"
    for number, place in enumerate(["a.jpg", "b/c.PNG", "b/d/e.jpg", "b-2/f.jpg", "g.jpg"]):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30 + number)).save(folder / place)
    monkeypatch.chdir(tmp_path)
    return Path("photos")


IDS = ("a.jpg", "b-2/f.jpg", "b/c.PNG", "b/d/e.jpg", "g.jpg")


@pytest.fixture
def extract(run, model_folder):
    """Runs `zoo extract` with a small model."""
    return lambda *arguments: run("extract", "--model", model_folder, *arguments)


def test_photographs_below_folders_are_found(extract, photos):
    """In the order of their paths; other files, and hidden ones, are left where they are."""
    for place in ("notes.txt", "b/._e.jpg", ".thumbnails/a.jpg"):
        (photos / place).parent.mkdir(exist_ok=True)
        (photos / place).write_text("no picture")
    status, out, _ = extract(photos, "-o", "store", "--strict")

    assert status == 0
    assert "5 extracted" in out
    assert FeatureStore.open("store").ids == IDS


def test_links_to_folders_are_followed_once(photos):
    """Also where a link leads to a folder above it."""
    (photos / "b" / "up").symlink_to(photos.absolute())
    (photos.parent / "other").symlink_to(photos.absolute())

    assert len(list_photos([Path("other")])) == 5


def test_a_list_names_what_is_extracted(extract):
    """One path a line; order and doubles do not matter, nor does a mark at the beginning."""
    lines = [f"photos/{image}" for image in (*IDS[::-1], IDS[2])]
    Path("list.txt").write_bytes("\ufeff".encode() + "\r\n".join([*lines, ""]).encode())
    status, _, _ = extract("--list", "list.txt", "-o", "store")

    assert status == 0
    assert FeatureStore.open("store").ids == IDS


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\n\n", "names no photographs"),
        (b"caf\xe9.jpg\n", "cannot be read as a list"),
        (b"gone/1.jpg\ngone/2.jpg\n", "None of 2 photographs is there; the first is gone/1.jpg"),
    ],
)
def test_a_list_that_leads_nowhere_is_an_error(extract, content, said):
    """And nothing is written."""
    Path("list.txt").write_bytes(content)
    status, _, err = extract("--list", "list.txt", "-o", "store")

    assert status == 1
    assert said in err
    assert not Path("store").exists()


def test_nothing_to_extract_is_an_error(extract):
    """The message says what to name."""
    status, _, err = extract("-o", "store")

    assert status == 1
    assert "Name photographs or folders, or --list FILE" in err


def test_missing_files_of_a_list_are_skipped(extract):
    """As long as others are there; the store lists them with the reason."""
    Path("list.txt").write_text("photos/a.jpg\nphotos/gone.jpg\nphotos/g.jpg\n")
    status, out, err = extract("--list", "list.txt", "-o", "store")
    name, reason = Path("store/skipped.tsv").read_text().strip().split("\t")

    assert status == 0
    assert "2 extracted, 0 kept from before, 1 skipped" in out
    assert "1 skipped in all: store/skipped.tsv lists them" in err
    assert name == "gone.jpg"
    assert "cannot be opened (No such file or directory)" in reason


def test_parts_and_their_merge_give_the_store_of_all(extract, run):
    """Byte by byte; and the merge says what it did, also as JSON."""
    options = ("photos", "--shard-rows", "2", "--batch-size", "1")
    extract(*options, "-o", "whole")
    for number in (1, 2):
        status, out, _ = extract(*options, "-o", f"part{number}", "--part", f"{number}/2", "--json")
        assert status == 0
        assert json.loads(out)["extracted"] == (2, 3)[number - 1]
    status, out, _ = run("merge-features", "merged", "part1", "part2", "--json")
    again = run("merge-features", "merged", "part1", "part2")

    assert status == 0
    assert json.loads(out)["images"] == 5
    assert json.loads(out)["fingerprint"] == FeatureStore.open("whole").fingerprint
    assert "5 images of 2 parts, 0 skipped" in again[1]
    for path in Path("whole").iterdir():
        assert (Path("merged") / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("3", "--part is '3'. Write it as in 3/16"),
        ("0/2", "There is no part 0 of 2"),
        ("1/9", "5 images in 1 shards of 512 cannot be cut into 9 parts"),
    ],
)
def test_a_part_that_is_none_is_refused(extract, part, said):
    """By what is wrong with it, and nothing is written."""
    status, _, err = extract("photos", "-o", "store", "--part", part)

    assert status == 1
    assert said in err
    assert not Path("store").exists()


def test_features_can_be_stored_whole(extract):
    """--dtype fp32 keeps float32, by default it is float16."""
    extract("photos", "-o", "half")
    extract("photos", "-o", "whole", "--dtype", "fp32")

    assert Index.read(Path("half")).plan.dtype == "float16"
    assert Index.read(Path("whole")).plan.dtype == "float32"
    assert Shard(Path("whole/00000.safetensors")).places["features"].dtype == "float32"


def test_the_record_is_json_on_request(extract, photos):
    """What a program needs to go on: counts, reasons by id, and the fingerprint."""
    (photos / "bad.jpg").write_text("no picture")
    status, out, _ = extract("photos", "-o", "store", "--json")
    record = json.loads(out)

    assert status == 0
    assert (record["folder"], record["extracted"], record["kept"]) == ("store", 5, 0)
    assert list(record["skipped"]) == ["bad.jpg"]
    assert record["fingerprint"] == FeatureStore.open("store").fingerprint


class TestExtractors:
    """`--extractor`."""

    def test_a_registered_one_takes_settings_and_weights(self, run, monkeypatch):
        """The grid of smaller pictures, whose weights come from a file of the form it knows."""
        taken = []
        monkeypatch.setattr(GridExtractor, "load_initial", lambda _, path: taken.append(path))
        options = ("--extractor", "grid", "--set", "size=128", "-o", "store")
        status, _, err = run("extract", "photos", *options, "--weights", "net.npz")

        assert status == 0, err
        assert taken == [Path("net.npz")]
        assert FeatureStore.open("store").regions == 9
        assert Index.read(Path("store")).plan.extractor["settings"] == "size=128"

    def test_a_registered_one_without_weights_is_refused(self, run):
        """Features of random weights would mean nothing."""
        status, _, err = run("extract", "photos", "--extractor", "grid", "-o", "store")

        assert status == 1
        assert "'grid' comes without weights. Give a file of them with --weights" in err

    def test_a_network_of_transformers_is_named_by_its_folder(self, run):
        """Its settings are given like those of a registered one, and stand in the store."""
        transformers = pytest.importorskip("transformers")
        config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1])
        transformers.ResNetModel(config).save_pretrained("nets/small")
        colours = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 32}
        Path("nets/small/preprocessor_config.json").write_text(json.dumps(colours))
        options = ("--extractor", "nets/small", "--set", "regions=4", "-o", "store")
        status, _, err = run("extract", "photos", *options)

        assert status == 0, err
        assert FeatureStore.open("store").regions == 4
        assert Index.read(Path("store")).plan.extractor["settings"].startswith("small, regions=4,")

    def test_a_name_that_is_none_suggests_the_nearest(self, run):
        """And says how a network of transformers is named."""
        status, _, err = run("extract", "photos", "--extractor", "gird", "-o", "store")

        assert status == 1
        assert "No extractor is called 'gird'. Did you mean 'grid'?" in err
        assert "A transformers model is named as ORGANISATION/NAME, or by its folder." in err

    @pytest.mark.parametrize("option", [("--set", "size=9"), ("--weights", "x")])
    def test_settings_need_an_extractor(self, extract, option):
        """Of a model's own nothing can be set."""
        status, _, err = extract("photos", "-o", "store", *option)

        assert status == 1
        assert "Name it with --extractor" in err


def test_order_is_that_of_whole_paths():
    """However a path is written, and each once."""
    given = [Path("photos/b/../g.jpg"), Path("photos/g.jpg"), Path("photos/a.jpg")]

    assert in_order(given) == [Path("photos/a.jpg"), Path("photos/g.jpg")]


def test_spaces_belong_to_a_path(tmp_path):
    """Only the end of the line does not."""
    (tmp_path / "list.txt").write_text(" a b .jpg\n\nc.jpg")

    assert read_list(tmp_path / "list.txt") == [Path(" a b .jpg"), Path("c.jpg")]


def test_a_folder_without_photographs_is_named(tmp_path):
    """With the endings that are looked for."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty holds no photographs.*\.jpeg"):
        list_photos([tmp_path / "empty"])

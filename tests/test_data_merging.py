"""Parts of a store: how a list is cut, and that nothing is joined that does not belong together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from zoo.batch import Regions
from zoo.data.merging import cut, merge
from zoo.data.store import INDEX, FeatureStore, Plan
from zoo.data.writer import StoreWriter
from zoo.errors import DataError, InputError

IDS = tuple(f"{number}.jpg" for number in range(11))


def regions(rows) -> Regions:
    """Features that tell which image they are of."""
    features = torch.tensor(list(rows)).float()[:, None, None].expand(-1, 2, 3)
    return Regions(features, torch.ones(len(rows), 2, dtype=torch.bool))


def store(folder: Path, number: int = 1, of: int = 1, ids=IDS, **plan) -> Path:
    """One part of a store of `ids`, two images a shard; all of it where there is one part."""
    rows, part = cut(ids, number, of, 2)
    own = ids[rows.start : rows.stop]
    given = {"ids": own, "sizes": tuple(range(len(own))), "part": part if of > 1 else None, **plan}
    writer = StoreWriter(folder, Plan(shard_rows=2, **given))
    for shard, inside in writer.unfinished():
        writer.write(shard, regions([rows[row] for row in inside]))
    writer.finish()
    return folder


@pytest.fixture
def parts(tmp_path) -> list[Path]:
    """Three parts of one store."""
    return [store(tmp_path / f"part{number}", number, 3) for number in (1, 2, 3)]


@given(images=st.integers(1, 200), of=st.integers(1, 20), shard_rows=st.integers(1, 30))
def test_parts_are_runs_of_whole_shards_that_tile_the_list(images, of, shard_rows):
    """In order, without overlap, as equal as shards allow; more parts than shards are refused."""
    ids = [str(number) for number in range(images)]
    shards = -(-images // shard_rows)
    if of > shards:
        with pytest.raises(InputError, match=f"Make {shards} parts at most"):
            cut(ids, 1, of, shard_rows)
        return
    rows = [cut(ids, number, of, shard_rows)[0] for number in range(1, of + 1)]
    assert [row for part in rows for row in part] == list(range(images))
    assert all(part.start % shard_rows == 0 for part in rows)
    lengths = [-(-len(part) // shard_rows) for part in rows]
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("number", [0, 4])
def test_a_part_that_is_not_there_is_refused(number):
    """Parts are numbered from one."""
    with pytest.raises(InputError, match=f"no part {number} of 3"):
        cut(IDS, number, 3, 2)


def test_joined_rows_are_those_of_their_images(parts, tmp_path):
    """In the order of the list, and with the sizes of files that each part saw."""
    told = []
    merged = merge(parts[::-1], tmp_path / "out", lambda done, total: told.append((done, total)))
    assert merged.ids == IDS
    assert merged.rows(range(11)).features[:, 0, 0].tolist() == list(range(11))
    assert sum(done for done, _ in told) == 6
    assert {total for _, total in told} == {6}
    sizes = json.loads((tmp_path / "out" / INDEX).read_text())["plan"]["sizes"]
    assert sizes == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]


def test_joined_shards_outlive_the_parts(parts, tmp_path):
    """Which can be deleted: on one disk they are links, on another copies."""
    merge(parts, tmp_path / "out")
    for part in parts:
        for file in part.iterdir():
            file.unlink()
    assert len(FeatureStore.open(tmp_path / "out").rows(range(11))) == 11


def test_shards_are_copied_where_they_cannot_be_linked(parts, tmp_path, monkeypatch):
    """As between two disks."""

    def refuse(*_):
        raise OSError("another disk")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    merged = merge(parts, tmp_path / "out")
    assert merged.rows([10]).features[0, 0, 0] == 10
    assert (tmp_path / "out" / "00000.safetensors").stat().st_nlink == 1


def test_a_merge_that_stopped_goes_on(parts, tmp_path, monkeypatch):
    """What was joined stays, and only the rest is joined."""
    adopt = StoreWriter.adopt

    def stop(writer, number, shard):
        if number == 3:
            raise KeyboardInterrupt
        adopt(writer, number, shard)

    monkeypatch.setattr(StoreWriter, "adopt", stop)
    with pytest.raises(KeyboardInterrupt):
        merge(parts, tmp_path / "out")
    monkeypatch.setattr(StoreWriter, "adopt", adopt)
    told = []
    merged = merge(parts, tmp_path / "out", lambda done, _: told.append(done))
    assert merged.ids == IDS
    assert told == [3, 1, 1, 1]


def test_missing_parts_are_named(parts, tmp_path):
    """All of them, and nothing is written."""
    with pytest.raises(DataError, match=r"2 of 3 parts are missing: 1/3, 3/3"):
        merge(parts[1:2], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_part_that_is_given_twice_is_named(parts, tmp_path):
    """Both folders are."""
    again = store(tmp_path / "again", 2, 3)
    with pytest.raises(DataError, match=r"part2 and .*again are both part 2 of 3"):
        merge([*parts, again], tmp_path / "out")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"weights": "other"}, "weights"),
        ({"extractor": {"type": "other"}}, "settings of the extractor"),
        ({"dtype": "float32"}, "dtype"),
        ({"ids": IDS[:10]}, "list of images"),
        ({"ids": ("0.png", *IDS[1:])}, "list of images"),
    ],
)
def test_a_part_of_another_plan_is_refused(parts, tmp_path, changed, words):
    """By what differs; also where only an image of another part is another one."""
    ids = changed.pop("ids", IDS)
    other = store(tmp_path / "other", 3, 3, ids, **changed)
    with pytest.raises(DataError, match=f"they differ in {words}\\."):
        merge([*parts[:2], other], tmp_path / "out")


def test_a_part_of_another_number_of_parts_is_refused(parts, tmp_path):
    """Though it is of the same list."""
    with pytest.raises(DataError, match="they differ in number of parts"):
        merge([parts[0], store(tmp_path / "half", 2, 2)], tmp_path / "out")


def test_a_whole_store_is_no_part(parts, tmp_path):
    """It has nothing to be joined with."""
    with pytest.raises(DataError, match="is no part: its store is of a whole list"):
        merge([*parts, store(tmp_path / "whole")], tmp_path / "out")


def test_a_part_that_is_not_finished_is_refused(parts, tmp_path):
    """The message says that the same command goes on."""
    rows, part = cut(IDS, 2, 3, 2)
    ids = IDS[rows.start : rows.stop]
    StoreWriter(tmp_path / "begun", Plan(ids=ids, shard_rows=2, part=part))
    with pytest.raises(DataError, match="begun is not complete"):
        merge([parts[0], tmp_path / "begun", parts[2]], tmp_path / "out")


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_damaged_shard_is_not_joined(parts, tmp_path, damage):
    """The file is named."""
    shard = parts[1] / "00001.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content) if damage == "flip" else shard.unlink()
    with pytest.raises(DataError, match=r"00001\.safetensors is missing or not as it was written"):
        merge(parts, tmp_path / "out")


def test_a_part_can_be_read_on_its_own(parts):
    """It is a store of its images."""
    part = FeatureStore.open(parts[2])
    assert part.ids == IDS[8:]
    assert part.rows([0]).features[0, 0, 0] == 8

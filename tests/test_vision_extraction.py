"""Extraction: the same features however often it was interrupted, and bad files told apart."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.batch import Photos, Regions
from zoo.data.merging import merge
from zoo.data.store import FeatureStore
from zoo.errors import DataError, InputError
from zoo.interfaces import Extractor
from zoo.vision.extraction import extract, photo_ids, weights_fingerprint
from zoo.vision.grid import GridExtractor
from zoo.vision.photos import open_photo

COUNT = 60

RUN = """
import sys, time
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[3])
from test_vision_extraction import Corners
from zoo.vision.extraction import extract
torch.manual_seed(0)
extractor = Corners(delay=float(sys.argv[4]))
images = sorted(Path(sys.argv[1]).iterdir())
print("started", flush=True)
extract(images, Path(sys.argv[2]), extractor, batch_size=3, shard_rows=7, workers=4)
print("finished", flush=True)
"""


class Corners(Extractor):
    """Two regions, the corners of a picture, through a layer with weights."""

    def __init__(self, delay: float = 0.0) -> None:
        super().__init__()
        self.layer, self.delay = torch.nn.Linear(3, 5), delay
        self.dropout = torch.nn.Dropout(0.5)

    def prepare(self, items, noise=None):
        """Four by four pixels of each picture."""
        del noise
        photos = [open_photo(item) for item in items]
        pixels = np.stack([np.asarray(photo.resize((4, 4))) for photo in photos])
        sizes = torch.tensor([photo.size for photo in photos])
        return Photos(torch.from_numpy(pixels).permute(0, 3, 1, 2), sizes)

    def forward(self, batch):
        """Two corner pixels, (images, 2, 5)."""
        time.sleep(self.delay)
        corners = batch.pixels[:, :, [0, -1], [0, -1]].transpose(1, 2).float()
        return Regions(
            self.dropout(self.layer(corners)), torch.ones(len(batch), 2, dtype=torch.bool)
        )


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Small pictures of many colours."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    return sorted(folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_rows_are_the_features_of_the_photographs(tmp_path, photos):
    """Row n is what the extractor gives for picture n alone, to float16."""
    extractor = Corners()
    done = []
    summary = extract(
        photos,
        tmp_path / "out",
        extractor,
        advance=lambda count, total: done.append((count, total)),
        shard_rows=16,
    )
    store = FeatureStore.open(tmp_path / "out")
    assert (summary.extracted, summary.kept, summary.skipped) == (COUNT, 0, {})
    assert summary.fingerprint == store.fingerprint
    assert store.ids == tuple(path.name for path in photos)
    assert sum(count for count, _ in done) == COUNT
    assert {total for _, total in done} == {COUNT}
    extractor.eval()
    expected = torch.cat([extractor(extractor.prepare([path])).features for path in photos])
    assert torch.allclose(store.rows(range(COUNT)).features, expected, rtol=1e-3, atol=1e-3)


def test_a_grid_extractor_keeps_boxes(tmp_path, photos):
    """Through the store, boxes and sizes are exact and features the same to float16."""
    extractor = GridExtractor(size=128).eval()
    extract(photos[:2], tmp_path / "out", extractor)
    read = FeatureStore.open(tmp_path / "out").rows([0, 1])
    with torch.no_grad():
        fresh = extractor(extractor.prepare(photos[:2]))
    assert torch.equal(read.boxes, fresh.boxes)
    assert torch.equal(read.sizes, fresh.sizes)
    assert torch.allclose(read.features, fresh.features, rtol=1e-3, atol=1e-3)


def test_a_finished_store_is_not_made_again(tmp_path, photos):
    """The second run extracts nothing and changes no byte."""
    torch.manual_seed(0)
    extract(photos, tmp_path / "out", Corners())
    before = contents(tmp_path / "out")
    torch.manual_seed(0)
    summary = extract(photos, tmp_path / "out", Corners())
    assert (summary.extracted, summary.kept) == (0, COUNT)
    assert contents(tmp_path / "out") == before


def start_extraction(photos, out, delay):
    """A process that extracts, `delay` seconds a batch of three, and has begun to."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(photos[0].parent), str(out), Path(__file__).parent, delay],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout.readline() == "started\n"
    return process


def test_killed_runs_end_in_the_same_bytes(tmp_path, photos):
    """Killed at random moments, again and again, the store ends as that of a run without a kill."""
    torch.manual_seed(0)
    extract(photos, tmp_path / "whole", Corners(), batch_size=3, shard_rows=7)
    out, chance = tmp_path / "out", random.Random(0)
    for _ in range(3):
        with start_extraction(photos, out, delay="0.25") as process:  # five seconds in all
            time.sleep(chance.uniform(0.3, 1.5))
            process.send_signal(signal.SIGKILL)
        for shard in out.glob("*.safetensors"):
            assert shard.read_bytes() == (tmp_path / "whole" / shard.name).read_bytes()
    with start_extraction(photos, out, delay="0") as process:
        assert process.stdout.read() == "finished\n"
    assert contents(out) == contents(tmp_path / "whole")


def test_reading_runs_two_batches_ahead_at_most(tmp_path, photos):
    """However slow the extractor is, decoded photographs do not pile up."""
    extractor, read, waiting = Corners(), [], []
    prepare, forward = extractor.prepare, extractor.forward

    def counted(items, noise=None):
        read.append(items)
        return prepare(items, noise)

    def slow(batch):
        time.sleep(0.01)
        waiting.append(len(read) - 4 * len(waiting))
        return forward(batch)

    extractor.prepare, extractor.forward = counted, slow
    extract(photos, tmp_path / "out", extractor, batch_size=4, workers=8, shard_rows=16)
    assert len(read) == COUNT
    assert max(waiting) <= 4 + 2 * 4 + 1


def test_parts_join_to_the_store_made_at_once(tmp_path, photos):
    """Byte by byte, bad files and what was skipped included, in whatever order parts are given."""
    for number in (3, 30, 59):
        photos[number].write_bytes(b"no picture")
    extractor, options = Corners(), {"shard_rows": 7, "batch_size": 3, "on_error": "skip"}
    extract(photos, tmp_path / "whole", extractor, **options)
    for number in (1, 2, 3):
        extract(photos, tmp_path / f"part{number}", extractor, part=(number, 3), **options)
    own = FeatureStore.open(tmp_path / "part2")
    merge([tmp_path / f"part{number}" for number in (2, 3, 1)], tmp_path / "merged")
    assert own.ids == tuple(f"{number:03d}.png" for number in range(21, 42) if number != 30)
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")


def test_a_machine_needs_the_photographs_of_its_part_alone(tmp_path, photos):
    """Files of other parts may be absent: the list is enough to cut it the same way."""
    extractor = Corners()
    extract(photos, tmp_path / "whole", extractor, shard_rows=20)
    for number in (1, 2, 3):
        away = [path for row, path in enumerate(photos) if row // 20 != number - 1]
        for path in away:
            path.rename(path.with_suffix(".away"))
        out = tmp_path / f"part{number}"
        summary = extract(photos, out, extractor, part=(number, 3), shard_rows=20)
        assert (summary.extracted, summary.skipped) == (20, {})
        for path in away:
            path.with_suffix(".away").rename(path)
    merge([tmp_path / f"part{number}" for number in (1, 2, 3)], tmp_path / "merged")
    assert contents(tmp_path / "merged") == contents(tmp_path / "whole")


def test_photographs_that_are_all_missing_are_a_wrong_path(tmp_path):
    """Nothing is written, and the first is named."""
    with pytest.raises(InputError, match=r"None of 2 photographs is there; the first is .*a\.jpg"):
        extract([Path("a.jpg"), Path("b.jpg")], tmp_path / "out", Corners(), on_error="skip")
    assert not (tmp_path / "out").exists()


def test_other_weights_do_not_continue_a_store(tmp_path, photos):
    """Features of two sets of weights are never mixed."""
    extract(photos, tmp_path / "out", Corners())
    with pytest.raises(DataError, match="other weights"):
        extract(photos, tmp_path / "out", Corners())


def test_other_settings_do_not_continue_a_store(tmp_path, photos):
    """The extractor's settings count, whether the caller gives them or not."""
    extractor, larger = GridExtractor(size=128), GridExtractor(size=160)
    larger.load_state_dict(extractor.state_dict())
    extract(photos[:1], tmp_path / "out", extractor)
    with pytest.raises(DataError, match="other settings"):
        extract(photos[:1], tmp_path / "out", larger)
    with pytest.raises(DataError, match="other settings"):
        extract(photos[:1], tmp_path / "out", extractor, config={"type": "grid"})


def test_a_picture_that_was_changed_does_not_continue_a_store(tmp_path, photos):
    """A file of another size under the same name is found."""
    extractor = Corners()
    extract(photos, tmp_path / "out", extractor)
    Image.new("RGB", (50, 50)).save(photos[3])
    with pytest.raises(DataError, match="other contents"):
        extract(photos, tmp_path / "out", extractor)


def test_a_bad_photograph_stops_the_run_and_is_named(tmp_path, photos):
    """The error is that of the file; what was finished before it stays."""
    photos[20].write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"020\.png cannot be read as a picture"):
        extract(photos, tmp_path / "out", Corners(), shard_rows=8)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) == 2


def test_bad_photographs_can_be_skipped(tmp_path, photos):
    """The others have their own features; reasons are kept, also when the run is repeated."""
    for number in (0, 7, 8, 9, 10, 11):
        photos[number].write_bytes(b"no picture")
    extractor = Corners()
    options = {"on_error": "skip", "shard_rows": 4, "batch_size": 3}
    summary = extract(
        [*photos, tmp_path / "photos" / "none.png"], tmp_path / "out", extractor, **options
    )
    names = [*(f"{number:03d}.png" for number in (0, 7, 8, 9, 10, 11)), "none.png"]
    assert list(summary.skipped) == names
    assert (summary.extracted, summary.kept) == (COUNT - 6, 0)
    assert "000.png cannot be read as a picture" in str(summary)
    store = FeatureStore.open(tmp_path / "out")
    assert store.ids == tuple(path.name for path in photos if path.name not in names)
    fresh = extractor.eval()(extractor.prepare([photos[12]])).features
    assert torch.allclose(store.select(["012.png"]).rows([0]).features, fresh, rtol=1e-3, atol=1e-3)
    again = extract(
        [*photos, tmp_path / "photos" / "none.png"], tmp_path / "out", extractor, **options
    )
    assert (again.extracted, again.kept, again.skipped) == (0, COUNT - 6, summary.skipped)


def test_only_bad_photographs_give_an_error_with_a_reason(tmp_path, photos):
    """A store of nothing is not made."""
    photos[0].write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"None of .*000\.png.*Delete .*out and begin"):
        extract(photos[:1], tmp_path / "out", Corners(), on_error="skip")


def test_extraction_leaves_the_extractor_as_it_was(tmp_path, photos):
    """It runs without dropout and puts the mode back, also after an error."""
    extractor = Corners().train()
    photos[1].write_bytes(b"no picture")
    with pytest.raises(InputError):
        extract(photos[:2], tmp_path / "out", extractor)
    assert extractor.training


def test_ids_are_paths_below_the_shared_folder():
    """One folder gives names; several give their own names before those; order is kept."""
    assert photo_ids([Path("a/2.jpg"), Path("a/1.jpg")]) == ("2.jpg", "1.jpg")
    assert photo_ids([Path("a/x/1.jpg"), Path("a/y/1.jpg")]) == ("x/1.jpg", "y/1.jpg")
    assert photo_ids([Path("a/../b/1.jpg")]) == ("1.jpg",)
    assert photo_ids([]) == ()


def test_a_fingerprint_is_of_every_weight():
    """One weight changed, or another type, gives another fingerprint."""
    extractor = Corners()
    before = weights_fingerprint(extractor)
    assert weights_fingerprint(extractor) == before
    assert weights_fingerprint(Corners().half()) != before
    with torch.no_grad():
        extractor.layer.bias[4] += 1e-3
    assert weights_fingerprint(extractor) != before

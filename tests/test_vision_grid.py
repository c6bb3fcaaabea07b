"""Regions on a grid: which cells, which boxes, and what noise does to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.batch import Photos
from zoo.errors import InputError
from zoo.vision.grid import GridExtractor


class Echo(torch.nn.Module):
    """A backbone whose map is the picture itself, averaged over 32 x 32 pixels."""

    def forward(self, pixels):
        """(n, 3, height, width) -> (n, 3, height / 32, width / 32)."""
        return torch.nn.functional.avg_pool2d(pixels.float(), 32)


def extractor(**options) -> GridExtractor:
    """A grid over the picture's own colours."""
    grid = GridExtractor(**options)
    grid.backbone = Echo()
    return grid.eval()


def generators(count: int) -> list[np.random.Generator]:
    """One generator for each of `count` items, the same on every call."""
    return [np.random.default_rng([7, number]) for number in range(count)]


def checkered(width: int, height: int) -> Image.Image:
    """Red grows with x, green grows with y, from 0 to 255."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([x, y, 0 * x], 2).round().astype(np.uint8))


def test_there_are_36_regions_with_boxes_in_pixels_of_the_picture():
    """The first region covers the 3 x 3 cells of the top left, the sixth its band, the last all."""
    regions = GridExtractor().eval()(GridExtractor().prepare([checkered(700, 70)]))
    assert regions.features.shape == (1, 36, 1280)
    assert regions.features.dtype == torch.float32
    assert regions.mask.all()
    assert regions.sizes.tolist() == [[700, 70]]
    boxes = regions.boxes[0]
    assert boxes[0].tolist() == pytest.approx([0, 0, 300, 30], abs=1e-3)
    assert boxes[1].tolist() == pytest.approx([100, 0, 400, 30], abs=1e-3)
    assert boxes[5].tolist() == pytest.approx([0, 0, 700, 30], abs=1e-3)
    assert boxes[6].tolist() == pytest.approx([0, 10, 300, 40], abs=1e-3)
    assert boxes[35].tolist() == pytest.approx([0, 0, 700, 70], abs=1e-3)


def test_a_region_is_the_mean_of_its_cells():
    """Each region's features are the mean of the map over the cells of its box."""
    maps = torch.rand(2, 5, 7, 7)
    grid = GridExtractor()
    grid.backbone = torch.nn.Identity()
    sizes = torch.tensor([[7, 7], [7, 7]])
    regions = grid(Photos(maps, sizes))
    for number, box in enumerate(regions.boxes[0]):
        x1, y1, x2, y2 = box.round().int().tolist()
        expected = maps[:, :, y1:y2, x1:x2].mean((2, 3))
        assert torch.allclose(regions.features[:, number], expected, atol=1e-6)


def test_boxes_tell_where_the_content_lies_also_with_noise():
    """In a picture whose colour is its place, each box's middle has its region's colour."""
    grid = extractor(crop_scale=(0.3, 1.0))
    pictures = [checkered(600, 400)] * 16
    photos = grid.prepare(pictures, generators(16))
    regions = grid(photos)
    mirrored = photos.windows[:, 0] > photos.windows[:, 2]
    assert 0 < mirrored.sum() < 16
    middle = (regions.boxes[..., :2] + regions.boxes[..., 2:]) / 2
    expected = middle / regions.sizes[:, None] * 255
    assert (regions.features[..., :2] - expected).abs().max() < 1.5
    assert (regions.boxes[..., 2:] > regions.boxes[..., :2]).all()
    assert (regions.boxes >= 0).all()
    assert (regions.boxes <= regions.sizes.repeat(1, 2)[:, None] + 1e-3).all()


def test_noise_is_a_function_of_the_generator_alone():
    """The same generators give the same pixels; others give others; each gives five numbers."""
    grid = GridExtractor()
    pictures = [checkered(300, 200), checkered(90, 400)]
    first, again = (grid.prepare(pictures, generators(2)) for _ in range(2))
    other = grid.prepare(pictures, generators(4)[2:])
    assert torch.equal(first.pixels, again.pixels)
    assert not torch.equal(first.pixels, other.pixels)
    used, counted = generators(1)[0], generators(1)[0]
    grid.prepare(pictures[:1], [used])
    counted.random(5)
    assert used.random() == counted.random()


def test_noise_that_shows_everything_changes_nothing():
    """With all of the area and no mirror, noise gives the picture as it is."""
    grid = GridExtractor(flip=0.0, crop_scale=(1.0, 1.0))
    pictures = [checkered(300, 200)]
    assert torch.equal(grid.prepare(pictures).pixels, grid.prepare(pictures, generators(1)).pixels)


def test_the_part_shown_has_the_area_that_was_asked_for():
    """Windows have areas within crop_scale, of every shape around the picture's own."""
    photos = GridExtractor(crop_scale=(0.6, 0.9)).prepare(
        [checkered(40, 20)] * 200, generators(200)
    )
    x1, y1, x2, y2 = photos.windows.T
    width, height = (x2 - x1).abs() / 40, (y2 - y1) / 20
    assert (width * height).min() > 0.6 - 1e-6
    assert (width * height).max() < 0.9 + 1e-6
    assert (width > height).float().mean() == pytest.approx(0.5, abs=0.1)
    assert (x1 > x2).float().mean() == pytest.approx(0.5, abs=0.1)


def test_pictures_of_the_right_size_keep_every_pixel():
    """A picture of 224 x 224 goes in as it is."""
    picture = checkered(224, 224)
    pixels = GridExtractor().prepare([picture]).pixels
    assert np.array_equal(pixels[0].permute(1, 2, 0).numpy(), np.asarray(picture))


def test_a_picture_gives_the_same_alone_and_in_company():
    """Features depend on the picture alone, to rounding."""
    grid = GridExtractor().eval()
    photos = grid.prepare([checkered(50, 60), checkered(70, 30).rotate(90), checkered(9, 9)])
    with torch.no_grad():
        together = grid(photos).features
        alone = torch.cat([grid(one).features for one in photos.split(1)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_half_precision_weights_on_disk_give_the_same_to_rounding(shared_data):
    """The published weights, stored as float16 and loaded again, change features by under 1%."""
    grid, again = GridExtractor().eval(), GridExtractor().eval()
    grid.load_initial(shared_data / "weights" / "mobilenet_edgetpu_075_224.npz")
    again.load_state_dict({name: value.half() for name, value in grid.state_dict().items()})
    photos = grid.prepare(sorted((shared_data / "flickr8k" / "images").glob("*.jpg"))[:4])
    with torch.no_grad():
        exact, halved = grid(photos).features, again(photos).features
    assert halved.dtype == torch.float32
    assert (exact - halved).norm() / exact.norm() < 0.01


def test_weights_of_the_backbone_are_all_of_the_state():
    """Constants of the grid are not saved; every name begins with the backbone's."""
    assert {name.split(".")[0] for name in GridExtractor().state_dict()} == {"backbone"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vit"}, "no backbone 'vit'"),
        ({"size": 100}, "100 pixels"),
        ({"size": 96}, "96 pixels"),
        ({"flip": 2}, "cannot be 2"),
        ({"crop_scale": [0.9, 0.6]}, "crop_scale"),
        ({"trainable_from": "stage9"}, "'stage9'"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    """Each message names the setting's value."""
    with pytest.raises(InputError, match=message):
        GridExtractor.from_config(options, {})


@pytest.mark.parametrize("noisy", [False, True])
def test_a_photograph_that_is_read_reduced_has_the_original_s_boxes(tmp_path, monkeypatch, noisy):
    """Sizes and windows are the same, and the pixels nearly."""
    path, grid = tmp_path / "large.jpg", GridExtractor()
    checkered(1201, 901).save(path, quality=95)
    noise = generators(1) if noisy else None
    whole = grid.prepare([path], noise)
    monkeypatch.setattr("zoo.vision.photos.PIXEL_LIMIT", 500_000)
    reduced = grid.prepare([path], generators(1) if noisy else None)

    assert torch.equal(reduced.sizes, whole.sizes)
    assert noisy == (whole.windows is not None and torch.equal(reduced.windows, whole.windows))
    assert not torch.equal(reduced.pixels, whole.pixels)
    assert (reduced.pixels.int() - whole.pixels.int()).abs().max() <= 8

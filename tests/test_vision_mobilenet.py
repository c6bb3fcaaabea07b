"""The backbone: the published network, and training from a stage on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from zoo.errors import InputError, WeightsError
from zoo.vision.mobilenet import STAGE_NAMES, MobileNetEdgeTPU, SameConv, convert

WEIGHTS = "weights/mobilenet_edgetpu_075_224.npz"


def test_padding_at_stride_two_puts_the_odd_pixel_at_the_end():
    """On 4 pixels, 3 weights of one and stride 2 sum pixels 0 1 2 and then 2 3 (nothing after)."""
    layer = SameConv(1, 1, kernel=3, stride=2)
    torch.nn.init.ones_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    rows = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    picture = torch.zeros(1, 1, 4, 4)
    picture[0, 0, 1] = rows  # one row: the sums are those of the row
    assert layer(picture)[0, 0, 0].tolist() == [111.0, 1100.0]


def test_a_picture_of_224_pixels_gives_7_by_7_cells():
    """The map has 1280 features in 7 x 7 cells, none negative."""
    maps = MobileNetEdgeTPU()(torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8))
    assert maps.shape == (2, 1280, 7, 7)
    assert (maps >= 0).all()


@pytest.mark.parametrize("stage", [*STAGE_NAMES, None])
def test_only_the_stages_from_the_named_one_on_learn(stage):
    """Exactly the parameters of the named and later stages get a gradient."""
    network = MobileNetEdgeTPU(trainable_from=stage)
    learning = STAGE_NAMES[STAGE_NAMES.index(stage) :] if stage else ()
    maps = network(torch.rand(1, 3, 64, 64) * 255)
    assert maps.requires_grad == bool(learning)
    if learning:
        maps.sum().backward()
    with_gradient = {
        name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None
    }
    assert with_gradient == set(learning)
    assert {n.split(".")[0] for n, p in network.named_parameters() if p.requires_grad} == set(
        learning
    )


def test_the_fixed_stages_keep_no_graph():
    """Even of pixels that want a gradient, no graph is kept where nothing learns."""
    pixels = (torch.rand(1, 3, 64, 64) * 255).requires_grad_()
    assert not MobileNetEdgeTPU(trainable_from="stage5").prefix(pixels).requires_grad
    assert not MobileNetEdgeTPU(trainable_from=None)(pixels).requires_grad


def test_freezing_changes_no_number():
    """The same weights give the same map whichever stages learn."""
    whole, part = MobileNetEdgeTPU(), MobileNetEdgeTPU(trainable_from="stage4")
    part.load_state_dict(whole.state_dict())
    pixels = torch.rand(1, 3, 64, 64) * 255
    assert torch.equal(whole(pixels), part(pixels))
    assert torch.equal(part.suffix(part.prefix(pixels)), part(pixels))


def test_an_unknown_stage_is_refused():
    """The message lists the stages."""
    with pytest.raises(InputError, match=r"'stage9'.*stem, stage1"):
        MobileNetEdgeTPU(trainable_from="stage9")


def test_converted_weights_are_the_published_network(shared_data):
    """On real pictures the map equals that of the operations listed in the published file."""
    prototypes = shared_data.parent / "prototypes"
    if not prototypes.is_dir():
        pytest.skip("the reference that runs the published operations is absent")
    sys.path.insert(0, str(prototypes))
    try:
        from mobilenet_edgetpu import TFLiteBackbone
    finally:
        sys.path.remove(str(prototypes))
    from PIL import Image

    files = sorted((shared_data / "flickr8k" / "images").glob("*.jpg"))[:8]
    pictures = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    network = MobileNetEdgeTPU()
    network.load_state_dict(convert(shared_data / WEIGHTS))
    with torch.no_grad():
        ours = network(pixels)
        plain, clamped = (
            TFLiteBackbone(shared_data / WEIGHTS, clamp=clamp).features(pixels)
            for clamp in (False, True)
        )
    assert torch.allclose(ours, plain, atol=1e-3, rtol=1e-4)
    pooled, reference = ours.mean((2, 3)), clamped.mean((2, 3))
    assert ((pooled - reference).norm(dim=1) / reference.norm(dim=1)).max() < 0.03


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_that_is_not_the_network_is_refused(tmp_path: Path, content):
    """Whatever is wrong with the file, the message names it."""
    path = tmp_path / "weights.npz"
    if content is None:
        np.savez(path, something=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.npz does not hold"):
        convert(path)

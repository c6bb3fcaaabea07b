"""From photographs, or from features extracted from them, to a CHAN that loads."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

from rich.console import Console

from zoo.data.dataset import open_dataset
from zoo.errors import InputError
from zoo.loading.weights import load_folder
from zoo.training.building import find_file
from zoo.training.recipe import read_recipe
from zoo.training.session import train
from zoo.vision.extraction import extract
from zoo.vision.grid import GridExtractor

RECIPE = """
name = "chan-small"
method = "chan"
plugin = "chan"
model = dict(
    image_encoder=dict(type="chan_regions", feature_dim=1280, dim=8, standardize=True),
    text_encoder=dict(type="bigru", word_dim=4, dim=8, word_drop=0.2, mask_token=True),
    aligner=dict(type="hard_alignment"),
    extractor=dict(type="grid", trainable_from="head"),
    features=dict(kind="grid", regions=36, dim=1280),
)
vocabulary = dict(minimum_count=1)
loss = dict(type="contrastive", learnable=True)
data = dict(inputs="photos", by="image", captions_per_image=1, batch_size=3, workers=0)
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=1e-2),
    paramwise_cfg=dict(extractor=dict(lr_mult=0.1)),
)
train_cfg = dict(max_epochs=1)
average = dict(momentum=0.9)
autocast = ["extractor.backbone.stem", "extractor.backbone.stage1"]
"""


@pytest.fixture
def recipe(tmp_path):
    """The recipe as a file."""
    path = tmp_path / "small.py"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def data(tmp_path):
    """Six photographs for training and three for dev: noise around one colour each."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for split, count in (("train", 6), ("dev", 3)):
        names = [f"{split}{number}.jpg" for number in range(count)]
        for name in names:
            pixels = random.integers(0, 255, 3) + random.integers(-20, 20, (40, 50, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / "images" / name)
        captions = [f"a picture of thing {number % 3}" for number in range(count)]
        (folder / f"{split}_ids.txt").write_text("\n".join(names) + "\n")
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
    return folder


def run(recipe, data, work_dir, *overrides, **options):
    """Train quietly; the model that came out."""
    console = Console(file=io.StringIO())
    return load_folder(
        train(recipe, data, work_dir, overrides=overrides, console=console, **options)
    )


def test_photographs_become_a_model_that_scores_photographs(recipe, data, tmp_path):
    """The extractor's last stage learns, its first do not, and workers change nothing."""
    model = run(recipe, data, tmp_path / "run")
    state = model.state_dict()
    other = run(recipe, data, tmp_path / "workers", "data.workers=2").state_dict()
    assert all(torch.equal(state[name], other[name]) for name in state)
    later = run(recipe, data, tmp_path / "later", "train_cfg.max_epochs=2", "data.dev=None")
    moved = {name for name in state if not torch.equal(state[name], later.state_dict()[name])}
    assert {name for name in moved if name.startswith("extractor")} == {
        "extractor.backbone.head.weight",
        "extractor.backbone.head.bias",
    }
    dev = open_dataset(data, "dev")
    scores = later.score(later.encode_images(dev.image_paths), later.encode_texts(dev.captions))
    assert scores.shape == (3, 3)
    assert later.image_encoder.feature_scale.std() > 0, "fitted to the training photographs"


def test_extracted_features_serve_as_well(recipe, data, tmp_path):
    """With data.inputs=features the store is read, and no photograph is opened.

    Features of another extractor than the model's are refused before the run begins.
    """
    store = tmp_path / "store"
    photographs = sorted((data / "images").iterdir())
    extract(photographs, store, GridExtractor(), batch_size=4)
    for photograph in photographs:
        photograph.write_bytes(b"no photograph")
    settings = ("data.inputs=features", "optim_wrapper.paramwise_cfg={}")
    with pytest.raises(
        InputError, match=r"made by an extractor .* leave the model's extractor out"
    ):
        run(recipe, data, tmp_path / "refused", *settings, features=store)
    settings += ("model.extractor=None", "autocast=[]")
    model = run(recipe, data, tmp_path / "run", *settings, features=store)
    assert model.extractor is None
    results = (tmp_path / "run" / "model" / "results.json").read_text()
    assert open_dataset(data, "dev", features=store).fingerprint in results


def test_weights_to_begin_with_are_looked_for_in_many_places(recipe, data, tmp_path, monkeypatch):
    """As given, beside the recipe, in ZOO_WEIGHTS, beside the data; an error names them all."""
    read = read_recipe(recipe)
    places = [
        data.parent / "w.npz",
        data.parent / "weights" / "w.npz",
        tmp_path / "zoo" / "w.npz",
        recipe.parent / "w.npz",
    ]
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path / "zoo"))
    with pytest.raises(InputError, match=r"--set initial_weights\.extractor=PATH") as raised:
        find_file("w.npz", "initial_weights.extractor", read, data)
    assert all(str(place) in str(raised.value) for place in places)
    for place in places[1:]:
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(b"")
        assert find_file("w.npz", "initial_weights.extractor", read, data) == place


def test_the_backbone_begins_with_its_published_weights(
    recipe, data, tmp_path, monkeypatch, shared_data
):
    """A name is enough where ZOO_WEIGHTS says in which folder the file is."""
    monkeypatch.setenv("ZOO_WEIGHTS", str(shared_data / "weights"))
    weights = "mobilenet_edgetpu_075_224.npz"
    trained = run(recipe, data, tmp_path / "run", f"initial_weights.extractor={weights}")
    extractor = GridExtractor()
    extractor.load_initial(shared_data / "weights" / weights)
    begun = extractor.state_dict()
    fixed = [name for name in begun if "head" not in name]
    assert len(fixed) > 50
    ended = trained.extractor.state_dict()
    assert all(torch.equal(ended[name], begun[name]) for name in fixed)

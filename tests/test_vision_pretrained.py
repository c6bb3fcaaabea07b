"""Networks of transformers as extractors: small ones with random weights, from folders."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from tiny import tiny_model
from zoo.components import build
from zoo.config import Features
from zoo.data.store import FeatureStore, Index
from zoo.errors import InputError, WeightsError
from zoo.vision.extraction import extract, weights_fingerprint
from zoo.vision.preprocessing import Preprocessing
from zoo.vision.pretrained import TransformersExtractor

transformers = pytest.importorskip("transformers")

COLOURS = {"do_normalize": True, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
SQUARE = {**COLOURS, "size": {"height": 32, "width": 32}, "resample": 2}
EDGES = {**COLOURS, "size": {"shortest_edge": 32, "longest_edge": 48}, "resample": 2}
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
DETR = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_queries": 12,
    "num_labels": 5,
}
RT_DETR = {
    **{key: value for key, value in DETR.items() if key in ("d_model", "decoder_layers")},
    "encoder_hidden_dim": 16,
    "encoder_in_channels": [8, 16],
    "encoder_ffn_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 16,
    "feat_strides": [4, 8],
    "decoder_in_channels": [16, 16],
    "num_feature_levels": 2,
    "encode_proj_layers": [1],
    "num_queries": 12,
    "num_labels": 5,
    "num_denoising": 0,
}
SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}


def small(name: str):
    """A network of that kind, its weights drawn wide so that outputs differ."""
    torch.manual_seed(0)
    if name == "vit":  # as it is published: with a classifier and without a pooler
        network = transformers.ViTForImageClassification(transformers.ViTConfig(**VIT))
    elif name == "resnet":
        network = transformers.ResNetModel(transformers.ResNetConfig(**RESNET))
    elif name == "swin":
        config = transformers.SwinConfig(image_size=32, patch_size=2, **SWIN)
        network = transformers.SwinModel(config)
    elif name == "clip":
        text = {**VIT, "vocab_size": 50}
        network = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=text, vision_config=VIT)
        )
    elif name == "detr":
        backbone = transformers.ResNetConfig(**RESNET, out_features=["stage2"])
        config = transformers.DetrConfig(
            use_timm_backbone=False, backbone=None, backbone_config=backbone, **DETR
        )
        network = transformers.DetrForObjectDetection(config)
    elif name == "rtdetr":  # without a class for nothing
        backbone = transformers.RTDetrResNetConfig(**RESNET, out_features=["stage1", "stage2"])
        config = transformers.RTDetrConfig(backbone_config=backbone, **RT_DETR)
        network = transformers.RTDetrForObjectDetection(config)
    else:
        config = transformers.YolosConfig(
            **{**VIT, "image_size": [32, 48]}, num_detection_tokens=12, num_labels=5
        )
        network = transformers.YolosForObjectDetection(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return network


BACKBONES = {"vit": SQUARE, "resnet": SQUARE, "swin": SQUARE, "clip": SQUARE}
DETECTORS = {"detr": EDGES, "yolos": EDGES, "rtdetr": SQUARE}
ALL = [*BACKBONES, *DETECTORS]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A folder for each kind, as transformers saves it."""
    place = tmp_path_factory.mktemp("networks")
    for name, preprocessor in {**BACKBONES, **DETECTORS}.items():
        small(name).save_pretrained(place / name)
        (place / name / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return {path.name: path for path in place.iterdir()}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def pictures() -> list[Image.Image]:
    """Of three sizes, one of them twice."""
    generator = np.random.default_rng(0)
    sizes = [(60, 40), (50, 50), (40, 60), (60, 40), (30, 200)]
    return [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]


@pytest.mark.parametrize("name", ALL)
def test_a_picture_is_encoded_alike_alone_and_in_company(folders, name):
    """Also with larger ones beside it, which it is padded to on the way."""
    extractor = TransformersExtractor(str(folders[name]), regions=9)
    together = extractor(extractor.prepare(pictures()))
    assert together.features.shape == (5, 9, 16)
    assert together.mask.all()
    assert together.features.dtype == together.boxes.dtype == torch.float32
    for row, picture in enumerate(pictures()):
        alone = extractor(extractor.prepare([picture]))
        torch.testing.assert_close(together.features[row], alone.features[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(together.boxes[row], alone.boxes[0], rtol=1e-4, atol=1e-3)
        assert together.sizes[row].tolist() == [*picture.size]


@pytest.mark.parametrize("name", ALL)
def test_boxes_lie_in_the_picture(folders, name):
    """In its own pixels, whatever size the network saw."""
    regions = TransformersExtractor(str(folders[name]), regions=9)
    regions = regions(regions.prepare(pictures()))
    assert (regions.boxes >= 0).all()
    assert (regions.boxes <= regions.sizes.repeat(1, 2)[:, None] + 1e-3).all()
    assert (regions.boxes[..., :2] <= regions.boxes[..., 2:]).all()


def test_a_cell_is_the_mean_of_its_patches(folders):
    """Of a ViT's 4 x 4 patches without the class token, 2 x 2 to a cell."""
    extractor = TransformersExtractor(str(folders["vit"]), regions=7)
    photos = extractor.prepare(pictures()[:1])
    regions = extractor(photos)
    whole = small("vit").eval().vit
    with torch.no_grad():
        pixels = (photos.pixels / 255 - torch.tensor([0.5, 0.4, 0.3])[:, None, None]) / (
            torch.tensor([0.2, 0.3, 0.4])[:, None, None]
        )
        tokens = whole(pixel_values=pixels).last_hidden_state[0, 1:].reshape(2, 2, 2, 2, 16)
    expected = tokens.mean((1, 3)).flatten(0, 1)
    torch.testing.assert_close(regions.features[0], expected, rtol=1e-4, atol=1e-4)
    quarters = [[0, 0, 30, 20], [30, 0, 60, 20], [0, 20, 30, 40], [30, 20, 60, 40]]
    assert regions.boxes[0].tolist() == quarters


def test_a_detector_gives_its_most_certain_queries(folders):
    """Best first: states that its classifier is sure of, with the boxes that it predicts there."""
    extractor = TransformersExtractor(str(folders["detr"]), regions=4)
    picture = pictures()[1]
    regions = extractor(extractor.prepare([picture]))
    network = small("detr").eval()
    inputs = extractor.preprocessing.normalize(extractor.prepare([picture]).pixels)
    with torch.no_grad():
        output = network(pixel_values=inputs)
    certain = output.logits.softmax(2)[0, :, :5].max(1).values
    for rank, query in enumerate(certain.argsort(descending=True)[:4]):
        x, y, width, height = (output.pred_boxes[0, query] * 50).tolist()
        corners = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        expected = [min(max(corner, 0), 50) for corner in corners]
        assert regions.boxes[0, rank].tolist() == pytest.approx(expected, abs=1e-3)
        torch.testing.assert_close(
            regions.features[0, rank], output.last_hidden_state[0, query], rtol=1e-4, atol=1e-4
        )


def test_a_detector_without_a_class_for_nothing_is_certain_by_its_classes(folders):
    """RT-DETR's chances are of each class by itself."""
    extractor = TransformersExtractor(str(folders["rtdetr"]), regions=3)
    photos = extractor.prepare(pictures()[:1])
    with torch.no_grad():
        output = extractor.network(pixel_values=extractor.preprocessing.normalize(photos.pixels))
    best = output.logits[0].max(1).values.argsort(descending=True)[:3]
    assert output.logits.shape == (1, 12, 5)
    assert torch.equal(extractor(photos).features[0], output.last_hidden_state[0, best])


def test_a_detector_with_few_queries_gives_them_all(folders):
    """There cannot be more regions than queries."""
    extractor = TransformersExtractor(str(folders["yolos"]), regions=36)
    assert extractor(extractor.prepare(pictures())).features.shape == (5, 12, 16)


@pytest.mark.parametrize("name", ALL)
def test_a_saved_extractor_needs_no_folder(folders, name):
    """It is built from its description and the weights of the model's folder."""
    extractor = TransformersExtractor(str(folders[name]), regions=9)
    config = {"type": "transformers", "model": "gone/away", "regions": 9}
    again = build("extractor", config, extractor.files())
    again.load_state_dict(extractor.state_dict())
    photos = extractor.prepare(pictures())
    assert torch.equal(again(photos).features, extractor(photos).features)
    assert weights_fingerprint(again) == weights_fingerprint(extractor)


def test_a_model_with_such_an_extractor_is_saved_whole(folders, tmp_path):
    """Loaded again, it reads photographs without the folder that the network came from."""
    origin = shutil.copytree(folders["detr"], tmp_path / "detr")
    model = tiny_model(
        image_encoder={"type": "chan_regions", "feature_dim": 16, "dim": 16},
        extractor={"type": "transformers", "model": str(origin), "regions": 9},
        features=Features(kind="detr", regions=9, dim=16),
    )
    saved = model.save(tmp_path / "model")
    shutil.rmtree(origin)
    again = zoo.load(f"local-dir:{saved}")
    expected = model.encode_images(pictures()).tensors()
    for name, tensor in again.encode_images(pictures()).tensors().items():
        torch.testing.assert_close(tensor, expected[name])


def test_the_network_stays_fixed(folders):
    """It takes no gradient and does not drop out, also in training."""
    extractor = TransformersExtractor(str(folders["detr"])).train()
    assert not any(module.training for module in extractor.modules())
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


def test_loading_twice_gives_the_same_weights(folders):
    """Nothing that the file lacks is left to chance: what nobody reads is left out."""
    prints = {weights_fingerprint(TransformersExtractor(str(folders["vit"]))) for _ in range(2)}
    assert len(prints) == 1


def test_missing_weights_are_refused(folders, tmp_path):
    """And not drawn at random."""
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders["clip"], tmp_path / "clip")
    weights = load_file(folder / "model.safetensors")
    del weights["vision_model.encoder.layers.1.mlp.fc1.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"no weights for vision_model.*fc1\.weight \(1 are mis"):
        TransformersExtractor(str(folder))


@pytest.mark.parametrize("absent", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_folder_without_a_file_is_refused(folders, tmp_path, absent):
    """The message lists what a folder must have."""
    folder = shutil.copytree(folders["vit"], tmp_path / "vit")
    (folder / absent).unlink()
    with pytest.raises(InputError, match=r"with config\.json, preprocessor_config\.json and"):
        TransformersExtractor(str(folder))


def test_a_name_that_cannot_be_reached_is_refused(tmp_path, monkeypatch):
    """As on a machine without a network."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(InputError, match="nobody/nothing cannot be used as a network of transform"):
        TransformersExtractor("nobody/nothing")


def test_a_network_that_needs_another_package_is_refused(folders, monkeypatch):
    """As timm, for the backbone of DETR as it was published; the message says which."""

    def refuse(*_arguments, **_options):
        raise ImportError("TimmBackbone requires the timm library")

    monkeypatch.setattr(transformers.AutoModelForObjectDetection, "from_pretrained", refuse)
    with pytest.raises(InputError, match="TimmBackbone requires the timm library"):
        TransformersExtractor(str(folders["detr"]))


def test_a_network_that_reads_text_is_refused(tmp_path):
    """It has no pictures to read."""
    small_bert = {key: VIT[key] for key in list(VIT)[:4]}
    network = transformers.BertModel(transformers.BertConfig(vocab_size=9, **small_bert))
    network.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(SQUARE))
    with pytest.raises(InputError, match="BertModel reads no pictures but input_ids"):
        TransformersExtractor(str(tmp_path))


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    """Nothing else of the zoo needs it to extract."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"pip install 'itm-zoo\[text\]'"):
        TransformersExtractor("facebook/detr-resnet-50")


def test_a_store_tells_which_network_made_it(folders, tmp_path):
    """Name, regions and preprocessing stand in its plan, and not where the folder lay."""
    photos = [tmp_path / f"{number}.png" for number in range(5)]
    for path, picture in zip(photos, pictures(), strict=True):
        picture.save(path)
    moved = shutil.copytree(folders["detr"], tmp_path / "elsewhere" / "detr")
    extractor = TransformersExtractor(str(folders["detr"]), regions=9)
    extract(photos, tmp_path / "out", extractor, dtype="float32")
    again = extract(
        photos, tmp_path / "out", TransformersExtractor(str(moved), regions=9), dtype="float32"
    )
    plan = Index.read(tmp_path / "out").plan
    stored = FeatureStore.open(tmp_path / "out").rows(range(5))
    fresh = extractor(extractor.prepare(photos))
    assert again.kept == 5
    assert plan.extractor["type"] == "TransformersExtractor"
    assert plan.extractor["settings"].startswith("detr, regions=9, Preprocessing(")
    torch.testing.assert_close(stored.features, fresh.features)
    assert torch.equal(stored.boxes, fresh.boxes)
    assert torch.equal(stored.sizes, fresh.sizes)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("ViTImageProcessorPil", {"size": {"height": 30, "width": 40}, "resample": 3}),
        ("DetrImageProcessorPil", {"size": {"shortest_edge": 32, "longest_edge": 48}}),
        ("DetrImageProcessorPil", {"size": {"shortest_edge": 47, "longest_edge": 301}}),
    ],
)
def test_pictures_are_prepared_as_transformers_prepares_them(kind, values):
    """The same size and, to rounding, the same numbers as its own image processors give."""
    processor = getattr(transformers, kind)(**{**COLOURS, **values})
    ours = Preprocessing.read(processor.to_dict())
    for picture in pictures()[:4]:
        expected = torch.as_tensor(np.array(processor(picture, return_tensors="np").pixel_values))
        found = ours.normalize(ours.pixels(picture, picture.size)[None])
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def read(**values) -> Preprocessing:
    """From the values of a file, with colours."""
    return Preprocessing.read({**COLOURS, **values})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"size": 24}, (24, 24)),
        ({"size": {"shortest_edge": 24}}, (24, 24)),
        ({"size": 300, "max_size": 500}, (300, 450)),
        ({"size": {"shortest_edge": 300, "longest_edge": 400}}, (267, 400)),
        ({"size": {"shortest_edge": 9}, "do_center_crop": True, "crop_size": 7}, (7, 7)),
        (
            {"size": 9, "do_center_crop": True, "crop_size": {"height": 5, "width": 7}},
            (7, 5),
        ),
        ({"size": 9, "do_center_crop": False, "crop_size": 7}, (9, 9)),
    ],
)
def test_sizes_are_read_in_every_form(values, expected):
    """Old files have plain numbers; a crop gives its size, and the picture is squashed to it."""
    assert read(**values).size(200, 300) == expected
    assert read(**values).pixels(Image.new("RGB", (200, 300)), (200, 300)).shape == (
        3,
        expected[1],
        expected[0],
    )


def test_a_very_long_picture_keeps_some_pixels_across():
    """Fewer than a patch would stop the whole run."""
    preprocessing = read(size=800, max_size=1333)
    assert preprocessing.size(10_000, 50) == (1333, 32)
    assert preprocessing.size(50, 10_000) == (32, 1333)


def test_colours_are_left_alone_where_the_file_says_so():
    """Neither scaled nor shifted."""
    plain = Preprocessing.read({"size": 8, "do_rescale": False, "do_normalize": False})
    assert plain.normalize(torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)).eq(200).all()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, "gives pictures the size None"),
        ({"size": {"max_height": 3, "max_width": 4}}, "Give it a height and a width"),
        ({"size": 8}, "does not give colours a mean and a deviation"),
    ],
)
def test_a_preprocessing_that_is_not_understood_is_refused(values, said):
    """By what it lacks."""
    with pytest.raises(InputError, match=said):
        Preprocessing.read(values)

"""A folder in which the pages' names are there: DATA, FEATURES, RUN, beach.jpg and the rest.

All of it is small and made here: pictures of coloured shapes with captions, features of a few
numbers, models with random weights or those that lie in the repository.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageDraw

from hub_server import HubServer
from page_blocks import Runner
from test_chan_importer import SMALL_WORDS, small_bigru
from test_chan_importer import save as save_checkpoint
from zoo.data.store import FeatureStore

ROOT = Path(__file__).resolve().parents[1]
COLOURS = ("red", "green", "blue", "yellow")
SHAPES = ("circle", "square", "line")
SPLITS = {"train": 16, "dev": 4, "test": 4}
WHOLE = "testall"
"""The same as test: SCAN's name for COCO's whole test split."""
WORDS = {
    "MODEL": "chan-f8k",
    "NAME": "chan-f8k",
    "RECIPE": "mfa-f8k",
    "cuda": "cpu",
    "coco-1k": "auto",  # those of COCO need as many images as COCO has
    "coco-5k": "auto",
    "2022,2023,2024": "2022",  # each seed is the same work
}
"""Words of the pages that stand for something, and what for here."""
TUTORIAL = "tutorial.md"
TUTORIAL_PLUGIN = "examples/zoo-plugin-tutorial"
PUBLISHED = "ORG/REPO"
PAGE_WORDS = {"weights.md": {"chan-coco": f"hf-hub:{PUBLISHED}@COMMIT"}}
"""The same for one page: no model is published yet, so one on the made Hub stands in."""


@contextmanager
def in_a_world(page: str = "") -> Iterator[Runner]:
    """A fresh folder with all that pages name, as the current one, and a runner in it."""
    import zoo

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as place, HubServer(token="hf_pages") as hub:
        folder = Path(place) / "world"
        if page == TUTORIAL:
            folder.mkdir()  # it makes all that it uses
        else:
            shutil.copytree(made(), folder, symlinks=True)
        bundled = {path.name: path.read_bytes() for path in (ROOT / "weights/chan-f8k").iterdir()}
        commit = hub.add(PUBLISHED, bundled)
        names = {"zoo": zoo, "images": ["beach.jpg"], "texts": ["a dog runs"], "__name__": "page"}
        settings = {
            "ZOO_HOME": str(folder / "zoo-home"),
            "ZOO_HUB_ENDPOINT": hub.url,
            "HF_TOKEN": "hf_pages",
            "HF_HUB_DISABLE_XET": "1",
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        os.chdir(folder)
        try:
            with (
                mock.patch.dict(os.environ, settings),
                mock.patch("huggingface_hub.constants.HF_HUB_DISABLE_XET", True),
            ):
                words = {**PAGE_WORDS.get(page, {}), **WORDS, "COMMIT": commit}
                shell = installed(folder) if page == TUTORIAL else None
                yield Runner(names, words, shell, {hub.url: "https://huggingface.co"})
        finally:
            os.chdir(before)


def installed(folder: Path) -> dict[str, str]:
    """The environment in which the tutorial's plugin, in this folder, counts as installed.

    Its metadata are written as an installer would; the modules lie in the folder itself.
    """
    project = tomllib.loads((ROOT / TUTORIAL_PLUGIN / "pyproject.toml").read_text())["project"]
    shutil.copy(ROOT / TUTORIAL_PLUGIN / "draw.py", folder)
    about = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    about.mkdir()
    facts = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\n{facts}")
    ((group, entries),) = project["entry-points"].items()
    lines = [f"{name} = {module}" for name, module in entries.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    start = "from zoo.cli import main\n\nraise SystemExit(main())\n"
    (programs / "zoo").write_text(f"#!{sys.executable}\n{start}")
    for program in programs.iterdir():
        program.chmod(0o755)
    places = [folder, ROOT, ROOT / "plugins"]
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(map(str, places))}


@cache
def made() -> Path:
    """The world, made once for all pages."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-pages-"))
    photos(folder)
    data(folder / "DATA")
    precomp(folder / "data" / "f30k_precomp")
    (folder / "IMAGES").symlink_to("DATA/images")
    (folder / "data" / "flickr8k").symlink_to("../DATA")
    pictures = sorted((folder / "DATA/images").iterdir())
    (folder / "paths.txt").write_text("".join(f"DATA/images/{one.name}\n" for one in pictures))
    shutil.copy(ROOT / "plugins/zoo_chan/recipes/chan_f8k.py", folder / "my_recipe.py")
    models(folder)
    with mock.patch("sys.stdout", io.StringIO()), contextlib.chdir(folder):
        scores(folder)
    return folder


def models(folder: Path) -> None:
    """Models under the names that pages give to runs, and a checkpoint of another program."""
    for name, source in (
        ("chan-coco", "chan-f8k.frozen"),
        ("sgr", "chan-f8k.frozen"),
        ("saf", "mfa-f8k"),
    ):
        shutil.copytree(ROOT / "weights" / source, folder / "runs" / name / "model")
    save_checkpoint(folder / "model_best.pth", *small_bigru(8), word2idx=SMALL_WORDS)
    (folder / "model_best.pth.tar").symlink_to("model_best.pth")


def scores(folder: Path) -> None:
    """Features of the pictures, a run, and scores of two models on disk."""
    runner = Runner({}, {})
    runner.command("zoo extract IMAGES -o FEATURES")
    store = FeatureStore.open(folder / "FEATURES")
    for split in SPLITS:
        ids = (folder / "DATA" / f"{split}_ids.txt").read_text().split()
        features = store.select(ids).rows(range(len(ids))).features
        np.save(folder / "DATA" / f"{split}_ims.npy", features.numpy())
    for path in (folder / "DATA").glob("test_*"):
        shutil.copy(path, path.with_name(path.name.replace("test_", f"{WHOLE}_")))
    runner.command("zoo train shan-f8k --data DATA --features FEATURES --work-dir RUN")
    for model, names in (
        ("chan-f8k", ("A", "../SCORES_A")),
        ("mssan-f8k", ("B", "../SCORES_B", "mssan-f8k", "chan-f8k.frozen")),
    ):
        made_in = f"scores/{names[0]}"
        runner.command(f"zoo evaluate {model} --data DATA --save-scores {made_in}")
        for name in names[1:]:
            shutil.copytree(made_in, f"scores/{name}")


def photos(folder: Path) -> None:
    """Two of the demo's photographs under the names that pages use."""
    for name, source in (("beach.jpg", "pavilion.jpg"), ("street.jpg", "photographer.jpg")):
        shutil.copy(ROOT / "zoo" / "demo_photos" / source, folder / name)


def data(folder: Path) -> None:
    """Pictures of shapes in SCAN's layout, two captions each, all splits of different pictures."""
    (folder / "images").mkdir(parents=True)
    kinds = [(shape, one, other) for shape in SHAPES for one in COLOURS for other in COLOURS]
    kinds = [kind for kind in kinds if kind[1] != kind[2]][:: 36 // sum(SPLITS.values())]
    for split, count in SPLITS.items():
        ids, captions = [], []
        for place in range(count):
            shape, one, other = kinds.pop(0)
            ids.append(f"{split}-{place}.jpg")
            picture(shape, one, other).save(folder / "images" / ids[-1])
            captions += [f"a {one} {shape} on {other}", f"a {shape} in {one} before {other} ground"]
        (folder / f"{split}_ids.txt").write_text("\n".join(ids) + "\n")
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")


def picture(shape: str, one: str, other: str) -> Image.Image:
    """A shape in one colour before another one."""
    image = Image.new("RGB", (64, 64), other)
    draw = ImageDraw.Draw(image)
    if shape == "circle":
        draw.ellipse((16, 16, 48, 48), fill=one)
    elif shape == "square":
        draw.rectangle((16, 16, 48, 48), fill=one)
    else:
        draw.line((8, 8, 56, 56), fill=one, width=8)
    return image


def precomp(folder: Path) -> None:
    """Features of the field's size, of four images with five captions each."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for split in ("train", "dev", "test"):
        rows = random.standard_normal((4, 36, 2048), dtype=np.float32)
        np.save(folder / f"{split}_ims.npy", rows)
        ids = [f"{split}{place}" for place in range(4)]
        (folder / f"{split}_ids.txt").write_text("\n".join(ids) + "\n")
        captions = [f"a dog number {place} runs on grass" for place in range(20)]
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")

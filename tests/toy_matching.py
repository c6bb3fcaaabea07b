"""A matching method small enough to train in a second, with noise on both sides and dropout."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from zoo.batch import Fragments, Regions, Tokens
from zoo.interfaces import Aligner, ImageEncoder, Similarity, TextEncoder
from zoo.model import MatchingModel
from zoo.ops import l2_normalize, pad
from zoo.plugins.discovery import component_table
from zoo.training.samples import Sample

REGIONS, DIM = 3, 6


class ToyImages(ImageEncoder[Fragments]):
    """Projects regions; noise blanks some of them; `fit` measures their mean."""

    def __init__(self, dim: int = 8, dropout: float = 0.3) -> None:
        super().__init__()
        self.project = nn.Linear(DIM, dim)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mean", torch.zeros(DIM))

    def fit(self, batches) -> None:
        """Measure the mean."""
        self.mean.copy_(torch.cat([batch.features for batch in batches]).mean((0, 1)))

    def prepare(self, items, noise=None) -> Regions:
        """Records, with noise where it is given."""
        if noise is None:
            return items
        kept = torch.from_numpy(np.stack([one.random(REGIONS) for one in noise]) > 0.2)
        return Regions(items.features * kept[..., None], items.mask)

    def forward(self, batch: Regions) -> Fragments:
        """As the interface says."""
        hidden = self.dropout(self.project(batch.features - self.mean))
        return Fragments(l2_normalize(hidden), batch.mask)


class ToyTexts(TextEncoder[Tokens, Fragments]):
    """Embeds words by a hash; noise replaces some of them."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(64, dim)

    def words(self, caption: str) -> list[str]:
        """Split at blanks."""
        return caption.split()

    def prepare(self, items, noise=None) -> Tokens:
        """Records, with noise where it is given."""
        rows = [np.array([1 + zlib.crc32(w.encode()) % 63 for w in text.split()]) for text in items]
        for row, one in zip(rows, noise or (), strict=False):
            row[one.random(len(row)) < 0.2] = 0
        return Tokens(*pad([torch.from_numpy(row) for row in rows]))

    def forward(self, batch: Tokens) -> Fragments:
        """As the interface says."""
        return Fragments(l2_normalize(self.embed(batch.ids)), batch.mask)


class ToyAligner(Aligner[Fragments, Fragments]):
    """The mean over words of the best region."""

    def forward(self, images: Fragments, texts: Fragments) -> Similarity:
        """As the interface says."""
        best = torch.einsum("ird,twd->itrw", images.embeddings, texts.embeddings).amax(2)
        words = texts.mask.sum(1)
        return Similarity((best * texts.mask[None]).sum(2) / words[None])


def register() -> None:
    """Make the toy's components known by name."""
    table = component_table()
    for kind, name, target in (
        ("image_encoder", "toy_images", "toy_matching:ToyImages"),
        ("text_encoder", "toy_texts", "toy_matching:ToyTexts"),
        ("aligner", "toy_aligner", "toy_matching:ToyAligner"),
    ):
        if (kind, name) not in table.entries:
            table.add(kind, name, target)


RECIPE = """
name = "toy"
method = "toy"
model = dict(
    image_encoder=dict(type="toy_images"),
    text_encoder=dict(type="toy_texts"),
    aligner=dict(type="toy_aligner"),
    features=dict(kind="toy", regions=3, dim=6),
)
loss = dict(type="triplet", margin=0.2, negatives="hardest", reduction="mean")
warm_up = dict(epochs=1, negatives="all")
data = dict(inputs="features", by="image", captions_per_image=2, batch_size=4, workers=0)
optim_wrapper = dict(
    optimizer=dict(type="AdamW", lr=1e-2, weight_decay=0.01),
    clip_grad=dict(max_norm=2.0),
    paramwise_cfg=dict(text_encoder=dict(lr_mult=0.5), flat_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=True, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=1, end=4, T_max=3,
         convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=4)
average = dict(momentum=0.9)
checkpoint = dict(every=3, keep=2)
log_every = 2
seed = 7
"""


def write_data(folder: Path, images: dict[str, int] | None = None) -> Path:
    """A data set of captions that name the groups their image belongs to, and its features."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    words = np.array(["red", "green", "blue", "dog", "cat", "boat", "near", "far"])
    for split, count in (images or {"train": 22, "dev": 8}).items():
        features = random.standard_normal((count, REGIONS, DIM)).astype(np.float32)
        captions = []
        for row in features:
            signs = (row[0] > 0).astype(int)
            text = [words[0 if signs[0] else 1], words[3 if signs[1] else 4], words[6 + signs[2]]]
            captions += [" ".join(text), " ".join([*text, words[2]]), " ".join(text[::-1])]
        np.save(folder / f"{split}_ims.npy", features)
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")
        (folder / f"{split}_ids.txt").write_text(
            "\n".join(str(image) for image in range(count) for _ in range(3)) + "\n"
        )
    return folder


def write_recipe(folder: Path, text: str = RECIPE) -> Path:
    """The toy recipe as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toy.py"
    path.write_text(text)
    return path


def make_model() -> MatchingModel:
    """The toy's parts, without a configuration."""
    return MatchingModel(ToyImages(), ToyTexts(), ToyAligner())


def samples(count: int) -> list[Sample]:
    """The first images with their first captions."""
    return [Sample(0, row, (3 * row,)) for row in range(count)]

"""Images and captions to score: random, but with matches that are found about as often as real."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..batch import Fragments
from ..errors import InputError
from .setting import Setting

CONCEPTS, SHOWN = 1500, 9  # that there are, and that an image shows
COCO_LIKE = "log-normal, mean 12 words, as COCO's captions have"
IMAGE_BLOCK, TEXT_BLOCK = 128, 512  # a model's own


@dataclass(frozen=True)
class Collection:
    """Both sides, encoded, and which belong together.

    texts:   by ascending length
    pairs:   (captions, 2), the rows of an image and of its caption, an image's in one piece
    longest: how many words the longest caption of the data set has, to which programs pad
    lengths: where the captions' lengths are from, in words
    """

    images: Fragments
    texts: Fragments
    pairs: Tensor
    longest: int
    lengths: str

    @property
    def image_blocks(self) -> list[Fragments]:
        """As many images at a time as a model scores at once."""
        return self.images.split(IMAGE_BLOCK)

    @property
    def text_blocks(self) -> list[Fragments]:
        """Captions likewise, each block as wide as its longest."""
        return [narrow(block) for block in self.texts.split(TEXT_BLOCK)]

    @property
    def words(self) -> int:
        """In all captions together."""
        return int(self.texts.mask.sum())


def collection(setting: Setting) -> Collection:
    """Regions and words are of some concepts that images share, with noise; the same every time.

    Raises `InputError` for fewer captions than images.
    """
    images, texts, dim = setting.images, setting.texts, setting.dim
    if texts < images:
        raise InputError(
            f"There are {texts} captions for {images} images. Give each image one at least."
        )
    torch.manual_seed(0)
    lengths, longest, words = caption_lengths(texts, setting.lengths)
    popular = 1 / torch.arange(1.0, CONCEPTS + 1) ** 0.9
    concepts, common = normalize(torch.randn(CONCEPTS, dim)), torch.randn(dim) * dim**-0.5
    shown = popular.expand(images, -1).multinomial(SHOWN)
    regions = concepts[shown[:, torch.arange(setting.regions) % SHOWN]]
    order = lengths.argsort(stable=True)
    mask = torch.arange(int(lengths.max())) < lengths[order, None]
    of_image = torch.arange(texts) * images // texts
    spoken = shown[of_image[order]].gather(1, torch.randint(SHOWN, (texts, mask.shape[1])))
    function = torch.rand(mask.shape) < 0.6  # words that say nothing of the image
    spoken = torch.where(function, torch.randint(60, mask.shape), spoken)

    def noisy(vectors: Tensor, noise: float) -> Tensor:
        seen = vectors + noise * dim**-0.5 * torch.randn_like(vectors)
        return normalize(normalize(seen, dim=-1) + 0.55 * common, dim=-1)

    return Collection(
        Fragments(noisy(regions, 1.4), torch.ones(images, setting.regions, dtype=torch.bool)),
        Fragments(noisy(concepts[spoken], 1.2).masked_fill(~mask[..., None], 0), mask),
        torch.stack([of_image, order.argsort()], dim=1),
        longest,
        words,
    )


def caption_lengths(count: int, file: Path | None) -> tuple[Tensor, int, str]:
    """Of so many captions, with their begin and end; the longest there is; where they are from."""
    generator = np.random.default_rng(0)
    if file is None:
        drawn = generator.lognormal(np.log(12), 0.24, count).round().astype(int)
        return torch.from_numpy(drawn), int(drawn.max()), COCO_LIKE
    lengths = words_in(file)
    drawn = generator.choice(lengths, count)
    return torch.from_numpy(drawn), max(lengths), f"drawn from {file.name} ({len(lengths):,} lines)"


def words_in(file: Path) -> list[int]:
    """Words in each line of a file, with its begin and end. Raises `InputError` without any."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read ({error}). Give a text file, a caption a line."
        ) from error
    lengths = [len(line.split()) + 2 for line in lines if line.strip()]
    if not lengths:
        raise InputError(f"{file} has no captions. Give a text file with one a line.")
    return lengths


def narrow(texts: Fragments) -> Fragments:
    """As wide as the longest caption."""
    width = int(texts.mask.sum(dim=1).max())
    return Fragments(texts.embeddings[:, :width].contiguous(), texts.mask[:, :width])

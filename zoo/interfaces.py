"""The parts of a matching method. A plugin supplies them; the zoo does the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from .batch import Batch, Photos, Regions
from .model_folders.safe_tensors import read_tensors

PreparedT = TypeVar("PreparedT", bound=Batch)
EncodedT = TypeVar("EncodedT", bound=Batch, covariant=True)
ImagesT = TypeVar("ImagesT", bound=Batch)
TextsT = TypeVar("TextsT", bound=Batch)

Noise = Sequence[np.random.Generator]
"""A random generator for each item: augmentation is a function of seed, epoch and item."""


@dataclass(frozen=True)
class Similarity:
    """How well every image of a block matches every text of a block.

    scores: (images, texts), what retrieval ranks by
    levels: (images, texts) each, the parts that a loss may weigh apart ("local", "global")
    images, texts: in training, the encodings that were compared, for a loss that looks at one side
    """

    scores: Tensor
    levels: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    images: Batch | None = None
    texts: Batch | None = None


@dataclass(frozen=True)
class Scan:
    """Scores from rounded embeddings, and what is certain about them.

    scores: (images, texts)
    errors: (images, texts), how far from the score of `Aligner.forward` each may be
    """

    scores: Tensor
    errors: Tensor


@dataclass(frozen=True)
class Pairs:
    """Which images and texts of a training block belong together.

    image_ids: (images,)
    text_ids:  (texts,)
    matches:   (images, texts), True where the text describes the image
    """

    image_ids: Tensor
    text_ids: Tensor
    matches: Tensor

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs on another device."""
        return Pairs(*(values.to(device) for values in vars(self).values()))


class Component(nn.Module, ABC):
    """A part that a configuration can name: built from JSON values and from text files.

    without_gradient: names of its parameters, patterns as in a shell, that no gradient reaches and
                      that are meant so; `zoo plugin check` asks of all others that one does
    """

    without_gradient: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        """Build from constructor arguments as JSON values.

        `files` are the text files of the model's folder by name; a component that needs one
        (a vocabulary) reads it from there. Raises `TypeError` for an unknown argument.
        """
        del files
        return cls(**config)

    def files(self) -> Mapping[str, str]:
        """Text files, by name, that must lie beside the weights to build this component again."""
        return {}

    def load_initial(self, path: Path) -> None:
        """Take weights to begin training from, out of a file of the form that this part knows.

        That form is a safetensors file with this component's own names, unless it says otherwise.
        """
        self.load_state_dict(read_tensors(path), strict=True)


class Encoder(Component, Generic[PreparedT, EncodedT], ABC):
    """Reads items of one modality, each on its own.

    mixes_in_training: whether items of a batch meet in training, as in batch norm, which a paper
                       may have; in evaluation they never do
    """

    mixes_in_training: ClassVar[bool] = False

    @abstractmethod
    def prepare(self, items: Any, noise: Noise | None = None) -> PreparedT:
        """Turn raw items into tensors. Runs in data workers: no parameters, no device.

        With `noise`, one generator an item, apply the augmentation that training uses; without,
        prepare each item as it is. Raises `InputError` for an item that cannot be encoded.
        """

    @abstractmethod
    def forward(self, batch: PreparedT) -> EncodedT:
        """Encode prepared items. Row i depends on item i alone, so it can be kept."""

    if TYPE_CHECKING:
        __call__ = forward


class ImageEncoder(Encoder[Regions, EncodedT], ABC):
    """Reads images as region features."""

    def fit(self, batches: Iterable[Regions]) -> None:
        """Look at features of the train split, once before training; by default at none."""


class TextEncoder(Encoder[PreparedT, EncodedT], ABC):
    """Reads captions.

    dim: how many numbers a word has; an encoder that goes on from the words needs to know
    """

    dim: int

    @abstractmethod
    def words(self, text: str) -> list[str]:
        """The words of a text as a person reads them, one for each of its encoded fragments."""


class Extractor(Encoder[Photos, Regions], ABC):
    """Reads photographs (file paths or PIL images) and yields region features with boxes.

    pretrained: whether it has trained weights as soon as it is built
    """

    pretrained = False


class Aligner(Component, Generic[ImagesT, TextsT], ABC):
    """Compares encoded images with encoded texts."""

    @abstractmethod
    def forward(self, images: ImagesT, texts: TextsT) -> Similarity:
        """Compare every image with every text; there is at least one of each.

        Entry (i, t) depends on image i and text t alone, so a caller may score all pairs
        block by block and get the same numbers.
        """

    def score_pairs(self, images: ImagesT, texts: TextsT, rows: Tensor) -> Similarity:
        """As `forward`, of some pairs alone: scores and levels are (pairs,).

        rows: (pairs, 2), the rows of an image and of a text; at least one pair
        """
        order = rows[:, 0].argsort(stable=True)
        counts = rows[:, 0].bincount(minlength=len(images)).tolist()
        asked = zip(images.split(1), texts[rows[order, 1]].split(counts), strict=True)
        found = [self(image, some) for image, some in asked if len(some)]
        back = order.argsort()
        levels = {
            name: torch.cat([one.levels[name][0] for one in found])[back]
            for name in found[0].levels
        }
        return Similarity(torch.cat([one.scores[0] for one in found])[back], levels)

    pairwise = False
    """Whether a pair scores the same again and alone in training too, dropout and all. Then a block
    can be scored without gradients, and again with gradients where the loss needs them."""

    def blocks_at_once(self, device: torch.device) -> int:
        """How many of the model's blocks of images may be scored together there.

        More than one where a pair takes far less memory than it does elsewhere.
        """
        del device
        return 1

    @property
    def scans(self) -> bool:
        """Whether it has `rounded` and `scan`."""
        return False

    def rounded(self, encoded: ImagesT | TextsT) -> Batch:
        """Encoded items of either side as `scan` takes them."""
        raise NotImplementedError

    def scan(self, images: Any, texts: Any) -> Scan:
        """As `forward`, of what `rounded` gave: less exact scores, much sooner, with a bound."""
        raise NotImplementedError

    def word_regions(self, images: ImagesT, texts: TextsT) -> Tensor | None:
        """How strongly each word answers each region: (images, texts, words, regions), for figures.

        None where the method compares no words with regions.
        """
        del images, texts
        return None

    if TYPE_CHECKING:
        __call__ = forward


class Loss(Component, ABC):
    """Turns the similarities of a block into one number. Its state is saved with the run.

    epoch:   of training, from 0; training sets it
    selects: whether it has `needed`
    """

    epoch = 0
    selects = False

    @abstractmethod
    def forward(self, similarity: Similarity, pairs: Pairs) -> Tensor:
        """The loss of the block: a scalar."""

    def needed(self, scan: Scan, pairs: Pairs) -> Tensor:
        """The pairs on whose scores value and gradient may depend: (images, texts), bool.

        For a loss that takes few pairs of a block and reads no levels. `scan` bounds the scores.
        The loss must come out the same wherever the other scores lie within their bounds.
        """
        raise NotImplementedError

    if TYPE_CHECKING:
        __call__ = forward

"""A matching model: two encoders and an aligner, and an extractor where it reads photographs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from . import components
from .batch import Batch, Photos, Regions
from .config import ModelConfig
from .errors import InputError, WeightsError
from .interfaces import Aligner, Extractor, ImageEncoder, Noise, Similarity, TextEncoder
from .model_folders.saving import write_folder
from .scoring.blocks import score_all
from .vision.ahead import read_ahead

Advance = Callable[[int], None]

IMAGES = 16
"""Encoded at once: with 32 photographs a CPU takes a third longer, their maps leave its cache."""


@final
class MatchingModel(nn.Module):
    """What `zoo.load` returns. Plugins compose one; they do not subclass it.

    >>> model = zoo.load("chan-f8k")                                   # doctest: +SKIP
    >>> images = model.encode_images(["beach.jpg", "street.jpg"])      # doctest: +SKIP
    >>> texts = model.encode_texts(["a dog runs on the beach"])        # doctest: +SKIP
    >>> model.score(images, texts).shape                               # doctest: +SKIP
    torch.Size([2, 1])
    """

    def __init__(
        self,
        image_encoder: ImageEncoder[Any],
        text_encoder: TextEncoder[Any, Any],
        aligner: Aligner[Any, Any],
        extractor: Extractor | None = None,
        *,
        image_block: int = 128,
        text_block: int = 512,
    ) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.aligner = aligner
        self.extractor = extractor
        self.image_block, self.text_block = image_block, text_block
        self.config: ModelConfig | None = None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next((tensor.device for tensor in self.parameters()), torch.device("cpu"))

    @property
    def images_at_once(self) -> int:
        """How many images are scored together where the model is."""
        return self.image_block * self.aligner.blocks_at_once(self.device)

    def prepare_images(self, items: Any, noise: Noise | None = None) -> Photos | Regions:
        """Raw images as tensors: pictures through the extractor, features for the image encoder.

        Raises `InputError` for items that are neither, for one picture where several are meant,
        and for pictures when the model reads features only.
        """
        _refuse_bad_list(items, "images")
        if not isinstance(items, Batch) and _is_picture(items[0]):
            if self.extractor is None:
                raise InputError(
                    f"{self._name} reads region features and has no extractor for pictures. "
                    "Pass its features as (images, regions, dim), or choose a model that reads "
                    "photographs, such as chan-f8k."
                )
            return self.extractor.prepare(items, noise)
        return self.image_encoder.prepare(items, noise)

    @torch.no_grad()
    def encode_images(
        self, images: Any, *, batch_size: int = IMAGES, advance: Advance | None = None
    ) -> Batch:
        """Encode images once, to be scored against any texts.

        `images` is a sequence of file paths or PIL images, or region features as an array
        (images, regions, dim), a list of (regions, dim), or `zoo.Regions`. `advance` is told the
        number of images after each batch. Raises `InputError` for what cannot be encoded.
        """
        blocks = self.encode_image_blocks(images, batch_size, advance)
        return type(blocks[0]).join(blocks)

    @torch.no_grad()
    def encode_texts(
        self, captions: Sequence[str], *, batch_size: int = 128, advance: Advance | None = None
    ) -> Batch:
        """Encode captions once, to be scored against any images.

        Captions of about one length are encoded together, whatever their order. Raises `InputError`
        for a single string, an empty list, and what is not text.
        """
        _refuse_bad_list(captions, "captions")
        _check_batch_size(batch_size)
        lengths = [len(str(one).split()) for one in captions]
        order = torch.tensor(lengths).argsort(stable=True)
        prepared = self._prepared_texts(captions, order, batch_size)
        blocks = self._encode_blocks(self.text_encoder, prepared, advance)
        encoded = type(blocks[0]).join(blocks)
        return encoded if _ascending(order) else encoded[order.argsort().to(self.device)]

    @torch.no_grad()
    def encode_image_blocks(
        self, images: Any, batch_size: int = IMAGES, advance: Advance | None = None
    ) -> list[Batch]:
        """As `encode_images`, but as the blocks that were encoded together."""
        _refuse_bad_list(images, "images")
        _check_batch_size(batch_size)
        return self._encode_blocks(
            self.encode_prepared, self._prepared(images, batch_size), advance
        )

    def score(self, images: Batch, texts: Batch, *, advance: Advance | None = None) -> Tensor:
        """Scores of every encoded image with every encoded text: (images, texts), float32, CPU.

        Higher is better; scores rank, they are no probabilities. Memory beyond the result is
        bounded by one block. Raises `InputError` when a score is not finite, and for items that are
        not encoded yet.
        """
        for side, encode in ((images, "encode_images"), (texts, "encode_texts")):
            if not isinstance(side, Batch):
                raise InputError(
                    f"score was given a {type(side).__name__} where an encoding is wanted. "
                    f"Encode the items first: model.{encode}(...)."
                )
        return score_all(
            self.aligner,
            images.split(self.images_at_once),
            texts.split(self.text_block),
            device=self.device,
            advance=advance,
        )

    def save(
        self,
        folder: str | Path,
        *,
        half: bool = False,
        results: Mapping[str, Any] | None = None,
    ) -> Path:
        """Save as a model folder, whole or not at all; `half` stores the weights as float16.

        `zoo.load("local-dir:FOLDER")` reads it again. `results` become its results.json. An older
        model's folder is replaced, but for its README.md; should the process be killed between
        the two renames of that, the old folder lies beside it as `.NAME.PID.old` until the next
        save puts it back. Raises `InputError` for a folder with other things in it, `WeightsError`
        for a model that was not built from a configuration or whose weights are not finite, and
        `DataError` when the disk is full.
        """
        if self.config is None:
            raise WeightsError(
                "This model was not built from a configuration, so it could not be loaded again. "
                "Build it with zoo.model.build_model, then save it."
            )
        tensors, files = self.state_dict(), self.files()
        return write_folder(Path(folder), self.config, tensors, files, results=results, half=half)

    def files(self) -> dict[str, str]:
        """The text files that lie beside the weights, by name: a vocabulary, a tokenizer's."""
        files: dict[str, str] = {}
        for part in (self.image_encoder, self.text_encoder, self.aligner, self.extractor):
            files |= part.files() if part is not None else {}
        return files

    def forward(self, images: Photos | Regions, texts: Batch) -> Similarity:
        """From prepared items to similarities, with gradients: what training calls."""
        encoded_images, encoded_texts = self.encode_prepared(images), self.text_encoder(texts)
        similarity: Similarity = self.aligner(encoded_images, encoded_texts)
        return replace(similarity, images=encoded_images, texts=encoded_texts)

    def encode_prepared(self, images: Photos | Regions) -> Batch:
        """Encode prepared images, with gradients where they are on.

        Raises `InputError` for photographs when the model reads features only.
        """
        if isinstance(images, Photos):
            if self.extractor is None:
                raise InputError(f"{self._name} has no extractor. Pass region features instead.")
            images = self.extractor(images)
        encoded: Batch = self.image_encoder(images)
        return encoded

    @property
    def _name(self) -> str:
        return self.config.name if self.config else "This model"

    def _prepared(self, images: Any, size: int) -> Iterator[Photos | Regions]:
        """Prepared blocks of images: pictures opened block by block, features checked at once."""
        if isinstance(images, Batch) or not _is_picture(images[0]):
            yield from self.prepare_images(images).split(size)
        elif self.extractor is not None and all(
            isinstance(one, (str, os.PathLike)) for one in images
        ):
            prepare = self.extractor.prepare
            for block in read_ahead(lambda picture: prepare([picture]), images, size):
                yield type(block[0]).join(block)
        else:
            for start in range(0, len(images), size):
                yield self.prepare_images(images[start : start + size])

    def _prepared_texts(self, captions: Sequence[str], order: Tensor, size: int) -> Iterator[Batch]:
        """Prepared blocks of captions in that order."""
        for rows in order.split(size):  # type: ignore[no-untyped-call]
            try:
                yield self.text_encoder.prepare([captions[row] for row in rows])
            except InputError:
                self.text_encoder.prepare(captions)  # says which caption of all it is
                raise

    def _encode_blocks(
        self,
        encode: Callable[[Any], Batch],
        prepared: Iterable[Batch],
        advance: Advance | None,
    ) -> list[Batch]:
        """Encode without dropout, whatever mode the model is in."""
        training = self.training
        self.eval()
        try:
            blocks = []
            for block in prepared:
                blocks.append(encode(block.to(self.device)))
                if advance is not None:
                    advance(len(block))
            return blocks
        finally:
            self.train(training)


def _ascending(order: Tensor) -> bool:
    return bool((order[1:] > order[:-1]).all())


def _is_picture(item: Any) -> bool:
    if isinstance(item, (str, os.PathLike)):
        return True
    return any(kind.__module__.split(".")[0] == "PIL" for kind in type(item).__mro__)


def _refuse_bad_list(items: Any, what: str) -> None:
    if isinstance(items, (str, os.PathLike)) or _is_picture(items):
        raise InputError(
            f"One item was given ({str(items)[:60]!r}) where a list of {what} is wanted. "
            "Put it into a list."
        )
    if isinstance(items, Mapping) or not hasattr(items, "__getitem__"):
        raise InputError(
            f"The {what} were given as {type(items).__name__}, which is no list of {what}. "
            f"Make one of them, as in list({what})."
        )
    if len(items) == 0:
        raise InputError(f"There are no {what} to encode. Give at least one.")


def _check_batch_size(size: int) -> None:
    if size < 1:
        raise InputError(f"batch_size is {size}. Encode at least one item at once.")


def build_model(config: ModelConfig, files: Mapping[str, str]) -> MatchingModel:
    """A model with random weights; `files` are the text files of its folder, by name."""
    model = MatchingModel(
        components.build("image_encoder", config.image_encoder, files),
        components.build("text_encoder", config.text_encoder, files),
        components.build("aligner", config.aligner, files),
        components.build("extractor", config.extractor, files) if config.extractor else None,
        image_block=config.scoring.image_block,
        text_block=config.scoring.text_block,
    )
    model.config = config
    return model

"""Regions by a network of transformers: cells of a backbone, or objects of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any, Self, final

import torch
from torch import Tensor

from ..batch import Photos, Regions
from ..errors import InputError
from ..interfaces import Extractor, Noise
from ..options import check_positive
from . import networks
from .outputs import as_map, cells, objects
from .photos import read_photo
from .preprocessing import Preprocessing, Size

DESCRIPTION = "extractor.json"


@final
class TransformersExtractor(Extractor):
    """At most `regions` regions of a photograph, by a network that transformers knows.

    A detector (of the DETR family: DETR, RT-DETR, YOLOS, ...)
    gives the last states of its most certain queries, best first, and their boxes.
    A backbone (ViT, CLIP, DINOv2, Swin, ResNet, ConvNeXt, ...) gives the cells of the largest
    square grid that has no more of them, rows from the top: means of its feature map, or of the
    patch tokens that stand for the cell.

    The network is fixed: it takes no gradient, and stays in evaluation.

    model:       a name on the Hub, or a folder
    revision:    the commit on the Hub; by default the one that the name means now
    description: text of extractor.json of a model's folder, from which the network is built again
                 without its weights; None loads it by `model`
    """

    pretrained = True

    def __init__(
        self,
        model: str,
        revision: str | None = None,
        regions: int = 36,
        description: str | None = None,
    ) -> None:
        super().__init__()
        check_positive("regions", regions)
        self.model, self.regions = model, regions
        if description is None:
            self.description = networks.describe(model, revision)
            network = networks.load(model, self.description)
        else:
            self.description = networks.Description.from_json(description)
            network = networks.build(self.description)
        self.preprocessing = Preprocessing.read(self.description.preprocessor)
        self.settings: Any = network.config
        self.network = network.requires_grad_(False)
        self.eval()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        """From the description in the model's folder where there is one."""
        return cls(**{"description": files.get(DESCRIPTION), **config})

    def files(self) -> Mapping[str, str]:
        """The description, so that a saved model needs neither the Hub nor the folder."""
        return {DESCRIPTION: self.description.to_json()}

    def extra_repr(self) -> str:
        """The settings that features depend on; a folder counts by its name and its weights."""
        name = self.model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
        named = f"{self.model}@{self.description.revision}" if self.description.revision else name
        return f"{named}, regions={self.regions}, {self.preprocessing}"

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation: the network is fixed."""
        del mode
        return super().train(False)

    def prepare(self, items: Any, noise: Noise | None = None) -> Photos:
        """Read photographs (paths or PIL images), resized as the network wants them.

        Where their sizes differ, smaller ones are padded at the right and below; `forward` takes
        the padding away. There is no noise.
        """
        del noise
        photos = [read_photo(item) for item in items]
        return Photos.join(
            [
                Photos(self.preprocessing.pixels(photo, size)[None], torch.tensor([size]))
                for photo, size in photos
            ]
        )

    def forward(self, batch: Photos) -> Regions:
        """Photographs to regions: features (images, regions, dim), with boxes.

        Pictures of one size are encoded together, without padding, so each is encoded alike in
        any company.
        """
        by_size: dict[Size, list[int]] = {}
        for row, size in enumerate(batch.sizes.tolist()):
            by_size.setdefault(self.preprocessing.size(*size), []).append(row)
        blocks = [
            self._regions(batch.pixels[rows, :, :height, :width], batch.sizes[rows])
            for (width, height), rows in by_size.items()
        ]
        order = torch.tensor([row for rows in by_size.values() for row in rows])
        return Regions.join(blocks)[order.argsort().to(batch.pixels.device)]

    def _regions(self, pixels: Tensor, sizes: Tensor) -> Regions:
        """Of pictures that are resized to the same size."""
        output = self.network(pixel_values=self.preprocessing.normalize(pixels))
        states = output.last_hidden_state
        if self.description.detects:
            classes = self.settings.num_labels
            logits, found = output.logits, output.pred_boxes
            features, shares = objects(states, logits, found, classes, self.regions)
        else:
            height, width = pixels.shape[2:]
            maps = states if states.ndim == 4 else as_map(states, height, width, self._patch())
            features, shares = cells(maps, isqrt(self.regions))
        boxes = (shares * sizes.repeat(1, 2)[:, None]).float()
        mask = torch.ones(features.shape[:2], dtype=torch.bool, device=features.device)
        return Regions(features.float(), mask, boxes, sizes)

    def _patch(self) -> int:
        patch = getattr(self.settings, "patch_size", None)
        if not isinstance(patch, int):
            raise InputError(
                f"{self.model} gives tokens and does not say which patches they stand for "
                f"(patch_size is {patch!r}). Choose a backbone with square patches."
            )
        return patch

"""How gist compares an image with a text."""

import torch

from itm_zoo_gist.encoders import Gist
from zoo.interfaces import Aligner, Similarity
from zoo.ops import in_full


class GistAligner(Aligner[Gist, Gist]):
    """The cosine of both summaries, in float32 whatever the encoders compute in."""

    def forward(self, images: Gist, texts: Gist) -> Similarity:
        """(images, texts)."""
        with torch.autocast(images.vector.device.type, enabled=False):
            return Similarity(in_full(images.vector) @ in_full(texts.vector).T)

"""What `zoo demo` shows: photographs that come with the package, and captions to rank for them.

Sources and licences of the photographs stand in demo_photos/LICENSES.txt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from .model import MatchingModel

PHOTOS = Path(__file__).with_name("demo_photos")
CAPTIONS = (
    "a woman in an orange suit smiles in front of a flag",
    "a man in a black coat looks through a camera",
    "the face of a cat",
    "a cup of coffee on a wooden table",
    "bright lights under a dark sky at night",
    "a building and trees beside a lake",
    "two dogs run through the grass",
    "a boy jumps into a swimming pool",
    "a man climbs a steep rock",
    "children play soccer on a field",
    "a person rides a bicycle on a dirt path",
    "a surfer rides a wave",
)
"""The first six describe one photograph each; the others describe none of them."""

Found = tuple[str, float]
"""A caption or the path of a photograph, and its score."""


@dataclass(frozen=True)
class Ranking:
    """Photographs and captions, and the score of every pair.

    scores: (photographs, captions), higher is better
    """

    photos: Sequence[Path]
    captions: Sequence[str]
    scores: Tensor

    def captions_of(self, photo: int, count: int = 3) -> list[Found]:
        """The best captions of a photograph, best first."""
        values, rows = self.scores[photo].topk(min(count, len(self.captions)))
        return [(self.captions[row], value) for row, value in _pairs(rows, values)]

    def photos_of(self, caption: int, count: int = 3) -> list[Found]:
        """The best photographs of a caption, best first."""
        values, rows = self.scores[:, caption].topk(min(count, len(self.photos)))
        return [(str(self.photos[row]), value) for row, value in _pairs(rows, values)]

    def clearest_pair(self) -> tuple[int, int]:
        """The photograph and the caption whose score stands out most from both their others'.

        Among captions of one photograph, or photographs of one caption, it is the best score.
        """
        clear = self.scores
        for axis in (0, 1):
            if clear.shape[axis] > 1:
                clear = clear - clear.mean(dim=axis, keepdim=True)
        photo, caption = divmod(int(clear.argmax()), len(self.captions))
        return photo, caption


def rank(model: MatchingModel, photos: Sequence[Path], captions: Sequence[str]) -> Ranking:
    """Score every photograph with every caption.

    Raises `InputError` for a photograph that cannot be read, and for an empty caption.
    """
    scores = model.score(model.encode_images(photos), model.encode_texts(captions))
    return Ranking(photos, captions, scores)


def _pairs(rows: Tensor, values: Tensor) -> list[tuple[int, float]]:
    return list(zip(rows.tolist(), values.tolist(), strict=True))

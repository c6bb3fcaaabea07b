"""A figure that shows which region of a photograph answers which word of a text."""

from __future__ import annotations

import io
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec
    from numpy.typing import NDArray
    from PIL import Image

    from ..model import MatchingModel

MOST_WORDS = 8
LINE = 0.07  # height of a line of a label, as a share of the photograph's
FUNCTION_WORDS = {"a", "an", "the", "is", "are", "and", ".", ","}
FUNCTION_WORDS |= {"of", "in", "on", "at", "to", "by", "with", "from"}
SPECIAL_WORDS = {"<start>", "<end>", "[CLS]", "[SEP]"}


@dataclass(frozen=True)
class Alignment:
    """A photograph and a text, compared word by word with region by region.

    words:      the words of the text as the model reads them
    similarity: (words, regions)
    boxes:      (regions, 4), x1 y1 x2 y2 in pixels of the photograph
    """

    photo: Image.Image
    text: str
    score: float
    words: Sequence[str]
    similarity: NDArray[np.float32]
    boxes: NDArray[np.float32]

    @property
    def shown(self) -> list[int]:
        """The positions of the words to show: no function words, at most eight, the strongest."""
        telling = self._without(FUNCTION_WORDS | SPECIAL_WORDS) or self._without(SPECIAL_WORDS)
        strongest = sorted(telling, key=lambda position: -self.similarity[position].max())
        return sorted(strongest[:MOST_WORDS])

    def _without(self, left_out: set[str]) -> list[int]:
        return [position for position, word in enumerate(self.words) if word not in left_out]

    def winner(self, position: int) -> int:
        """The region that answers a word best."""
        return int(self.similarity[position].argmax())

    def heat(self, position: int, across: int = 112) -> NDArray[np.float64]:
        """How strongly each place answers a word: (height, width) of a coarse map, 0 to 1.

        A place has the mean similarity of the regions around it. A region counts most at its
        middle, and a small region more than a large one.
        """
        width, height = self.photo.size
        down = max(round(across * height / width), 1)
        total, weight = np.zeros((down, across)), np.full((down, across), 1e-12)
        for (x1, y1, x2, y2), similarity in zip(self.boxes, self.similarity[position], strict=True):
            tent = np.outer(_tent(y1, y2, height, down), _tent(x1, x2, width, across))
            share = tent / tent.sum()
            total += share * similarity
            weight += share
        mean = total / weight
        scaled: NDArray[np.float64] = (mean - mean.min()) / max(float(np.ptp(mean)), 1e-9)
        return scaled


def _tent(start: float, end: float, length: int, steps: int) -> NDArray[np.float64]:
    """1 in the middle of an interval, 0.1 at its ends, 0 outside: (steps,)."""
    places = (np.arange(steps) + 0.5) * length / steps
    middle, half = (start + end) / 2, max((end - start) / 2, length / steps)
    distance = np.abs(places - middle) / half
    return np.where(distance <= 1, 1 - 0.9 * distance, 0)


@torch.inference_mode()
def align(model: MatchingModel, path: Path, text: str) -> Alignment:
    """Compare one photograph with one text, fragment by fragment.

    Raises `InputError` for a model that reads no photographs, knows no boxes, or compares no
    words with regions.
    """
    from ..vision.photos import open_photo

    if model.extractor is None:
        raise InputError(
            "This model reads region features, so there is no photograph to draw on. "
            "Choose a model with an extractor, such as chan-f8k."
        )
    photo = open_photo(path)
    regions = model.extractor(model.extractor.prepare([photo]).to(model.device))
    images, texts = model.encode_images(regions), model.encode_texts([text])
    compared = model.aligner.word_regions(images, texts)
    if compared is None or regions.boxes is None:
        raise InputError(
            "This model compares no words with boxes of the photograph. "
            "Choose one that does, such as chan-f8k."
        )
    return Alignment(
        photo=photo,
        text=text,
        score=float(model.score(images, texts)),
        words=model.text_encoder.words(text),
        similarity=compared[0, 0].float().cpu().numpy(),
        boxes=regions.boxes[0].float().cpu().numpy(),
    )


def draw(alignment: Alignment) -> bytes:
    """The figure as PNG: the photograph with each word's best region, and a map for each word.

    Words that the same region answers have its colour.
    """
    shown = alignment.shown
    rows = 1 if len(shown) <= MOST_WORDS // 2 else 2
    columns = -(-len(shown) // rows)
    figure, grid = _canvas(alignment.photo, rows, columns)
    colors = _colors(alignment)
    _draw_boxes(figure.add_subplot(grid[:, 0]), alignment, colors)
    for number, position in enumerate(shown):
        axis = figure.add_subplot(grid[number // columns, 1 + number % columns])
        _draw_heat(axis, alignment, position, colors[alignment.winner(position)])
    figure.suptitle(f"“{alignment.text}”   score {alignment.score:.2f}", fontsize=13)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def _canvas(photo: Image.Image, rows: int, columns: int) -> tuple[Figure, GridSpec]:
    """A figure with room for the photograph and, right of it, rows and columns of small maps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    large, small = 4.6, 1.9  # inches
    shape = photo.height / photo.width
    height = max(rows * (small * shape + 0.35), large * shape) + 0.5
    figure = Figure(figsize=(large + small * columns, height), dpi=140)
    FigureCanvasAgg(figure)
    widths = (large, *[small] * columns)
    space = {
        "top": 1 - 0.6 / height,
        "bottom": 0,
        "left": 0,
        "right": 1,
        "wspace": 0.06,
        "hspace": 0.12,
    }
    return figure, figure.add_gridspec(rows, 1 + columns, width_ratios=widths, **space)


def _colors(alignment: Alignment) -> dict[int, Any]:
    """A colour for each region that answers a word, in the order of the words."""
    from matplotlib import colormaps

    regions = dict.fromkeys(alignment.winner(position) for position in alignment.shown)
    return {region: colormaps["Dark2"](number) for number, region in enumerate(regions)}


def _draw_boxes(axis: Any, alignment: Alignment, colors: Mapping[int, Any]) -> None:
    """The photograph with the regions that answer a word, each labelled with its words."""
    width, height = alignment.photo.size
    axis.imshow(alignment.photo)
    axis.set_axis_off()
    lines_at: Counter[tuple[int, int]] = Counter()
    for region, color in colors.items():
        words = [alignment.words[one] for one in alignment.shown if alignment.winner(one) == region]
        label = textwrap.wrap(" ".join(words), 22)
        x1, y1, x2, _ = map(float, alignment.boxes[region])
        _outline(axis, alignment.boxes[region], color)
        rightmost = x1 > width / 2
        corner = (round(x2 if rightmost else x1), round(y1))
        axis.text(
            corner[0],
            y1 + lines_at[corner] * height * LINE,
            "\n".join(label),
            color="white",
            fontsize=9,
            va="top",
            ha="right" if rightmost else "left",
            bbox={"facecolor": color, "edgecolor": "none", "pad": 2},
        )
        lines_at[corner] += len(label)


def _outline(axis: Any, box: NDArray[np.float32], color: Any) -> None:
    from matplotlib.patches import Rectangle

    x1, y1, x2, y2 = map(float, box)
    axis.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=2.5)
    )


def _draw_heat(axis: Any, alignment: Alignment, position: int, color: Any) -> None:
    width, height = alignment.photo.size
    axis.imshow(alignment.photo.convert("L"), cmap="gray")
    axis.imshow(alignment.heat(position), extent=(0, width, height, 0), cmap="inferno", alpha=0.6)
    _outline(axis, alignment.boxes[alignment.winner(position)], color)
    best = alignment.similarity[position].max()
    axis.set_title(f"{alignment.words[position]}  {best:.2f}", fontsize=10, color=color)
    axis.set_axis_off()

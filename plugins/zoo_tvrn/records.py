"""What images and texts are when they are encoded."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zoo.batch import Batch, Fragments


@dataclass(frozen=True)
class Context(Batch):
    """What texts are expanded with: an image's context regions, and two maps of them.

    regions: con, of unit length
    keys:    K con + b
    inputs:  W_ih con, the input of the GRU that goes on over the expanded text: (.., 3 dim)
    """

    regions: Fragments
    keys: Fragments
    inputs: Fragments


@dataclass(frozen=True)
class RefinedImage(Batch):
    """An image as it is compared. The first reading is of plain regions, the second of enriched.

    regions:   the first reading, or the only one
    enriched:  the second reading
    whole:     (images, dim), of unit length
    relevance: softmax(9 region . whole) over both readings: (images, regions, readings); None
               without semantic alignment enhancement
    context:   for texts that are expanded with it
    """

    regions: Fragments
    enriched: Fragments | None
    whole: Tensor
    relevance: Fragments | None
    context: Context | None


@dataclass(frozen=True)
class RefinedText(Batch):
    """A caption refined by its own context alone.

    words:    the first reading, or the only one
    expanded: the second reading
    whole:    (texts, dim), of unit length
    """

    words: Fragments
    expanded: Fragments | None
    whole: Tensor


@dataclass(frozen=True)
class HalfReadText(Batch):
    """A caption read as far as no image is needed: shortcut 1, since the GRU looks back only.

    words:   the first reading
    plain:   the words before it
    local:   the first reading as the pooling projects it
    queries: Q cc + b, what each word asks an image's context
    state:   (texts, dim), the GRU's last
    """

    words: Fragments
    plain: Fragments
    local: Fragments
    queries: Fragments
    state: Tensor

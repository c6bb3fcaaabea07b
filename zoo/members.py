"""Several models as one: each member encodes and scores in its own way, and the mean counts.

The field's ensembles are such a mean of two models' scores (Lee et al., Stacked cross attention,
ECCV 2018, and its successors). Here it is a model like others: two encoders and an aligner, made
of those of the members, so that it is saved, loaded and evaluated as one model is. (Of matrices of
scores on disk, `zoo.evaluation.ensembles` takes the mean.)
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from .batch import Batch, Regions
from .components import build
from .errors import WeightsError
from .interfaces import Aligner, Component, ImageEncoder, Noise, Similarity, TextEncoder
from .model_folders.joining import MemberFiles, file_of_member


@dataclass(frozen=True)
class Encodings(Batch):
    """What each member makes of the same items.

    first:  the first member's
    others: those of the members behind it, None behind the last
    """

    first: Batch
    others: Encodings | None = None

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Encodings:
        """From those of the members, in their order."""
        first, *others = batches
        return cls(first, cls.of(others) if others else None)

    def each(self) -> Iterator[Any]:
        """Those of the members, in their order."""
        yield self.first
        if self.others is not None:
            yield from self.others.each()


class _OfMembers(Component, ABC):
    """A part that is made of the members' parts of the same kind."""

    kind: str

    def __init__(self, members: Iterable[Any]) -> None:
        super().__init__()
        self.members: Any = nn.ModuleList(members)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        configs = config.get("members")
        if not isinstance(configs, (list, tuple)) or len(configs) < 2:
            raise WeightsError(
                f"The {cls.kind} of a joined model has the members {configs!r}, where a list of "
                "two or more is wanted. Join the models anew: zoo join MODEL MODEL ... -o FOLDER"
            )
        named = enumerate(configs)
        return cls([build(cls.kind, one, MemberFiles(files, number)) for number, one in named])

    def files(self) -> Mapping[str, str]:
        """Each member's, by names that tell whose they are."""
        return {
            file_of_member(name, number): text
            for number, member in enumerate(self.members)
            for name, text in member.files().items()
        }


class MemberImages(_OfMembers, ImageEncoder[Encodings]):
    """Images as each member encodes them, from the same region features."""

    kind = "image_encoder"

    def prepare(self, items: Any, noise: Noise | None = None) -> Regions:
        """As the first member does, augmentation included; each of the others checks it."""
        first, *others = self.members
        prepared: Regions = first.prepare(items, noise)
        for member in others:
            prepared = member.prepare(prepared)
        return prepared

    def forward(self, batch: Regions) -> Encodings:
        """As the interface says."""
        return Encodings.of([member(batch) for member in self.members])


class MemberTexts(_OfMembers, TextEncoder[Encodings, Encodings]):
    """Captions as each member encodes them, with the words of its own vocabulary."""

    kind = "text_encoder"

    def __init__(self, members: Iterable[TextEncoder[Any, Any]]) -> None:
        super().__init__(members)
        self.dim: int = self.members[0].dim

    def prepare(self, items: Sequence[str], noise: Noise | None = None) -> Encodings:
        """As each member does."""
        return Encodings.of([one.prepare(items, noise) for one in self.members])

    def forward(self, batch: Encodings) -> Encodings:
        """As the interface says."""
        pairs = zip(self.members, batch.each(), strict=True)
        return Encodings.of([member(prepared) for member, prepared in pairs])

    def words(self, text: str) -> list[str]:
        """As the first member reads them."""
        words: list[str] = self.members[0].words(text)
        return words


class MeanScore(_OfMembers, Aligner[Encodings, Encodings]):
    """The mean of the members' scores, as they are: s = (s_1 + ... + s_n) / n."""

    kind = "aligner"

    def forward(self, images: Encodings, texts: Encodings) -> Similarity:
        """As the interface says."""
        triples = zip(self.members, images.each(), texts.each(), strict=True)
        scores = [aligner(ours, theirs).scores for aligner, ours, theirs in triples]
        return Similarity(torch.stack(scores).mean(dim=0))

    def blocks_at_once(self, device: torch.device) -> int:
        """The fewest of a member."""
        blocks: list[int] = [member.blocks_at_once(device) for member in self.members]
        return min(blocks)

    def word_regions(self, images: Encodings, texts: Encodings) -> Tensor | None:
        """As the first member does, whose words `MemberTexts.words` tells."""
        answers: Tensor | None = self.members[0].word_regions(images.first, texts.first)
        return answers

"""What a plugin supplies so that released checkpoints of its method become models of the zoo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .accounts import Account
from .checkpoint import Checkpoint
from .words import GivenWords


@dataclass(frozen=True)
class Imported:
    """A model to build, and the tensors to put into it.

    parts:    image_encoder, text_encoder and aligner, as config.json has them
    features: kind, regions and dim of the region features that it reads
    account:  the tensors by their full names in the model ("image_encoder.project.weight"), and
              what became of every one of the checkpoint's
    files:    text files that the parts need, by name (`GivenWords` makes them)
    scoring:  the block that is scored at once, where it matters
    card:     the registered model that this would be one of, whose paper results it is held against
    notes:    sentences that a person should read: what the checkpoint leaves open, how the model
              differs from the paper's
    """

    parts: Mapping[str, Mapping[str, Any]]
    features: Mapping[str, Any]
    account: Account
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    scoring: Mapping[str, int] = field(default_factory=dict[str, int])
    card: str | None = None
    notes: tuple[str, ...] = ()


class Importer(ABC):
    """Reads the released checkpoints of one method, under whose name a plugin registers it.

    >>> register("importer", "chan", "zoo_chan.importer:ChanImporter")     # doctest: +SKIP
    """

    @abstractmethod
    def read(self, checkpoint: Checkpoint, words: GivenWords) -> Imported:
        """The model that a checkpoint holds.

        `words` are what the user gave to go with it. Each tensor of the checkpoint is accounted
        for by `Account.take`. Raises `WeightsError` for a checkpoint that is not of this method or
        was made with options that the method here does not have.
        """

"""Text encoders that go on from words which another text encoder reads."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ..batch import Fragments, Tokens
from ..components import build
from ..interfaces import EncodedT, Noise, PreparedT, TextEncoder


class ReadsWords(TextEncoder[PreparedT, EncodedT], ABC):
    """A text encoder with another one inside that reads the words.

    In a configuration `reader` is that of the inner encoder, such as `{"type": "bigru", ...}`; so
    a method reads words by BiGRU or by BERT without a line of its own. A method extends this and
    writes `forward`; one whose texts are more than tokens writes `prepare` too.

    reader: yields `Fragments` and says their `dim`; of unit length unless it is told otherwise
    """

    def __init__(self, reader: TextEncoder[Tokens, Fragments]) -> None:
        super().__init__()
        self.reader, self.dim = reader, reader.dim

    @classmethod
    def from_config(cls, config: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        reader = build("text_encoder", config.get("reader", {}), files)
        return cls(**{**config, "reader": reader})

    def files(self) -> Mapping[str, str]:
        return self.reader.files()

    def load_initial(self, path: Path) -> None:
        """Give the weights to the reader: word vectors to a BiGRU, a pretrained BERT to a BERT."""
        self.reader.load_initial(path)

    def prepare(self, items: Sequence[str], noise: Noise | None = None) -> PreparedT:
        prepared: Any = self.reader.prepare(items, noise)
        return prepared  # type: ignore[no-any-return]

    def words(self, text: str) -> list[str]:
        return self.reader.words(text)

"""The words that a text encoder knows, each with its id."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from ..errors import DataError
from .words import tokenize

PAD, START, END, UNKNOWN, MASK = "<pad>", "<start>", "<end>", "<unk>", "<mask>"
SPECIALS = (PAD, START, END, UNKNOWN)


@dataclass(frozen=True)
class Vocabulary:
    """Words by id. Ids 0 to 3 are padding, start, end and unknown; a mask, if any, is the last."""

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = self.words[:4] != SPECIALS or MASK in self.words[:-1]
        if wrong or len(set(self.words)) != len(self.words):
            raise DataError(
                f"The vocabulary begins with {list(self.words[:4])}, or has a word twice, or "
                f"{MASK} before its end. It must begin with {list(SPECIALS)}, and all words differ."
            )

    @classmethod
    def build(cls, captions: Iterable[str], minimum_count: int = 4, *, mask: bool = False) -> Self:
        """The words that occur at least `minimum_count` times, frequent ones first.

        >>> Vocabulary.build(["a dog", "a cat"], minimum_count=2).words
        ('<pad>', '<start>', '<end>', '<unk>', 'a')
        """
        counts = Counter(word for caption in captions for word in tokenize(caption))
        kept = sorted((-count, word) for word, count in counts.items() if count >= minimum_count)
        return cls((*SPECIALS, *(word for _, word in kept), *((MASK,) if mask else ())))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read SCAN's layout: {"word2idx": {word: id}, ...}. Raises `DataError` for another."""
        try:
            ids: dict[str, int] = json.loads(text)["word2idx"]
            words = sorted(ids, key=ids.__getitem__)
            complete = [ids[word] for word in words] == list(range(len(words)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"The vocabulary is not JSON of the form {{'word2idx': {{word: id}}}} ({error!r}). "
                "Give a vocabulary in SCAN's layout."
            ) from error
        if not complete:
            raise DataError(
                f"The vocabulary's {len(words)} words do not have the ids 0 to {len(words) - 1}. "
                "Give every word an id of its own, without gaps."
            )
        return cls(tuple(words))

    def to_json(self) -> str:
        """SCAN's layout: {"word2idx", "idx2word", "idx"}."""
        words = dict(enumerate(self.words))
        layout = {"word2idx": self.ids, "idx2word": words, "idx": len(self)}
        return json.dumps(layout, ensure_ascii=False, indent=0) + "\n"

    def with_mask(self) -> Self:
        """The same words, and a mask as the last one: what training puts for a hidden word."""
        return self if self.mask is not None else type(self)((*self.words, MASK))

    @cached_property
    def ids(self) -> dict[str, int]:
        """The id of each word."""
        return {word: number for number, word in enumerate(self.words)}

    @property
    def mask(self) -> int | None:
        """The mask's id, if there is one."""
        return self.ids.get(MASK)

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of the words and their order."""
        return hashlib.sha256("\n".join(self.words).encode("utf-8", "surrogatepass")).hexdigest()

    def encode(self, caption: str) -> list[int]:
        """Ids of the caption's words between those of start and end; 3 for one not known."""
        unknown = self.ids[UNKNOWN]
        # No word of a caption is a special: the tokenizer sets < and > apart.
        words = [self.ids.get(word, unknown) for word in tokenize(caption)]
        return [self.ids[START], *words, self.ids[END]]

    def __len__(self) -> int:
        return len(self.words)

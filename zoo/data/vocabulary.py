"""The words that a text encoder knows, each with its id, in the layouts that the field writes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ..errors import DataError
from ..pickles import Machine, Standin, Strange
from .words import tokenize

PAD, START, END, UNKNOWN, MASK = "<pad>", "<start>", "<end>", "<unk>", "<mask>"
SPECIALS = (PAD, START, END, UNKNOWN)
"""The order in which SCAN and most programs after it begin."""

SPELLINGS = {
    START: (START, "[START]"),
    END: (END, "[END]"),
    UNKNOWN: (UNKNOWN, "[UNK]"),
    MASK: (MASK, "[MASK]"),
}
"""Specials as they may be written: most programs after the first form, CORA's after the second."""


@dataclass(frozen=True)
class Vocabulary:
    """Words by id, specials among them, in whichever order their file has.

    A special is known by how it is written, never by its id: `<pad>` 0, `<start>` 1, `<end>` 2,
    `<unk>` 3 in SCAN's files, `<unk>` 1, `<start>` 2, `<end>` 3 in NAAF's with GloVe. There must
    be one for unknown words; a caption is put between start and end where there are such.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.words)) != len(self.words):
            twice = Counter(self.words).most_common(1)[0][0]
            raise DataError(
                f"The vocabulary has {len(self.words)} words, and {twice!r} more than once. "
                "Give each word one id."
            )
        if self._find(UNKNOWN) is None:
            raise DataError(
                f"The vocabulary of {len(self.words)} words has none for unknown ones; it begins "
                f"with {list(self.words[:4])}. Give one with {' or '.join(SPELLINGS[UNKNOWN])}."
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
    def open(cls, path: Path) -> Self:
        """Read a file of any known layout: JSON, a word a line, or VSE++'s pickle.

        Raises `DataError` for another. A pickle is read without running anything that it names.
        """
        content = path.read_bytes()
        try:
            if content.startswith(b"\x80"):  # a pickle of the second protocol or a later one
                return cls(_unpickle(path))
            text = content.decode("utf-8-sig")
            return cls.from_json(text) if path.suffix == ".json" else cls.from_lines(text)
        except (DataError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read as a vocabulary: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read {"word2idx": {word: id}, ...}, {word: id} or [word, ...] from JSON.

        Raises `DataError` for another layout, and for one that splits captions into letters.
        """
        try:
            layout = json.loads(text)
            if isinstance(layout, list):
                return cls(tuple(map(_word, layout)))
            if layout.get("char_level"):
                raise DataError("The vocabulary is one of letters (char_level). Give one of words.")
            return cls(_ordered(layout.get("word2idx", layout)))
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(
                "The vocabulary is not JSON of the form {'word2idx': {word: id}}, {word: id} or "
                f"[word, ...] ({error!r}). Give a vocabulary in one of these layouts."
            ) from error

    @classmethod
    def from_lines(cls, text: str) -> Self:
        """Read a word a line; its id is the number of the line, from 0."""
        # Not `splitlines`, which also splits at characters that are words.
        return cls(tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n")))

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
        found = self._find(MASK)
        return None if found is None else self.ids[found]

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 of the words and their order."""
        return hashlib.sha256("\n".join(self.words).encode("utf-8", "surrogatepass")).hexdigest()

    def split(self, caption: str) -> list[str]:
        """The caption's words, between start and end where the vocabulary has these."""
        start, end = ([found] if (found := self._find(one)) else [] for one in (START, END))
        # No word of a caption is a special: the tokenizer sets < and [ apart.
        return [*start, *tokenize(caption), *end]

    def encode(self, caption: str) -> list[int]:
        """The id of each word of `split`, that of unknown words for one that is not known."""
        unknown = self.ids[self._find(UNKNOWN) or UNKNOWN]
        return [self.ids.get(word, unknown) for word in self.split(caption)]

    def __len__(self) -> int:
        return len(self.words)

    def _find(self, special: str) -> str | None:
        """How this vocabulary writes a special, if it has it."""
        return next((written for written in SPELLINGS[special] if written in self.ids), None)


def _ordered(ids: Mapping[str, int]) -> tuple[str, ...]:
    """The words in the order of their ids, which must be 0, 1, 2, ..."""
    words = sorted(map(_word, ids), key=ids.__getitem__)
    if [ids[word] for word in words] != list(range(len(words))):
        raise DataError(
            f"The vocabulary's {len(words)} words do not have the ids 0 to {len(words) - 1}. "
            "Give every word an id of its own, without gaps."
        )
    return tuple(words)


def _word(word: Any) -> str:
    if not isinstance(word, str):
        raise TypeError(f"{word!r} is no word")
    return word


class _Pickled(Standin):
    """Stands for the class `Vocabulary` of another program; takes its words alone."""

    ids: Any = None

    def build(self, state: Any) -> None:
        self.ids = state["word2idx"]


def _unpickle(path: Path) -> tuple[str, ...]:
    """The words of a pickled object that has `word2idx`."""
    machine = Machine(lambda name: _Pickled if name.endswith(".Vocabulary") else None)
    try:
        with path.open("rb") as file:
            found = machine.read(file)
        return _ordered(found.ids)
    except Exception as error:  # a damaged pickle raises whatever it likes
        names = error.names[:8] if isinstance(error, Strange) else []
        said = f"it names {', '.join(names)!a:.200}" if names else f"{error!r:.200}"
        raise DataError(
            f"It is no pickled vocabulary ({said}). Write the words to JSON, as a list."
        ) from error

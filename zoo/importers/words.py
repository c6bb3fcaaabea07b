"""The words that a checkpoint's embeddings are of: its own, or those of a file that is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data.vocabulary import Vocabulary
from ..errors import DataError, InputError, WeightsError


@dataclass(frozen=True)
class GivenWords:
    """The file that the user gave as --vocab, if any, and what a text encoder needs of it."""

    path: Path | None = None

    def vocabulary(
        self, rows: int, own: Any = None, *, masked: bool = False
    ) -> tuple[Mapping[str, str], bool]:
        """For a `bigru`: its files, and its `mask_token`.

        rows:   how many embeddings the checkpoint has
        own:    the words that the checkpoint holds itself with their ids, where it does
        masked: whether the program put a mask behind the words of its file, so that a vocabulary
                of one word less than the embeddings is the right one

        Raises `InputError` when a file is needed and none was given, and `WeightsError` when the
        words are not those of the embeddings.
        """
        found = _own(own)
        given = self._given()
        if found is None and given is None:
            raise InputError(
                f"The checkpoint has {rows:,} word embeddings and does not say of which words. "
                "Give the vocabulary that it was trained with: --vocab FILE."
            )
        if found and given and found.with_mask() != given.with_mask():
            raise WeightsError(
                f"{self.path} has other words than the checkpoint itself, or in another order. "
                "Leave out --vocab: the checkpoint brings its own."
            )
        words = found or given
        assert words is not None
        mask = words.mask is not None or (masked and len(words) == rows - 1)
        if len(words.with_mask() if mask else words) != rows:
            raise WeightsError(
                f"The checkpoint has {rows:,} word embeddings and the vocabulary {len(words):,} "
                "words. Give the vocabulary that it was trained with: --vocab FILE."
            )
        return {"vocab.json": _written(words)}, mask

    def pieces(self, rows: int) -> Mapping[str, str]:
        """For a `bert`: its files.

        rows: how many embeddings the checkpoint has

        Raises as `vocabulary` does.
        """
        if self.path is None:
            raise InputError(
                f"The checkpoint reads text with a BERT of {rows:,} word pieces and does not say "
                "which. Give the vocab.txt of that BERT (bert-base-uncased unless its makers say "
                "otherwise): --vocab FILE."
            )
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(self.path, error) from error
        count = len(text.removesuffix("\n").split("\n"))
        if count != rows:
            raise WeightsError(
                f"The checkpoint has embeddings of {rows:,} word pieces, and {self.path} has "
                f"{count:,} lines. Give the vocab.txt of its BERT: --vocab FILE."
            )
        return {"vocab.txt": text}

    def _given(self) -> Vocabulary | None:
        try:
            return None if self.path is None else Vocabulary.open(self.path)
        except OSError as error:
            raise _unreadable(self.path, error) from error


def _unreadable(path: Path | None, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read ({error}). Check the path.")


def _own(words: Any) -> Vocabulary | None:
    """The vocabulary in a checkpoint. Raises `WeightsError` when it is none."""
    if words is None:
        return None
    try:
        pairs = words.items() if isinstance(words, dict) else [(None, None)]
        if any(type(word) is not str or type(number) is not int for word, number in pairs):
            raise DataError("it is no dictionary of words and numbers")
        return Vocabulary.from_json(json.dumps({"word2idx": words}))
    except DataError as error:
        raise WeightsError(
            f"The checkpoint's own vocabulary cannot be used: {error}. "
            "Take the checkpoint again from its source."
        ) from error


def _written(words: Vocabulary) -> str:
    """The file of a vocabulary. Raises `WeightsError` for a word that no file can hold."""
    text = words.to_json()
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WeightsError(
            f"The vocabulary has a word that is no text ({error}). Mend the vocabulary's file, or "
            "take the checkpoint again from its source."
        ) from error
    return text

"""Word vectors, such as GloVe's, for the words of a vocabulary."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError, WeightsError


def read_word_vectors(path: Path, words: Sequence[str], dim: int) -> Tensor:
    """One row for each word: (words, dim), from a text file of "word number number ...".

    GloVe writes such files, and fastText with a line before the first that counts them.

    A word that the file lacks is looked up without - . and ', then by what stands before a slash;
    one that is still missing gets a random row, N(0, 1), as in CHAN's released code. Raises
    `WeightsError` when the file has vectors of another length or for none of the words, and
    `DataError` when a line holds other things than numbers.
    """
    wanted = {spelling for word in words for spelling in _spellings(word)}
    found = dict(_vectors(path, wanted, dim))
    rows = torch.randn(len(words), dim)
    known = 0
    for row, word in enumerate(words):
        vector = next((found[one] for one in _spellings(word) if one in found), None)
        if vector is not None:
            rows[row] = torch.tensor(vector)
            known += 1
    if not known:
        raise WeightsError(
            f"{path} has a vector for none of the {len(words)} words. Give a text file with one "
            "lower-case word and its numbers in a line, such as glove.840B.300d.txt."
        )
    return rows


def _spellings(word: str) -> list[str]:
    bare = word.replace("-", "").replace(".", "").replace("'", "")
    return [word, bare, word.split("/")[0]]


def _vectors(path: Path, wanted: set[str], dim: int) -> Iterator[tuple[str, list[float]]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            # From the right: a few of GloVe's words contain spaces.
            word, *numbers = line.rstrip().rsplit(" ", dim)
            counts = number == 1 and len(numbers) == 1 < dim  # fastText's first line
            if word not in wanted or counts:
                continue
            if len(numbers) != dim:
                raise WeightsError(
                    f"Line {number} of {path} has {len(numbers)} numbers where {dim} are wanted. "
                    f"Give word vectors of {dim} dimensions, or change word_dim in the recipe."
                )
            yield word, _numbers(numbers, f"Line {number} of {path}")


def _numbers(written: Sequence[str], place: str) -> list[float]:
    try:
        return [float(one) for one in written]
    except ValueError as error:
        raise DataError(
            f"{place} has a word where a number is wanted ({error}). "
            "The file is damaged: take it again from its source."
        ) from error

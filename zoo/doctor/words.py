"""Vocabularies beside a data set: which they are, and whether they know its captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..data.layouts import Found
from ..data.vocabulary import MASK, Vocabulary
from ..data.words import tokenize
from .finding import Finding, attempt
from .known import VOCABULARIES

SAMPLED = 2_000
UNKNOWN = 0.03
"""SCAN's vocabularies leave 0.3 to 1.6 % of the words of COCO, Flickr30K and Flickr8K unknown, each
other's too; where captions or a vocabulary are damaged it is 6 % and more."""


def find_vocabularies(found: Found) -> Iterator[Path]:
    """Files that hold a vocabulary of this data set, in its folder or in one beside it."""
    root, home = found.root.resolve(), found.home.resolve()
    for folder in dict.fromkeys((root, home)):
        yield from _files(folder, "*vocab*")
        yield from _files(folder / "vocab", "*vocab*")
    yield from _files(root.parent / "vocab", f"{root.name}*")
    if home != root:
        yield from _files(home.parent / "vocab", f"{home.name}_*")


def check_vocabulary(path: Path, name: str, captions: Sequence[str]) -> Iterator[Finding]:
    """Whose vocabulary a file is, and what share of the captions' words it knows."""
    vocabulary = attempt(lambda: Vocabulary.open(path), "vocabulary", path.name)
    if isinstance(vocabulary, Finding):
        yield vocabulary
        return
    owner = VOCABULARIES.get(without_mask(vocabulary).fingerprint)
    whose = f"{len(vocabulary):,} words, {f'those of {owner}' if owner else 'of its own'}"
    unknown = share_unknown(vocabulary, captions)
    if unknown > UNKNOWN:
        yield Finding(
            "problem",
            "vocabulary",
            path.name,
            f"{whose}; {unknown:.1%} of the words of the captions are none of them.",
            "Use the vocabulary that was made from these captions, or mend the captions.",
        )
    elif owner not in (None, name) and name in VOCABULARIES.values():
        yield Finding(
            "warning",
            "vocabulary",
            path.name,
            f"{whose}, and the data set is {name}.",
            f"Take the vocabulary of {name}, unless a model that was trained on {owner} is meant.",
        )
    elif owner is None and name in VOCABULARIES.values():
        yield Finding(
            "warning",
            "vocabulary",
            path.name,
            f"{whose}, and not those that published weights for {name} were trained with.",
            f"For published weights take SCAN's {name}_precomp_vocab.json.",
        )
    else:
        yield Finding("fine", "vocabulary", path.name, f"{whose}; {unknown:.1%} unknown.")


def without_mask(vocabulary: Vocabulary) -> Vocabulary:
    """The same words without a mask, which CHAN and others put behind those of SCAN."""
    return Vocabulary(tuple(word for word in vocabulary.words if word != MASK))


def share_unknown(vocabulary: Vocabulary, captions: Sequence[str]) -> float:
    """The share of the words of some captions, evenly taken, that a vocabulary does not know."""
    chosen = np.unique(np.linspace(0, len(captions) - 1, SAMPLED).astype(int))
    words = [word for row in chosen for word in tokenize(captions[row])]
    return sum(word not in vocabulary.ids for word in words) / max(len(words), 1)


def _files(folder: Path, pattern: str) -> list[Path]:
    return [path for path in sorted(folder.glob(pattern)) if path.suffix in (".json", ".pkl")]

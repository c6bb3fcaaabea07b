"""Phrases and relations of a caption from a dependency parse, where somebody has one.

The parse is that of a parser of one's own, given with the caption; nothing is parsed here. The form
is GSMN's (Liu et al., CVPR 2020): positions count from 1, and 0 governs the root. GSMN's own files
keep no labels; where there are none, the chunker's tags stand in (INFERRED).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Self

from .phrases import Parse, Phrase, Relation, tag

MODIFIERS = ("amod", "nummod", "compound")
OBJECTS = ("obj", "iobj", "nmod", "appos", "conj")
LINKS = ("aux", "cop", "case")
NAMES = {
    "dobj": "obj",
    "pobj": "obj",
    "obl": "nmod",
    "nsubjpass": "nsubj",
    "auxpass": "aux",
    "nn": "compound",
    "num": "nummod",
    "compound:prt": "aux",
}
"""Names of one thing in older and newer parsers, and what is one thing here."""
BEFORE_A_NOUN = {
    "J": "amod",
    "M": "nummod",
    "N": "compound",
    "I": "case",
    "V": "cop",
    "D": "det",
}
AFTER_A_NOUN = {"V": "acl", "N": "nmod", "P": "nmod"}
"""What a noun's dependent is, by the chunker's tag, where a parse has no labels."""


class ParsedCaption(str):
    """A caption that carries its dependency parse; everywhere else it is the plain caption.

    dependencies: (label, governor, dependent) or (governor, dependent) for each word

    The words are those of `model.text_encoder.words`, without the marks at both ends.

    >>> caption = ParsedCaption("dogs run", [("nsubj", 2, 1), ("root", 0, 2)])
    >>> caption, caption.dependencies
    ('dogs run', (('nsubj', 2, 1), ('root', 0, 2)))
    """

    dependencies: tuple[tuple[Any, ...], ...]

    def __new__(cls, text: str, dependencies: Iterable[Sequence[Any]] = ()) -> Self:
        caption = super().__new__(cls, text)
        caption.dependencies = tuple(tuple(edge) for edge in dependencies)
        return caption


def fault(words: Sequence[str], dependencies: Sequence[Sequence[Any]]) -> str | None:
    """What is wrong with a parse of these words, or None: each word has exactly one governor."""
    for edge in dependencies:
        if len(edge) not in (2, 3) or not all(isinstance(place, Integral) for place in edge[-2:]):
            return f"has {edge!r} where (label, governor, dependent) is wanted"
        if not 0 <= edge[-2] <= len(words):
            return f"has {edge!r}, and the words are 1 to {len(words)}"
    governed = sorted(edge[-1] for edge in dependencies)
    if governed != list(range(1, len(words) + 1)):
        return f"governs the words {governed}, and the words are 1 to {len(words)}"
    return None


def read_dependencies(words: Sequence[str], dependencies: Sequence[Sequence[Any]]) -> Parse:
    """The phrases and relations that a parse without fault gives.

    A phrase is a noun with its amod, nummod and compound children. Two phrases are related where
    one is the other's nmod, appos or conj, or one is the subject and the other an object or nmod of
    the same verb; the words of the relation are that verb, its auxiliaries and the preposition.
    """
    return _Tree(words, dependencies).parse()


class _Tree:
    """Positions count from 1, as in the dependencies."""

    def __init__(self, words: Sequence[str], dependencies: Sequence[Sequence[Any]]) -> None:
        self.tags = " " + tag(words)
        self.above: dict[int, tuple[str, int]] = {}
        for *label, governor, dependent in sorted(dependencies, key=lambda edge: edge[-1]):
            name = label[0] if label else self._guess(governor, dependent)
            short = name.split(":")[0]  # "nmod:poss" is an nmod
            self.above[dependent] = (NAMES.get(name, NAMES.get(short, short)), governor)
        self.nouns = self._nouns()

    def parse(self) -> Parse:
        members = {noun: tuple(sorted(self._members(noun))) for noun in self.nouns}
        order = sorted(self.nouns, key=members.__getitem__)
        phrases = [Phrase(tuple(m - 1 for m in members[noun]), noun - 1) for noun in order]
        number = {word: place for place, noun in enumerate(order) for word in members[noun]}
        relations = [
            Relation(number[one], number[other], tuple(word - 1 for word in sorted(predicate)))
            for one, other, predicate in map(self._relation, order)
            if number.get(one, number[other]) != number[other]
        ]
        return Parse(tuple(phrases), tuple(relations))

    def _children(self, word: int, labels: Sequence[str]) -> list[int]:
        return [
            child
            for child, (label, governor) in self.above.items()
            if governor == word and label in labels
        ]

    def _nouns(self) -> list[int]:
        """The heads of phrases: what is a subject or object, and what only a noun governs."""
        nouns = set()
        for word, (label, governor) in self.above.items():
            if label == "nsubj" or label in OBJECTS[:-1] or (label == "conj" and governor in nouns):
                nouns.add(word)
            if label in (*MODIFIERS, "det", "case", "acl"):
                nouns.add(governor)
        return sorted(
            word
            for word in nouns
            if word and self.above[word][0] not in MODIFIERS and self.tags[word] not in "DX"
        )

    def _members(self, noun: int) -> list[int]:
        modifiers = self._children(noun, MODIFIERS)
        return [noun, *(member for child in modifiers for member in self._members(child))]

    def _relation(self, noun: int) -> tuple[int, int, list[int]]:
        """What relates this noun to the one that it hangs on, which is 0 if there is none."""
        label, governor = self.above[noun]
        case = self._children(noun, ("case",))
        if label == "nsubj" and governor in self.nouns:  # "the dog is on the grass"
            return governor, noun, self._children(governor, LINKS)
        if label not in OBJECTS or not governor:
            return 0, noun, []
        if self.tags[governor] in "NP" or governor in self.nouns:
            return governor, noun, case
        return self._subject(governor), noun, [governor, *self._children(governor, LINKS), *case]

    def _subject(self, verb: int) -> int:
        """Whose doing it is: the nearest subject or noun above, or 0."""
        for _ in self.above:  # no more steps than words, whatever the parse
            subjects = [noun for noun in self._children(verb, ("nsubj",)) if noun in self.nouns]
            if subjects:
                return subjects[0]
            verb = self.above[verb][1]
            if verb in self.nouns or not verb:
                return verb
        return 0

    def _guess(self, governor: int, dependent: int) -> str:
        """The label of an unlabelled pair, by what the chunker takes its words for."""
        above, below = self.tags[governor], self.tags[dependent]
        first = dependent < governor
        if above in "NP":
            if first and below in "NP" and "V" in self.tags[dependent:governor]:
                return "nsubj"
            return (BEFORE_A_NOUN if first else AFTER_A_NOUN).get(below, "")
        if below in "NP":
            return "nsubj" if first else "obj"
        return "aux" if below == "I" or (below == "V" and first) else ""

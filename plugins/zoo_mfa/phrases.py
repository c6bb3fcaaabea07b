"""Phrases and relations of a caption, by a chunker that needs no parser and no download.

A phrase is a noun with what stands before it ("a brown dog": dog, with brown); a relation joins
neighbouring phrases by the verbs and prepositions between them. The paper does not say which parser
it uses; this is a substitute of ours (INFERRED), deterministic and without parameters. README.md
lists what it gets wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .lexicon import (
    ADJECTIVES,
    AUXILIARIES,
    CONJUNCTIONS,
    DETERMINERS,
    IDIOMS,
    NOUNS,
    NUMBERS,
    OTHERS,
    PREPOSITIONS,
    PRONOUNS,
    VERBS,
)

IN_PHRASE, BEFORE_NOUN, LINKS = "DMJN", "DMJ", "VI"
"""Tags: D determiner, M number, J adjective, N noun, P pronoun, V verb, I preposition,
C conjunction, X anything else."""

_CLOSED = {
    word: kind
    for kind, words in (
        ("X", OTHERS),
        ("N", NOUNS),
        ("J", ADJECTIVES),
        ("I", PREPOSITIONS),
        ("V", AUXILIARIES),
        ("C", CONJUNCTIONS),
        ("P", PRONOUNS),
        ("M", NUMBERS),
        ("D", DETERMINERS),
    )
    for word in words
}


@dataclass(frozen=True)
class Phrase:
    """A noun and its attributes, by their positions in the caption; the head is a member."""

    members: tuple[int, ...]
    head: int


@dataclass(frozen=True)
class Relation:
    """Two phrases by their numbers, and the positions of the words that relate them."""

    subject: int
    object: int
    predicate: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parse:
    """The phrases of a caption and the relations between them."""

    phrases: tuple[Phrase, ...] = ()
    relations: tuple[Relation, ...] = ()


def chunk(words: Sequence[str]) -> Parse:
    """The phrases and relations of a caption's words, which are in lower case.

    >>> caption = "a brown dog runs through tall grass".split()
    >>> parse = chunk(caption)
    >>> [[caption[member] for member in phrase.members] for phrase in parse.phrases]
    [['brown', 'dog'], ['tall', 'grass']]
    >>> parse.relations
    (Relation(subject=0, object=1, predicate=(3, 4)),)
    """
    tags = tag(words)
    phrases = _phrases(tags)
    relations = []
    for number, (phrase, following) in enumerate(pairwise(phrases)):
        between = range(phrase.members[-1] + 1, following.members[0])
        predicate = tuple(place for place in between if tags[place] in LINKS)
        if predicate or any(tags[place] == "C" for place in between):
            relations.append(Relation(number, number + 1, predicate))
    return Parse(phrases, tuple(relations))


def tag(words: Sequence[str]) -> str:
    """A tag for each word: the first rule that fits.

    >>> tag("a man is riding his red bike .".split())
    'DNVVDJNX'
    """
    tags = ""
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        tags += _tag(word, before, tags[-1:] or " ")
    return tags


def _tag(word: str, before: str, tag_before: str) -> str:
    if (before, word) in IDIOMS:
        return "I"
    if word == "'s":  # a possessive after a noun, else "is"
        return "D" if tag_before == "N" else "V"
    if word == "that" and tag_before == "N":  # begins a clause
        return "X"
    if word in _CLOSED:
        return _CLOSED[word]
    if word[0].isdigit():
        return "M"
    if word in VERBS:
        noun = tag_before in BEFORE_NOUN or (tag_before == "I" and before != "to")
        return "N" if noun else "V"
    if word.endswith(("ing", "ed")) and len(word) > 4:
        return "J" if tag_before in BEFORE_NOUN else "V"
    if word.endswith("ly") or not any(letter.isalnum() for letter in word):
        return "X"
    return "N"


def _phrases(tags: str) -> tuple[Phrase, ...]:
    phrases: list[Phrase] = []
    run: list[int] = []
    for place, kind in enumerate(tags + "X"):
        if kind not in IN_PHRASE or (kind == "D" and run and tags[place - 1] == "N"):
            phrases += _phrase(run, tags)
            run = []
        if kind in IN_PHRASE:
            run.append(place)
        elif kind == "P":
            phrases.append(Phrase((place,), place))
    return tuple(phrases)


def _phrase(run: Sequence[int], tags: str) -> list[Phrase]:
    """The phrase of a run of words, without its determiners; none if there is nothing else."""
    members = tuple(place for place in run if tags[place] != "D")
    nouns = [place for place in members if tags[place] == "N"]
    return [Phrase(members, (nouns or members)[-1])] if members else []

"""Captions as MFA's text encoder reads them: tokens, and which of them form what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zoo.batch import Batch, Tokens
from zoo.errors import InputError

from .dependencies import fault, read_dependencies
from .phrases import Parse, Phrase, Relation, chunk

MAX_PHRASES = 8
"""Later phrases of a caption are left out; its words are not."""


@dataclass(frozen=True)
class Phrases(Batch):
    """Which tokens of a text form its phrases, and which phrases it relates.

    members:    (texts, phrases, words), True where the word belongs to the phrase
    heads:      (texts, phrases), which word is the head
    mask:       (texts, phrases), True where there is a phrase; each text has one at least
    relations:  (texts, phrases, phrases), 0 where two phrases are not related, else which row of
                `predicates` relates them; alike in both directions
    predicates: (texts, relations, words), True where the word belongs to the predicate; row 0 has
                no word
    """

    members: Tensor
    heads: Tensor
    mask: Tensor
    relations: Tensor
    predicates: Tensor


@dataclass(frozen=True)
class PhrasedTokens(Batch):
    """Texts as tokens and phrases; None where no scale needs the phrases."""

    tokens: Tokens
    phrases: Phrases | None = None


def read_phrases(
    captions: Sequence[str], pieces: Sequence[Sequence[str]], tokens: Tokens
) -> Phrases:
    """The phrases and relations of captions, by the positions of their tokens.

    pieces: what the reader makes of each caption, with a mark at both ends

    A caption that carries a parse is taken by that (`dependencies.ParsedCaption`), others by the
    chunker. Raises `InputError`, naming the caption, for a parse that does not fit its words.
    """
    lengths = tokens.mask.sum(dim=1).tolist()
    left = [range(n) for n in lengths] if tokens.places is None else tokens.places.tolist()
    parses = []
    for number, (caption, read, length) in enumerate(zip(captions, pieces, lengths, strict=True)):
        position = {place: token for token, place in enumerate(left[number][:length])}
        parses.append(surviving(_parse(number, caption, read), position, last=len(read) - 1))
    return phrase_tensors(parses, tokens.mask.shape[1])


def _parse(number: int, caption: str, pieces: Sequence[str]) -> Parse:
    words, places = whole_words(pieces)
    dependencies = getattr(caption, "dependencies", None)
    if not dependencies:
        return on_pieces(chunk(words), places)
    problem = fault(words, dependencies)
    if problem:
        raise InputError(
            f"The parse of caption {number} {problem}. Parse the words of model.text_encoder.words "
            "as one sentence, or pass the caption as a plain str."
        )
    return on_pieces(read_dependencies(words, dependencies), places)


def whole_words(pieces: Sequence[str]) -> tuple[list[str], list[list[int]]]:
    """The words that a text encoder reads between its marks, and the positions of their pieces.

    A piece that begins with ## goes on with the word before it, as BERT's do.

    >>> whole_words(["[CLS]", "a", "skate", "##board", "[SEP]"])
    (['a', 'skateboard'], [[1], [2, 3]])
    """
    words: list[str] = []
    places: list[list[int]] = []
    for place, piece in enumerate(pieces[1:-1], start=1):
        if words and piece.startswith("##") and len(piece) > 2:
            words[-1] += piece[2:]
            places[-1].append(place)
        else:
            words.append(piece)
            places.append([place])
    return words, places


def on_pieces(parse: Parse, places: Sequence[Sequence[int]]) -> Parse:
    """A parse of words as one of their pieces: all of a word belong, the last is the head."""

    def pieces(words: Sequence[int]) -> tuple[int, ...]:
        return tuple(place for word in words for place in places[word])

    return Parse(
        tuple(Phrase(pieces(one.members), places[one.head][-1]) for one in parse.phrases),
        tuple(Relation(one.subject, one.object, pieces(one.predicate)) for one in parse.relations),
    )


def surviving(parse: Parse, position: Mapping[int, int], last: int) -> Parse:
    """What is left of a parse where noise left words out.

    position: for each place in the caption that is left, its place among the tokens
    last:     the place of the end mark; that of the start mark is 0

    Members that are gone vanish, and so does a phrase without members; a lost head is succeeded by
    the last member. Where no phrase is left, all words are one.
    """
    phrases: list[Phrase] = []
    number: dict[int, int] = {}
    for old, phrase in enumerate(parse.phrases):
        members = _left(phrase.members, position)
        if members and len(phrases) < MAX_PHRASES:
            number[old] = len(phrases)
            phrases.append(Phrase(members, position.get(phrase.head, members[-1])))
    if not phrases:
        words = [token for place, token in position.items() if 0 < place < last]
        everything = tuple(words or position.values())
        return Parse((Phrase(everything, everything[-1]),))
    relations = tuple(
        Relation(number[one.subject], number[one.object], _left(one.predicate, position))
        for one in parse.relations
        if one.subject in number and one.object in number
    )
    return Parse(tuple(phrases), relations)


def _left(places: Sequence[int], position: Mapping[int, int]) -> tuple[int, ...]:
    return tuple(position[place] for place in places if place in position)


def phrase_tensors(parses: Sequence[Parse], words: int) -> Phrases:
    """Parses by token positions as tensors; `words` is the number of tokens of the longest text."""
    texts = len(parses)
    longest = max(len(parse.phrases) for parse in parses)
    rows = 1 + max(len(parse.relations) for parse in parses)
    members = np.zeros((texts, longest, words), dtype=bool)
    heads = np.zeros((texts, longest), dtype=np.int64)
    relations = np.zeros((texts, longest, longest), dtype=np.int64)
    predicates = np.zeros((texts, rows, words), dtype=bool)
    for text, parse in enumerate(parses):
        for number, phrase in enumerate(parse.phrases):
            members[text, number, list(phrase.members)] = True
            heads[text, number] = phrase.head
        for row, relation in enumerate(parse.relations, start=1):
            relations[text, relation.subject, relation.object] = row
            relations[text, relation.object, relation.subject] = row
            predicates[text, row, list(relation.predicate)] = True
    found = (members, heads, members.any(axis=2), relations, predicates)
    return Phrases(*map(torch.from_numpy, found))

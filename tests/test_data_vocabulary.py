"""The vocabulary: ids, specials, and the layout on disk."""

from __future__ import annotations

import json

import pytest

from zoo.data.vocabulary import SPECIALS, Vocabulary
from zoo.errors import DataError

CAPTIONS = ["a dog runs", "A dog sleeps", "a cat sleeps", "a Zebra"]


def test_frequent_words_come_first_and_rare_ones_are_left_out():
    """Words are in the order of their counts, then of the alphabet, after the specials."""
    vocabulary = Vocabulary.build(CAPTIONS, minimum_count=2)
    assert vocabulary.words == (*SPECIALS, "a", "dog", "sleeps")
    assert len(vocabulary) == 7


def test_a_caption_becomes_ids_between_start_and_end():
    """Unknown words are 3; start is 1 and end is 2."""
    assert Vocabulary.build(CAPTIONS, 2).encode("A dog barks!") == [1, 4, 5, 3, 3, 2]
    assert Vocabulary.build(CAPTIONS, 2).encode("") == [1, 2]


def test_a_caption_cannot_name_a_special():
    """The text of a special in a caption does not become its id."""
    assert Vocabulary.build(CAPTIONS, 2).encode("<pad> <end>") == [1] + [3] * 6 + [2]


def test_the_mask_is_the_last_word():
    """Adding the mask changes no other id, and adding it twice nothing at all."""
    plain = Vocabulary.build(CAPTIONS, 2)
    masked = plain.with_mask()
    assert plain.mask is None
    assert masked.mask == len(plain) == len(masked) - 1
    assert masked.words[:-1] == plain.words
    assert masked.with_mask() == masked == Vocabulary.build(CAPTIONS, 2, mask=True)


def test_a_vocabulary_survives_being_written():
    """Reading what was written gives the same words and fingerprint."""
    vocabulary = Vocabulary.build(["un café, a dog"], 1, mask=True)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary
    assert again.fingerprint == vocabulary.fingerprint
    assert Vocabulary.build(["a dog"], 1).fingerprint != vocabulary.fingerprint


@pytest.mark.parametrize(("name", "count"), [("coco", 11353), ("f30k", 8481)])
def test_the_published_vocabularies_are_read_and_written(shared_data, name, count):
    """SCAN's files give as many words as are known of them, and the same mapping again."""
    text = (shared_data / "vocab" / f"{name}_precomp_vocab.json").read_text()
    vocabulary = Vocabulary.from_json(text)
    assert len(vocabulary) == count
    assert json.loads(vocabulary.to_json()) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1]", "not JSON"),
        ("{}", "not JSON"),
        ('{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "a": 5}}', "0 to 4"),
        ('{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 1}}', "0 to 2"),
        ('{"word2idx": {"<unk>": 0, "<start>": 1, "<end>": 2, "<pad>": 3}}', "begins with"),
    ],
)
def test_what_is_no_vocabulary_is_refused(text, message):
    """The message says what is wrong."""
    with pytest.raises(DataError, match=message):
        Vocabulary.from_json(text)

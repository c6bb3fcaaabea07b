"""The vocabulary: ids, specials, and the layout on disk."""

from __future__ import annotations

import json
import pickle
import sys
import types
from pathlib import Path

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


LAYOUTS = {
    "SCAN": '{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "a": 4}, "idx": 5}',
    "CHAN": '["<pad>", "<start>", "<end>", "<unk>", "a", "<mask>"]',
    "NAAF": (
        '{"word2idx": {"<pad>": 0, "<unk>": 1, "<start>": 2, "<end>": 3, "a": 4},'
        ' "char_level": false, "max_len": 80}'
    ),
    "CORA": '{"word2idx": {"[UNK]": 0, "a": 1}, "idx2word": {"0": "[UNK]", "1": "a"}, "idx": 2}',
    "ids": '{"a": 0, "[UNK]": 1, "[START]": 2, "[END]": 3}',
    "list": '["a", "<unk>"]',
}
IDS_OF_A_DOG = {
    "SCAN": [1, 4, 3, 2],
    "CHAN": [1, 4, 3, 2],
    "NAAF": [2, 4, 1, 3],
    "CORA": [1, 0],
    "ids": [2, 0, 1, 3],
    "list": [0, 1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_keeps_its_own_order_of_specials(layout):
    """A caption's ids are those of its file, between start and end where the file has these."""
    vocabulary = Vocabulary.from_json(LAYOUTS[layout])
    assert vocabulary.encode("A dog") == IDS_OF_A_DOG[layout]
    assert [vocabulary.ids.get(word, -1) for word in vocabulary.split("a")].count(-1) == 0
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary
    assert (vocabulary.mask is not None) == (layout == "CHAN")
    masked = vocabulary.with_mask()
    assert masked.mask == len(masked) - 1


def test_a_word_a_line_is_a_vocabulary(tmp_path):
    """Also with a byte-order mark and the line ends of Windows."""
    words = ("<unk>", "a", "caf\u00e9", "\x85")
    (tmp_path / "words.txt").write_bytes(("\ufeff" + "\r\n".join(words) + "\r\n").encode())
    assert Vocabulary.open(tmp_path / "words.txt").words == words


def pickled(module: str, words: dict[str, int]) -> bytes:
    """What a program writes that has a class `Vocabulary` in a module of its own."""
    made = type("Vocabulary", (object,), {"__module__": module})
    sys.modules[module] = types.ModuleType(module)
    sys.modules[module].Vocabulary = made
    try:
        vocabulary = made()
        vocabulary.__dict__ |= {"word2idx": words, "idx2word": {}, "idx": len(words)}
        return pickle.dumps(vocabulary, protocol=2)
    finally:
        del sys.modules[module]


def test_a_pickled_vocabulary_is_read_without_its_program(tmp_path):
    """VSE++ pickles an object of its own class; its words come out, and the class is not needed."""
    content = pickled("vocab_of_vsepp", {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "a": 4})
    (tmp_path / "f8k_vocab.pkl").write_bytes(content)
    assert Vocabulary.open(tmp_path / "f8k_vocab.pkl").words == (*SPECIALS, "a")


class Settings(dict):
    """What a recipe says, and where it lies."""

    path = Path("recipe.py")


def test_a_recipe_may_name_a_vocabulary_of_any_layout(tmp_path):
    """A new model gets it in SCAN's; word pieces of BERT stay as they are."""
    pytest.importorskip("mmengine")
    from zoo.training.building import _text_files

    (tmp_path / "words.pkl").write_bytes(pickled("vocab_of_vsepp", {"<unk>": 0, "a": 1}))
    (tmp_path / "words.json").write_text('["<unk>", "a"]')
    (tmp_path / "words.lst").write_text("<unk>\na\n")
    (tmp_path / "vocab.txt").write_text("[UNK]\na\n")
    for name in ("words.pkl", "words.json", "words.lst"):
        recipe = Settings(vocabulary={"file": str(tmp_path / name)}, initial_weights={})
        files = _text_files(recipe, None, tmp_path)
        assert Vocabulary.from_json(files["vocab.json"]).words == ("<unk>", "a")
    recipe = Settings(vocabulary={"file": str(tmp_path / "vocab.txt")}, initial_weights={})
    assert _text_files(recipe, None, tmp_path) == {"vocab.txt": "[UNK]\na\n"}


class Touches:
    """Pickles to a call that would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_calls_something_is_refused(tmp_path):
    """Nothing that it names runs."""
    evil = tmp_path / "evil"
    (tmp_path / "v.pkl").write_bytes(pickle.dumps({"word2idx": Touches(evil)}, protocol=2))
    with pytest.raises(DataError, match=r"v\.pkl cannot be read .* names '_?io\.open'"):
        Vocabulary.open(tmp_path / "v.pkl")
    assert not evil.exists()


def test_a_pickle_says_nothing_of_the_next_one(tmp_path):
    """Words that one gives to its class are not those of another's objects."""
    one, two = tmp_path / "one.pkl", tmp_path / "two.pkl"
    state = b"}U\x08word2idx}U\x05<unk>K\x00ss"
    one.write_bytes(b"\x80\x02cvocab\nVocabulary\nN" + state + b"\x86b.")
    two.write_bytes(b"\x80\x02cvocab\nVocabulary\n)\x81.")

    for path in (one, two):
        with pytest.raises(DataError, match="is no pickled vocabulary"):
            Vocabulary.open(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02Nr\xff\xff\xff\x7f.",  # a memo of two thousand million
        b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.",  # a key of tuples within tuples
        pickled("vocab_of_vsepp", {b"<unk>": 0}),
        pickled("vocab_of_vsepp", {"<unk>": 0, "a": None}),
        pickled("vocab_of_vsepp", ["<unk>"]),
        b"\x80\x02Nq\x00Q.",
    ],
    ids=["memo", "tuples", "bytes", "no id", "list", "reference"],
)
def test_a_pickle_that_is_no_vocabulary_takes_no_memory_and_ends_no_process(tmp_path, content):
    """A few bytes can ask for all that there is."""
    (tmp_path / "v.pkl").write_bytes(content)

    with pytest.raises(DataError, match="is no pickled vocabulary"):
        Vocabulary.open(tmp_path / "v.pkl")


@pytest.mark.parametrize("content", [b"\x80\x02", b"\x80\x02}.", b"\xff\xfe"])
def test_a_file_that_is_no_vocabulary_is_named(tmp_path, content):
    """A cut or foreign pickle, and bytes that are no text."""
    (tmp_path / "words.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"words\.pkl cannot be read as a vocabulary"):
        Vocabulary.open(tmp_path / "words.pkl")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1]", "not JSON"),
        ('"words"', "not JSON"),
        ("[1, 2]", "not JSON"),
        ("{}", "none for unknown"),
        ('["<pad>", "a"]', "none for unknown"),
        ('["<unk>", "a", "a"]', "'a' more than once"),
        ('{"char_level": true, "word2idx": {"<unk>": 0, "a": 1}}', "letters"),
        ('{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 2, "<unk>": 3, "a": 5}}', "0 to 4"),
        ('{"word2idx": {"<pad>": 0, "<start>": 1, "<end>": 1}}', "0 to 2"),
    ],
)
def test_what_is_no_vocabulary_is_refused(text, message):
    """The message says what is wrong."""
    with pytest.raises(DataError, match=message):
        Vocabulary.from_json(text)

"""MFA's phrases and relations: the chunker on real captions, and dependency parses."""

from __future__ import annotations

import doctest
import importlib
import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.data.words import tokenize
from zoo_mfa.dependencies import ParsedCaption, fault, read_dependencies
from zoo_mfa.phrases import Parse, Phrase, Relation, chunk, tag
from zoo_mfa.prepared import MAX_PHRASES, on_pieces, surviving, whole_words

ROOT = Path(__file__).resolve().parents[1]


def written(words: list[str], parse: Parse) -> str:
    """A parse as one line: [phrase], the words of a relation, `&` if it has none, `|` if none is.

    The head is starred where it is not the last word of its phrase.
    """
    between = {(one.subject, one.object): one.predicate for one in parse.relations}
    line = ""
    for number, phrase in enumerate(parse.phrases):
        if number:
            link = between.pop((number - 1, number), None)
            said = "|" if link is None else " ".join(words[place] for place in link) or "&"
            line += f" {said} "
        starred = phrase.head != phrase.members[-1]
        star = {phrase.head: "*"} if starred else {}
        line += f"[{' '.join(star.get(place, '') + words[place] for place in phrase.members)}]"
    assert not between, "a relation of phrases that are no neighbours"
    return line


# ------------------------------------------------------------------------------------ real captions

FLICKR8K = {
    "A blonde boy is holding a blue umbrella .": "[blonde boy] is holding [blue umbrella]",
    "A man jumps off a ramp on his bike .": "[man] jumps off [ramp] on [bike]",
    "People walk along on the street .": "[people] walk along on [street]",
    "A boy is jumping off a swing": "[boy] is jumping off [swing]",
    "The boy is on top of the railings .": "[boy] is on top of [railings]",
    "Dog trotting with a rubber duck in its mouth": (
        "[dog] trotting with [rubber duck] in [mouth]"
    ),
    "Two little boys are at a table with a box of Legos .": (
        "[two little boys] are at [table] with [box] of [legos]"
    ),
    "A little boy smiles as he holds a blue umbrella above him .": (
        "[little boy] smiles [he] holds [blue umbrella] above [him]"
    ),
}
COCO = {
    "a man that is surfing in some water": "[man] is surfing in [water]",
    "two giraffes are walking around a dirt yard": "[two giraffes] are walking around [dirt yard]",
    "There is a large flock of sheep in the field .": "[large flock] of [sheep] in [field]",
    "A red helmet is on a yellow toilet in the dirt .": (
        "[red helmet] is on [yellow toilet] in [dirt]"
    ),
    "A man wearing a shirt and tie next to a building .": (
        "[man] wearing [shirt] & [tie] next to [building]"
    ),
    "A busy intersection where several vehicles wait at a traffic light": (
        "[busy intersection] | [vehicles] wait at [traffic light]"
    ),
    "A red stop sign sitting on the side of a road .": (
        "[red stop sign] sitting on [side] of [road]"
    ),
}
FLICKR30K = {
    "A cat bites a human 's nose .": "[cat] bites [human] | [nose]",
    "Three people wearing black are posing .": "[three people] wearing [black]",
    "People are fixing the roof of a house .": "[people] are fixing [roof] of [house]",
    "These four people are standing outdoors , with 3 dogs .": (
        "[four people] are standing with [3 dogs]"
    ),
    "A man and woman are embracing behind caution tape .": (
        "[man] & [woman] are embracing behind [caution tape]"
    ),
    "A woman in a blue t-shirt and jeans is sweeping concrete .": (
        "[woman] in [blue t-shirt] & [jeans] is sweeping [concrete]"
    ),
    "A guy wearing an orange vest sitting on a red motorcycle on the street .": (
        "[guy] wearing [orange vest] sitting on [red motorcycle] on [street]"
    ),
}
FROM_THE_SPECIFICATION = {
    "a brown dog is running through the tall grass with a red ball in its mouth": (
        "[brown dog] is running through [tall grass] with [red ball] in [mouth]"
    ),
    "older woman wearing striped shirt holds a baby": (
        "[older woman] wearing [striped shirt] holds [baby]"
    ),
}
KNOWN_ERRORS = {
    "A dog carries a huge , snow covered stick .": "[dog] carries [huge] & [snow] covered [stick]",
    "a black and yellow teddy bear hanging on a wall": (
        "[black] & [yellow teddy bear] hanging on [wall]"
    ),
    "Smiling man with reflective classes .": "[man] with [reflective classes]",
    "A bike rider in red rides through the trees down a snowy hill .": (
        "[bike rider] in [red rides] through [trees] down [snowy hill]"
    ),
    "Two dogs are playing catch in a field .": "[two dogs] are playing catch in [field]",
    "A man in a white martial arts robe attempts to submit his opponent wearing a blue robe .": (
        "[man] in [white martial arts robe] attempts to [submit] | [opponent] wearing [blue robe]"
    ),
    "A plate of sliced oranges with a fork .": "[plate] of sliced [oranges] with [fork]",
    "A motorcyclist proceeds down the track by some bales .": (
        "[motorcyclist proceeds] down [track] by [bales]"
    ),
}
EXPECTED = {**FLICKR8K, **COCO, **FLICKR30K, **FROM_THE_SPECIFICATION}


@pytest.mark.parametrize("caption", EXPECTED)
def test_phrases_and_relations_are_those_that_a_reader_finds(caption):
    """Real captions of three data sets against phrases written by hand."""
    words = tokenize(caption)

    assert written(words, chunk(words)) == EXPECTED[caption]


@pytest.mark.parametrize("caption", KNOWN_ERRORS)
def test_known_errors_are_those_that_the_readme_lists(caption):
    """What the chunker gets wrong is said, with what it makes of it."""
    words = tokenize(caption)
    readme = (ROOT / "plugins" / "zoo_mfa" / "README.md").read_text()

    assert written(words, chunk(words)) == KNOWN_ERRORS[caption]
    row = f"| {caption} | {KNOWN_ERRORS[caption]} |".replace("] | [", r"] \| [")
    assert row in readme


def test_the_captions_are_real(shared_data):
    """They stand in the files that they are said to be from."""
    quoted = {"flickr8k": FLICKR8K, "coco_precomp": COCO, "f30k_precomp": FLICKR30K}
    for name, captions in quoted.items():
        paths = (shared_data / name).glob("*_caps.txt")
        lines = {line for path in paths for line in path.read_text().splitlines()}
        assert captions.keys() <= lines


# what was measured: mean phrases a caption, mean words a phrase, share of neighbouring phrases that
# are related, share of captions with one phrase only, and of those with too many
MEASURED = {
    "flickr8k/train": (3.2653, 1.4445, 0.9629, 0.0133, 0.0012),
    "coco_precomp/testall": (3.2926, 1.3847, 0.9792, 0.0011, 0.0017),
    "f30k_precomp/dev": (3.7738, 1.4488, 0.9552, 0.0041, 0.0124),
}


@pytest.mark.parametrize("name", MEASURED)
def test_many_real_captions(shared_data, name):
    """Every seventh of a file: each has a phrase, and the shares are those that were measured."""
    path = shared_data / f"{name}_caps.txt"
    captions = [tokenize(line) for line in path.read_text().splitlines()[::7]]
    parses = [chunk(words) for words in captions]
    phrases = np.array([len(parse.phrases) for parse in parses])
    members = sum(len(phrase.members) for parse in parses for phrase in parse.phrases)
    relations = sum(len(parse.relations) for parse in parses)

    assert phrases.min() >= 1
    found = (
        phrases.mean(),
        members / phrases.sum(),
        relations / (phrases - 1).sum(),
        (phrases == 1).mean(),
        (phrases > MAX_PHRASES).mean(),
    )
    assert found == pytest.approx(MEASURED[name], abs=1e-4)


# ----------------------------------------------------------------------------- the rules one by one


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("a man is riding his red bike .", "DNVVDJNX"),
        ("a ride", "DN"),  # a listed verb is a noun where one is expected
        ("he rides", "PV"),
        ("on skis to ski", "INIV"),
        ("the running dog running", "DJNV"),
        ("a family slowly", "DNX"),
        ("the man 's arm , it 's red", "DNDNCPVJ"),
        ("the thing that is that dog", "DNXVDN"),
        ("in front of the front", "IIIDN"),
        ("a t - shirt", "DNJN"),
        ("12 thirty-two ?!", "MNX"),
    ],
)
def test_words_are_tagged_by_the_first_rule_that_fits(caption, tags):
    """Each rule, in a caption that needs it."""
    assert tag(caption.split()) == tags


@pytest.mark.parametrize("caption", ["is running", ". , !", "the", "slowly down the"])
def test_a_caption_may_have_no_phrase(caption):
    """The chunker says so; the text encoder then takes all words as one."""
    assert chunk(caption.split()) == Parse()


def test_a_determiner_ends_a_phrase_that_has_its_noun():
    """Before the noun it does not, as the rule is specified."""
    assert chunk(["dog", "another", "dog"]).phrases == (Phrase((0,), 0), Phrase((2,), 2))
    assert chunk(["red", "another", "dog"]).phrases == (Phrase((0, 2), 2),)


@given(st.lists(st.sampled_from(tokenize("a dog's dogs red run running in and, it slowly ."))))
def test_phrases_are_disjoint_ordered_and_related_to_neighbours(words):
    """Any words: heads are members, phrases do not overlap, predicates lie between."""
    parse = chunk(words)

    members = [place for phrase in parse.phrases for place in phrase.members]
    assert members == sorted(set(members))
    assert all(phrase.head in phrase.members for phrase in parse.phrases)
    for one in parse.relations:
        assert one.object == one.subject + 1
        first, second = parse.phrases[one.subject], parse.phrases[one.object]
        assert all(first.members[-1] < w < second.members[0] for w in one.predicate)


# ------------------------------------------------------------------------ from words to word pieces


def test_a_word_belongs_with_all_its_pieces():
    """BERT's pieces: each is a member, the last is the head."""
    words, places = whole_words(["[CLS]", "a", "skate", "##board", "##er", "fell", "[SEP]"])
    parse = on_pieces(chunk(words), places)

    assert words == ["a", "skateboarder", "fell"]
    assert parse.phrases == (Phrase((2, 3, 4), 4),)


# ------------------------------------------------------------------------------ words that are gone


PARSE = Parse(
    (Phrase((2, 3), 3), Phrase((6, 7), 7), Phrase((9,), 9)),
    (Relation(0, 1, (4, 5)), Relation(1, 2, (8,))),
)


def test_words_that_are_left_move_up():
    """Members, heads and predicates follow the words to their new places."""
    left = {place: token for token, place in enumerate([0, 2, 3, 5, 6, 7, 8, 9, 10])}

    assert surviving(PARSE, left, last=10) == Parse(
        (Phrase((1, 2), 2), Phrase((4, 5), 5), Phrase((7,), 7)),
        (Relation(0, 1, (3,)), Relation(1, 2, (6,))),
    )


def test_what_noise_leaves_out_vanishes():
    """A lost head is succeeded, a phrase without words is gone, and so are its relations."""
    left = {place: token for token, place in enumerate([0, 2, 4, 5, 9, 10])}

    assert surviving(PARSE, left, last=10) == Parse((Phrase((1,), 1), Phrase((4,), 4)))


def test_relations_know_the_phrases_that_are_left_by_their_new_numbers():
    """Here the first phrase is gone."""
    left = {place: token for token, place in enumerate([0, 6, 7, 8, 9, 10])}

    assert surviving(PARSE, left, last=10) == Parse(
        (Phrase((1, 2), 2), Phrase((4,), 4)), (Relation(0, 1, (3,)),)
    )


@pytest.mark.parametrize(
    ("left", "members", "head"), [([0, 2, 3, 4], (1, 2, 3), 2), ([0, 2, 4], (1, 2), 2)]
)
def test_a_head_that_is_left_stays_and_a_lost_one_is_succeeded_by_the_last(left, members, head):
    """A head need not be the last word of its phrase."""
    position = {place: token for token, place in enumerate(left)}

    parse = surviving(Parse((Phrase((2, 3, 4), 3),)), position, last=5)

    assert parse.phrases == (Phrase(members, head),)


@pytest.mark.parametrize(
    ("left", "phrase"), [([0, 4, 8, 10], (1, 2)), ([0, 10], (0, 1)), ([10], (0,))]
)
def test_without_a_phrase_all_words_are_one(left, phrase):
    """But for the marks at both ends, unless there is nothing else."""
    position = {place: token for token, place in enumerate(left)}

    assert surviving(PARSE, position, last=10) == Parse((Phrase(phrase, phrase[-1]),))


def test_phrases_beyond_the_limit_are_left_out():
    """With what relates them; the first ones stay."""
    phrases = tuple(Phrase((place,), place) for place in range(1, 31))
    relations = tuple(Relation(number, number + 1) for number in range(29))

    parse = surviving(Parse(phrases, relations), {n: n for n in range(32)}, last=31)

    assert parse == Parse(phrases[:MAX_PHRASES], relations[: MAX_PHRASES - 1])


# ------------------------------------------------------------------------------------------- parses

DOG = tokenize("a brown dog is running through the tall grass with a ball")
DOG_TREE = [
    ("det", 3, 1),
    ("amod", 3, 2),
    ("nsubj", 5, 3),
    ("aux", 5, 4),
    ("root", 0, 5),
    ("case", 9, 6),
    ("det", 9, 7),
    ("amod", 9, 8),
    ("nmod", 5, 9),
    ("case", 12, 10),
    ("det", 12, 11),
    ("obl:with", 5, 12),
]
WOMAN = tokenize("older woman wearing striped shirt holds a baby")
WOMAN_TREE = [
    ("amod", 2, 1),
    ("nsubj", 6, 2),
    ("acl", 2, 3),
    ("amod", 5, 4),
    ("dobj", 3, 5),
    ("root", 0, 6),
    ("det", 8, 7),
    ("obj", 6, 8),
]
HAT = tokenize("two men and a tall boy are on a toy boat")
HAT_TREE = [
    ("nummod", 2, 1),
    ("nsubj", 11, 2),
    ("cc", 6, 3),
    ("det", 6, 4),
    ("amod", 6, 5),
    ("conj", 2, 6),
    ("cop", 11, 7),
    ("case", 11, 8),
    ("det", 11, 9),
    ("compound", 11, 10),
    ("root", 0, 11),
]


def related(words: list[str], parse: Parse) -> set[tuple[str, str, str]]:
    """Heads and what relates them, the earlier head first."""
    heads = [words[phrase.head] for phrase in parse.phrases]
    return {
        (
            heads[min(one.subject, one.object)],
            " ".join(words[place] for place in one.predicate),
            heads[max(one.subject, one.object)],
        )
        for one in parse.relations
    }


PARSED = [
    (
        DOG,
        DOG_TREE,
        ["brown dog", "tall grass", "ball"],
        {("dog", "is running through", "grass"), ("dog", "is running with", "ball")},
    ),
    (
        WOMAN,
        WOMAN_TREE,
        ["older woman", "striped shirt", "baby"],
        {("woman", "wearing", "shirt"), ("woman", "holds", "baby")},
    ),
    (
        HAT,
        HAT_TREE,
        ["two men", "tall boy", "toy boat"],
        {("men", "", "boy"), ("men", "are on", "boat")},
    ),
]


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize(("words", "tree", "phrases", "relations"), PARSED)
def test_a_parse_gives_the_phrases_and_relations_of_its_tree(
    words, tree, phrases, relations, labelled
):
    """Where the nearest phrase is the wrong one too; unlabelled pairs, GSMN's form, do as well."""
    parse = read_dependencies(words, tree if labelled else [edge[1:] for edge in tree])

    assert [" ".join(words[m] for m in one.members) for one in parse.phrases] == phrases
    assert related(words, parse) == relations


@given(st.lists(st.integers(0, 8), min_size=8, max_size=8), st.permutations(DOG_TREE[:8]))
def test_no_parse_does_anything_but_give_a_parse(governors, labels):
    """Cycles, several roots, wild labels: phrases are disjoint, relations are between two."""
    tree = [
        (label, governor, place)
        for place, (governor, (label, *_)) in enumerate(zip(governors, labels, strict=True), 1)
    ]
    assert fault(DOG[:8], tree) is None

    for edges in (tree, [edge[1:] for edge in tree]):
        parse = read_dependencies(DOG[:8], edges)
        members = [place for phrase in parse.phrases for place in phrase.members]
        assert len(members) == len(set(members))
        assert all(phrase.head in phrase.members for phrase in parse.phrases)
        assert all(one.subject != one.object for one in parse.relations)
        assert all(a.members < b.members for a, b in pairwise(parse.phrases))


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([("det", 2, 1)], "governs the words [1], and the words are 1 to 2"),
        ([(0, 2), (2, 1), (1, 2)], "governs the words [1, 2, 2], and the words are 1 to 2"),
        ([(0, 2), (3, 1)], "has (3, 1), and the words are 1 to 2"),
        ([(0, 2), ("det", "2", 1)], "has ('det', '2', 1) where (label, governor, dependent)"),
        ([(0,)], "has (0,) where (label, governor, dependent) is wanted"),
    ],
)
def test_a_parse_of_other_words_has_a_fault(tree, said):
    """Each word has one governor, which is a word or the root."""
    assert said in fault(["a", "dog"], tree)


def test_a_parsed_caption_is_a_caption():
    """It is text wherever text is wanted, and keeps its parse on the way to a data worker."""
    caption = ParsedCaption("a dog", [["det", 2, 1], ["root", 0, 2]])
    again = pickle.loads(pickle.dumps(caption))

    assert caption == again == "a dog"
    assert again.dependencies == caption.dependencies == (("det", 2, 1), ("root", 0, 2))


@pytest.mark.parametrize("module", ["dependencies", "phrases", "prepared"])
def test_the_examples_in_the_docstrings_hold(module):
    """They give what they show."""
    outcome = doctest.testmod(importlib.import_module(f"zoo_mfa.{module}"))

    assert outcome.attempted
    assert not outcome.failed

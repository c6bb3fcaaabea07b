"""A registry file gets an entry, and every other line of it stays as it was."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tiny import tiny_config
from zoo.catalogue.registry import shipped_registry
from zoo.catalogue.strict_yaml import parse
from zoo.config import Features
from zoo.errors import InputError, RegistryError
from zoo.publishing.entry import place_of
from zoo.publishing.yaml_edits import set_value, to_yaml

ROOT = Path(__file__).resolve().parents[1]
TEXT = """# the head
a:  # of a
  b: 1   # of b

  # before c
  c:
    d: [1, 2]
    e: "x # y"
  # behind c
f: null

# the end
"""
EDITS = {
    "a value keeps its comment": (("a", "b"), 2, ["  b: 2   # of b"]),
    "a mark in quotes is no comment": (("a", "c", "e"), "z", ["    e: z"]),
    "a list": (("a", "c", "d"), [3], ["    d: [3]"]),
    "a new key comes behind its siblings": (("a", "c", "g"), True, ["    g: true"]),
    "below what is empty": (("f", "h"), 1.5, ["f: {h: 1.5}"]),
    "a whole mapping": (("a", "c"), {"x": {"y": 1}}, ["    x: {y: 1}"]),
    "text that looks like other things": (("a", "b"), "2026-11-21", ["  b: '2026-11-21'   # of b"]),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_its_own_lines_alone(edit):
    """Comments stand where they stood."""
    path, value, expected = EDITS[edit]
    new = set_value(TEXT, path, value, "x.yaml")

    came = [line for line in new.split("\n") if line not in TEXT.split("\n")]
    assert came == expected
    comments = [line for line in TEXT.split("\n") if line.lstrip().startswith("#")]
    assert [line for line in new.split("\n") if line in comments] == comments
    assert new.startswith("# the head\na:  # of a\n")
    assert new.endswith("\n# the end\n")


def test_siblings_that_stand_apart_are_joined_apart():
    """A new model has a blank line above it, as the others have."""
    text = "models:\n  a:\n    x: {y: 1}\n\n  b:\n    x: {y: 1}\n"
    assert set_value(text, ("models", "c"), {"x": {"y": 2}}, "") == (
        text + "\n  c:\n    x: {y: 2}\n"
    )


@pytest.mark.parametrize("text", ["a: {b: 1, c: 2}\n", "a:\n  b: {c: 1}\n", "{a: {b: 1}}\n"])
def test_what_stands_in_braces_is_left_to_people(text):
    """No text is made that says anything else than was meant."""
    path = ("a", "b", "z") if "  b" in text else ("a", "z")
    with pytest.raises(RegistryError, match=r"x\.yaml, line 1|line 2.*by hand"):
        set_value(text, path, 3, "x.yaml")


def test_random_edits_of_our_own_registry_say_what_was_meant():
    """Each is as if the data had been edited; no comment is lost but in what is replaced."""
    text = (ROOT / "registry.yaml").read_text()
    head = text.split("schema_version")[0]
    chance = random.Random(0)
    paths = [path for path in parse(text.encode(), "").lines if path and len(path) < 6]
    paths = [path for path in paths if all(isinstance(key, str) for key in path)]
    for path in chance.sample(paths, 4):
        value = chance.choice(["text", 3, {"x": {"y": [1, 2]}, "z": "no"}, [{"r1": 1.5}]])
        new = set_value(text, path, value, "registry.yaml")

        found = parse(new.encode(), "").value
        for key in path[:-1]:
            found = found[key]
        assert to_yaml({"": found[path[-1]]}) == to_yaml({"": value})
        assert new.startswith(head)


def test_yaml_that_is_written_means_the_same_to_our_own_reader():
    """Whatever the texts look like."""
    texts = ["yes", "1:30", "2026-11-21", "1e3", "0x10", "a: b", "# c", "", "é", "1" * 40, "~"]
    value = {"texts": texts, "numbers": [1, 1.5, 0.0, 100.0], "none": None, "true": True}

    assert parse(to_yaml(value).encode(), "").value == {
        key: tuple(one) if isinstance(one, list) else one for key, one in value.items()
    }


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("chan-coco", ("chan-coco", "bigru_butd")),
        ("chan-coco.bert_butd", ("chan-coco", "bert_butd")),
        ("chan-toy", ("chan-toy", "bigru_grid")),
        ("chan-toy.mine", ("chan-toy", "mine")),
    ],
)
def test_a_name_says_the_model_and_the_variant(name, place):
    """The default variant where none is named; a new model's is called as most are."""
    kind, regions, dim = ("butd", 36, 2048) if "coco" in name else ("grid", 5, 12)
    config = tiny_config(name=name, features=Features(kind=kind, regions=regions, dim=dim))
    assert place_of(config, shipped_registry()) == place


@pytest.mark.parametrize(
    ("name", "method", "words"),
    [
        ("chan-coco", "chan", r"reads butd 36 x 2048 features, and this one reads test 5 x 12"),
        ("tvrn-f30k", "tvrn", r"the mean of the scores of tvrn-f30k\.\w+ and tvrn-f30k\.\w+"),
    ],
)
def test_a_name_does_not_come_to_mean_another_model(name, method, words):
    """Neither one of other features, nor one in place of several."""
    with pytest.raises(InputError, match=rf"{words}.* or name this model another variant"):
        place_of(tiny_config(name=name, method=method), shipped_registry())


@pytest.mark.parametrize(
    "name", ["chan", "Chan-toy", "shan-toy", "chan-toy-2", "chan-toy..a", "my model", ""]
)
def test_a_name_of_another_form_has_no_place(name):
    """Nor has one of another method."""
    with pytest.raises(InputError, match=r"is no name for a registry.* chan-DATASET"):
        place_of(tiny_config(name=name), shipped_registry())

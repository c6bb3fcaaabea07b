"""The registry: what it may say, how it is read, and how a model is found in it."""

import random
from pathlib import Path

import pytest
import yaml

from zoo.catalogue import strict_yaml
from zoo.catalogue.cards import Registry, TakenNameError
from zoo.catalogue.registry import read_registry, shipped_registry
from zoo.errors import RegistryError, UnknownModelError

ROOT = Path(__file__).resolve().parents[1]
RESULT = """{dataset: f30k, split: test, protocol: 1k, i2t: {r1: 50.0, r5: 60.0, r10: 70.0},
                 t2i: {r1: 40.0, r5: 50.0, r10: 60.0}, rsum: 330.0"""
GOOD = f"""schema_version: 1
methods:
  scan:
    plugin: scan
    title: Stacked Cross Attention
    venue: ECCV 2018
    paper: null
    reference_code: https://github.com/kuanghuei/SCAN
models:
  scan-f30k:
    method: scan
    dataset: f30k
    default: gru
    variants:
      gru:
        status: published
        license: Apache-2.0
        features: {{kind: butd, regions: 36, dim: 2048, boxes: false}}
        recipe: scan-f30k
        weights:
          repo: org/scan-f30k
          revision: {"a" * 40}
          files:
            model.safetensors: {{sha256: {"b" * 64}, size: 1000}}
        results:
          paper:
            - {RESULT}, source: "table 1"}}
          measured:
            - {RESULT}, command: zoo evaluate, seed: 1, data_fingerprint: {"c" * 64},
                 date: 2026-01-02}}
      bert:
        status: unpublished
        features: {{kind: butd, regions: 36, dim: 2048, boxes: true}}
"""


def read(text: str, tmp_path: Path, onto: Registry | None = None) -> Registry:
    """The registry in a text."""
    path = tmp_path / "cards.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return read_registry(path, onto)


def changed(old: str, new: str) -> str:
    """The good registry with one passage replaced."""
    assert GOOD.count(old) >= 1
    return GOOD.replace(old, new, 1)


def test_a_good_registry_gives_a_card_for_each_variant(tmp_path):
    """Names, in order, are the default under the model's name and the others after a dot."""
    registry = read(GOOD, tmp_path)

    assert registry.names() == ["scan-f30k", "scan-f30k.bert"]
    card = registry.find("scan-f30k")
    assert (card.variant, card.title, card.dataset) == ("gru", "Stacked Cross Attention", "f30k")
    assert card.results.paper[0].i2t.r10 == 70.0
    assert card.results.measured[0].seed == 1
    assert card.weights.revision == "a" * 40


def test_the_default_variant_has_two_names():
    """chan-coco is chan-coco.bigru_butd; its card has the shorter name."""
    registry = shipped_registry()

    assert registry.find("chan-coco") == registry.find("chan-coco.bigru_butd")
    assert registry.find("chan-coco.bigru_butd").name == "chan-coco"
    assert registry.find("chan-coco.bert_butd").variant == "bert_butd"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("chan-flikr8k", "chan-f8k"),
        ("CHAN-COCO", "chan-coco"),
        ("chan-coco.bert", "chan-coco.bert_butd"),
        ("chan_f30k", "chan-f30k"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(wrong, right):
    """A near miss suggests the name that was meant, in these words."""
    with pytest.raises(UnknownModelError) as caught:
        shipped_registry().find(wrong)

    assert str(caught.value) == f"No model is called {wrong!r}. Did you mean {right!r}?"


def test_a_name_like_no_other_points_to_the_list():
    """Without a near name the remedy is the list."""
    with pytest.raises(UnknownModelError, match="zoo list"):
        shipped_registry().find("9")


# what breaks, and the words that the error must have
FAULTS = [
    ("schema_version: 1", "schema_version: 2", "line 1, schema_version"),
    ("    paper: null\n", "", "paper: it is missing"),
    ("venue: ECCV 2018", "venue: ECCV 2018\n    year: 2018", "line 7, methods.scan.year: Extra"),
    ("status: published", "status: publised", "found 'publised'"),
    ("regions: 36", "regions: '36'", "features.regions: Input should be a valid integer"),
    ("a" * 40, "main", "weights.revision"),
    ("b" * 64, "b" * 63, "files.model.safetensors.sha256"),
    ("org/scan-f30k", "org/../scan", "weights.repo"),
    ("model.safetensors:", "../model.safetensors:", "weights.files"),
    ("        license: Apache-2.0\n", "", "needs a license"),
    ("{sha256: ", "{md5: ", "sha256: it is missing"),
    ("method: scan", "method: vse", "must be called vse-f30k"),
    ("  scan-f30k:\n", "  scan-coco:\n", "must be called scan-f30k"),
    ("  scan-f30k:\n", "  Scan-f30k:\n", "models.Scan-f30k"),
    ("default: gru", "default: lstm", "default 'lstm' is none of gru, bert"),
    ("status: unpublished", "status: bundled", "needs weights that are a folder"),
    ("status: published", "status: unpublished", "needs weights that are null"),
    ("rsum: 330.0", "rsum: 330.1", "rsum is 330.1, but its six parts sum to 330.0"),
    ("r1: 50.0", "r1: 60.5", "must not fall"),
    ("r10: 70.0", "r10: 170.0", "less than or equal to 100"),
    ("r10: 70.0", "r10: .nan", "valid number"),
    ("date: 2026-01-02", "date: yesterday", "date"),
    (', source: "table 1"', "", "source: it is missing"),
    ("seed: 1, ", "", "seed: it is missing"),
]


@pytest.mark.parametrize(("old", "new", "said"), FAULTS, ids=[fault[1][:24] for fault in FAULTS])
def test_what_breaks_the_schema_is_refused_by_place_and_reason(tmp_path, old, new, said):
    """Each fault is a RegistryError that names the file, the line and the key."""
    with pytest.raises(RegistryError, match=r"cards\.yaml, line \d+, ") as caught:
        read(changed(old, new), tmp_path)

    assert said in str(caught.value)


def test_published_needs_a_measured_result(tmp_path):
    """Weights that nobody measured are not published."""
    start, end = GOOD.index("          measured:"), GOOD.index("      bert:")

    with pytest.raises(RegistryError, match="at least one measured result"):
        read(GOOD[:start] + GOOD[end:], tmp_path)


def test_bundled_keeps_its_measured_results_in_its_folder(tmp_path):
    """A bundled model's figures have one home: results.json."""
    start, end = GOOD.index("          repo:"), GOOD.index("        results:")
    bundled = GOOD[:start] + "          folder: weights/scan\n" + GOOD[end:]

    with pytest.raises(RegistryError, match=r"results\.json"):
        read(bundled.replace("status: published", "status: bundled"), tmp_path)


def test_a_sum_that_a_source_printed_otherwise_stands_apart(tmp_path):
    """The true sum is rsum, what was printed is rsum_printed."""
    registry = read(changed("rsum: 330.0", "rsum: 330.0, rsum_printed: 330.1"), tmp_path)

    (row,) = registry.find("scan-f30k").results.paper
    assert (row.rsum, row.rsum_printed) == (330.0, 330.1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x\n", "line 1: there is an anchor or alias"),
        ("a: !!str 1\n", "line 1: there is the tag"),
        ("a: {<<: {b: 1}}\n", "line 1: there is the key '<<'"),
        ("a: 1\nb: 2\na: 3\n", "line 3: there is the key 'a' a second time"),
        ("1: a\n", "line 1: there is the key '1'"),
        ("[a]: 1\n", "the key 'a list or mapping'"),
        ("a: " + "[" * 20 + "]" * 20, "more than 12 levels"),
        ("a: " + "[" * 100_000, "more than 12 levels"),
        ("a: [1\n", "not valid YAML"),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
        ("a: '\x00'\n", "cards.yaml is not valid YAML"),
    ],
)
def test_yaml_that_is_more_than_data_is_refused(text, said):
    """Aliases, tags, merges, duplicates, depth and other surprises are errors with a place."""
    with pytest.raises(RegistryError) as caught:
        strict_yaml.parse(text.encode(), "cards.yaml")

    assert said in str(caught.value)
    assert str(caught.value).startswith("cards.yaml")


def test_a_file_that_is_too_large_or_not_text_is_refused():
    """Size and encoding are checked before parsing."""
    with pytest.raises(RegistryError, match=r"1,048,577 bytes; at most 1,048,576"):
        strict_yaml.parse(b"#" * ((1 << 20) + 1), "cards.yaml")
    with pytest.raises(RegistryError, match="not UTF-8"):
        strict_yaml.parse(b"a: \xff\n", "cards.yaml")


def test_plain_words_stay_text():
    """No date, sexagesimal number, octal number or yes becomes something else."""
    text = b"[no, 1:30, 010, 2026-01-02, .nan, 0x1f, true, null, -3, 2.5]"

    value = strict_yaml.parse(text, "x").value
    assert value == ("no", "1:30", "010", "2026-01-02", ".nan", "0x1f", True, None, -3, 2.5)


def test_a_fragment_adds_to_a_registry_and_replaces_nothing(tmp_path):
    """Its models may use known methods; a taken name is refused."""
    added = read(GOOD, tmp_path, onto=shipped_registry())

    assert {"scan-f30k", "chan-coco"} <= set(added.names())
    with pytest.raises(TakenNameError, match=r"methods\.scan: the name is taken"):
        read(GOOD, tmp_path, onto=added)
    start, end = GOOD.index("methods:"), GOOD.index("models:")
    with pytest.raises(RegistryError, match="no method is called 'scan'"):
        read(GOOD[:start] + GOOD[end:], tmp_path)


def test_a_missing_registry_is_named():
    """The error names the file that cannot be read."""
    with pytest.raises(RegistryError, match=r"/no/such\.yaml cannot be read"):
        read_registry(Path("/no/such.yaml"))


def test_bundled_weights_lie_beside_the_registry_or_in_the_package(tmp_path):
    """In a checkout the folder is as written; in an installed package it is under bundled/."""
    start, end = GOOD.index("          repo:"), GOOD.index("      bert:")
    text = GOOD[:start] + "          folder: weights/scan\n" + GOOD[end:]
    registry = read(text.replace("status: published", "status: bundled"), tmp_path)

    assert registry.find("scan-f30k").folder == tmp_path / "weights" / "scan"
    (tmp_path / "bundled" / "scan").mkdir(parents=True)
    assert registry.find("scan-f30k").folder == tmp_path / "bundled" / "scan"


def test_how_to_get_says_what_to_do(tmp_path):
    """An unpublished model says how to train it, a published one where it is."""
    shipped, registry = shipped_registry(), read(GOOD, tmp_path)

    assert "zoo train chan-coco" in shipped.find("chan-coco").how_to_get
    assert shipped.find("chan-f8k").how_to_get == "Lies here: zoo.load('chan-f8k')."
    published = registry.find("scan-f30k").how_to_get
    assert "org/scan-f30k" in published
    assert "zoo.load('scan-f30k')" in published
    assert registry.find("scan-f30k.bert").how_to_get == (
        "No weights are published. Choose another model (`zoo list` shows them)."
    )


def test_cards_are_frozen():
    """Nobody changes the registry by accident."""
    card = shipped_registry().find("chan-coco")

    with pytest.raises(ValueError, match="frozen"):
        card.features.dim = 3
    with pytest.raises(AttributeError):
        card.name = "x"


def test_the_paper_results_of_chan_are_those_of_the_sources():
    """The registry's figures for CHAN, sums included, are the published ones."""
    printed = {
        (card.name, row.protocol): row.rsum_printed or row.rsum
        for card in shipped_registry().cards()
        if card.method == "chan"
        for row in card.results.paper
    }

    assert printed == {
        ("chan-coco", "5 folds of 1k"): 525.0,
        ("chan-coco", "5k"): 433.4,
        ("chan-coco.bert_butd", "5 folds of 1k"): 532.5,
        ("chan-coco.bert_butd", "5k"): 443.9,
        ("chan-f30k", "1k"): 507.8,
        ("chan-f30k.bert_butd", "1k"): 518.5,
    }


TOKENS = [
    *("&a ", "*a", "<<: *a", "!!python/object/apply:os.system [id]", "!!binary aGk=", "!!set {a}"),
    *(
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "\n",
        "  ",
        '"',
        "'",
        "|",
        ">",
        "#",
        "?",
        "!",
        "@",
        "`",
        "\t",
    ),
    *("---\n", "...\n", "%YAML 1.2\n---\n", "%TAG ! x\n---\n", "%YAML " + "9" * 5000 + "\n"),
    *("\x00", "\r", "\ufeff", "\u2028", "é", "\U0001f600", "\u202egnp", "\ud800", '"\\UFFFFFFFF"'),
    *("~", "no", "1:30", ".nan", ".inf", "1e999", "9" * 30, "a: " * 20, "[" * 30),
    *("../../etc/passwd", "org/../x", "/absolute", "C:\\x"),
]


def mutate(text: str, generator: random.Random) -> str:
    """The text after one to six random edits."""
    for _ in range(generator.choice([1, 1, 1, 2, 3, 6])):
        at, edit = generator.randrange(len(text) + 1), generator.random()
        if edit < 0.4:
            text = text[:at] + generator.choice(TOKENS) + text[at:]
        elif edit < 0.6:
            text = text[:at] + text[at + generator.choice([1, 2, 5, 20, 80]) :]
        elif edit < 0.75:
            text = text[:at] + chr(generator.randrange(0xD7FF)) + text[at + 1 :]
        elif edit < 0.9:
            lines = text.split("\n")
            lines.insert(generator.randrange(len(lines)), generator.choice(lines))
            text = "\n".join(lines)
        else:
            word = generator.choice(["scan-f30k", "model.safetensors", "1000", "50.0", "models"])
            text = text.replace(word, generator.choice(TOKENS), 1)
    return text


def test_no_input_does_anything_but_load_or_raise_registry_error(tmp_path):
    """3,000 mutated registries: each loads or is refused, and none smuggles a path."""
    generator = random.Random(1)
    outcomes = {"loaded": 0, "refused": 0}
    for _ in range(3000):
        try:
            registry = read(mutate(GOOD, generator), tmp_path)
        except RegistryError:
            outcomes["refused"] += 1
            continue
        outcomes["loaded"] += 1
        for card in registry.cards():
            files = card.weights.files if card.weights else {}
            assert all(".." not in name and "/" not in name for name in files)
            assert card.weights is None or ".." not in card.weights.repo

    assert min(outcomes.values()) > 50


def test_strict_reading_agrees_with_plain_yaml_on_our_own_registry():
    """registry.yaml means to us what it means to any YAML reader."""
    data = (ROOT / "registry.yaml").read_bytes()

    strict = strict_yaml.parse(data, "registry.yaml").value
    plain = yaml.safe_load(data)
    assert _lists(strict) == plain


def _lists(value):
    if isinstance(value, dict):
        return {key: _lists(item) for key, item in value.items()}
    return [_lists(item) for item in value] if isinstance(value, tuple) else value

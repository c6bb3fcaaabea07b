"""The documentation site: its generated pages say what the registry and the code say."""

import doctest
import inspect
import re
from pathlib import Path

import pytest
from typer.main import get_command

pytest.importorskip("latex2mathml", reason="the site needs: pip install 'itm-zoo[docs]'")

import zoo
import zoo_docs
from zoo.catalogue.registry import shipped_registry
from zoo.cli.app import app
from zoo.report.results import measured_results, paper_results
from zoo_docs import docstrings, links, mathml, modules

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CARDS = list(shipped_registry().cards())


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Every generated page by its path below docs/."""
    return zoo_docs.pages()


def tables(text: str) -> dict[str, str]:
    """What stands under each heading of the second level."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_model_has_a_page_and_a_row(pages):
    """The table of models links to a page for each card of the registry."""
    for card in CARDS:
        assert f"models/{card.name}.md" in pages
        assert f"| [{card.name}]({card.name}.md) | [{card.method}]" in pages["models/index.md"]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_a_models_figures_stand_apart(card, pages):
    """What we measured and what the paper reports stand under headings of their own, all of it."""
    found = tables(pages[f"models/{card.name}.md"])
    ours, theirs = found["Measured by us"], found["Reported by its paper"]

    for row in measured_results(card):
        assert f"| {row['metrics']['rsum']:.1f} |" in ours
    for row in paper_results(card):
        assert f"| {row['metrics']['rsum']:.1f} | {row['source']} |" in theirs
    assert "source" not in ours.splitlines()[2]
    assert "command" not in theirs


def test_every_method_has_a_page_with_equations_departures_and_models(pages):
    """A method's page is its plugin's README, with the models that the registry has of it."""
    for name in shipped_registry().methods:
        text = pages[f"methods/{name}.md"]
        assert {"Equations", "How it was checked", "Its models, and how to train them"} <= set(
            tables(text)
        )
        assert any(heading.startswith("Departures") for heading in tables(text))
        for card in CARDS:
            assert (f"(../models/{card.name}.md)" in text) == (card.method == name)


def test_every_equation_becomes_mathml():
    """No equation of a method's page has a command that the converter does not know."""
    found = []
    for path in ROOT.glob("plugins/*/README.md"):
        found += re.findall(r"^```math\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)

    assert len(found) > 20
    for equation in found:
        assert "\\" not in re.sub(r"<[^>]*>", "", mathml.convert(equation)), equation


def test_every_command_and_option_is_in_the_reference(pages):
    """The page of commands has each command of the application with each of its options."""
    text = tables(pages["reference/commands.md"])
    commands = get_command(app).commands

    assert len(text) > 20
    for name, command in commands.items():
        for path, one in getattr(command, "commands", {"": command}).items():
            section = text[f"zoo {name} {path}".strip()]
            for parameter in one.params:
                for option in (*parameter.opts, *parameter.secondary_opts):
                    assert option in section or option in ("--help", parameter.name)


def test_every_public_name_is_in_the_reference(pages):
    """Each name of `zoo.__all__` is described on the page of `zoo` or of its room."""
    for name in set(zoo.__all__) - {"__version__"}:
        home = zoo._HOME[name]
        place = f"zoo.{home}.{name}" if home in modules.ROOMS else f"zoo.{name}"
        assert f"{{py:obj}}`~{place}`" in pages["reference/zoo.md"]
        if home not in modules.ROOMS:
            assert re.search(rf"^\.\. auto\w+:: {place}$", pages["reference/zoo.md"], re.MULTILINE)


def test_links_between_generated_pages_hold(pages):
    """Each relative link of a generated page leads to a page that is written, or made."""
    made = {(DOCS / path).resolve() for path in pages}
    for path, text in pages.items():
        for target in re.findall(r"\]\((?![a-z]+:)([^)#]+)", text):
            place = (DOCS / path).parent.joinpath(target).resolve()
            assert place in made or place.exists(), f"{path}: {target}"


def test_a_docstring_keeps_what_is_laid_out_by_hand():
    """Fields become a list, aligned lines stay, and prose loses no mark to reStructuredText."""
    lines = [
        "What it is.",
        "",
        "dim: of `Batch`",
        "   and more",
        "",
        "a   1",
        "bc  2",
        "",
        "|x|_",
    ]

    docstrings.as_rst(None, "", "", None, None, lines)

    assert lines == [
        "What it is.",
        "",
        "- **dim**: of :py:obj:`~.Batch` and more",
        "",
        ".. code-block:: text",
        "",
        "    a   1",
        "    bc  2",
        "",
        r"\|x\|\_",
    ]


def test_pages_that_are_no_longer_made_go(tmp_path, monkeypatch):
    """A model that leaves the registry leaves no page behind; a page that stays is not touched."""
    monkeypatch.setattr(zoo_docs, "pages", lambda: {"models/new.md": "new"})
    (tmp_path / "models").mkdir()
    (tmp_path / "models/old.md").write_text("old")
    (tmp_path / "data.md").write_text("ours")

    zoo_docs.write_pages(tmp_path)

    assert {path.name for path in tmp_path.rglob("*.md")} == {"new.md", "data.md"}


@pytest.mark.parametrize("module", [docstrings, links], ids=lambda one: one.__name__)
def test_the_examples_of_the_site_hold(module):
    """The docstrings of what makes the site say what it does."""
    assert inspect.getdoc(module)
    assert doctest.testmod(module, raise_on_error=True).attempted

"""Pages whose text lies elsewhere in the repository: plugins' READMEs and the project's papers."""

from __future__ import annotations

from collections.abc import Iterator

from zoo.catalogue.registry import shipped_registry
from zoo.report.model_index import DATASETS
from zoo.report.tables import Table

from .links import ROOT, page_of, relinked
from .models import words

PROJECT = ("CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")


def pages() -> dict[str, str]:
    """The methods' pages, their table, and what the repository's top has to say."""
    methods = {f"methods/{name}.md": _method(name) for name in shipped_registry().methods}
    papers = {str(page_of(path)): _copied(path) for path in PROJECT}
    return {"methods/index.md": "\n\n".join(_index()) + "\n", **methods, **papers}


def _copied(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    return relinked(text, path, f"docs/{page_of(path)}")


def _method(name: str) -> str:
    """The plugin's own page, then its models."""
    plugin = shipped_registry().methods[name].plugin
    text = _copied(f"plugins/zoo_{plugin}/README.md")
    return f"{text}\n" + "\n\n".join(_models(name)) + "\n"


def _models(name: str) -> Iterator[str]:
    cards = [card for card in shipped_registry().cards() if card.method == name]
    yield "## Its models, and how to train them"
    rows = [
        (
            f"[{card.name}](../models/{card.name}.md)",
            DATASETS[card.dataset],
            words(card),
            card.status,
            f"`zoo train {card.recipe} --data DATA --work-dir RUN`"
            if card.recipe
            else f"the mean of {' and '.join(card.members)}",
        )
        for card in cards
    ]
    yield Table("", ("model", "data set", "words", "status", "how"), rows).to_markdown()
    yield (
        "Each page has the model's results: what its paper reports, and what we measured, apart. "
        "[Training](../training.md) says what a run is."
    )


def _index() -> Iterator[str]:
    yield "# Methods"
    yield (
        "Each method is a plugin of one folder. Its page has the idea, the equations, where we "
        "depart from paper and released code, and how that was checked."
    )
    methods = shipped_registry().methods
    rows = [
        (
            f"[{_copied(f'plugins/zoo_{one.plugin}/README.md').splitlines()[0][2:]}]({name}.md)",
            one.venue,
            "reconstruction from the abstract" if one.reconstruction else "from the paper",
        )
        for name, one in methods.items()
    ]
    yield Table("", ("method", "published", "made"), rows).to_markdown()
    names = "\n".join(methods)
    yield f"```{{toctree}}\n:hidden:\n\n{names}\n```"

"""Tables of what the zoo knows and measures, for a terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .recalls import RECALLS, WAYS
from .results import measured_or_damaged, paper_results, seeds_of

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from ..catalogue.cards import Card
    from ..evaluation.measuring import Evaluation
    from ..plugins.discovery import PluginRecord


@dataclass(frozen=True)
class Table:
    """Rows of text under headers; `numbers` are the headers of columns set flush right."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[str] = ()

    def to_markdown(self) -> str:
        """As a Markdown table without its title.

        >>> print(Table("", ("name", "rsum"), [("chan-f8k", "310.5")], ("rsum",)).to_markdown())
        | name | rsum |
        | --- | ---: |
        | chan-f8k | 310.5 |
        """
        rules = ["---:" if header in self.numbers else "---" for header in self.headers]
        return "\n".join(_markdown_row(row) for row in (self.headers, rules, *self.rows))

    def to_rich(self) -> RichTable:
        """For a terminal; cells are shown as they are, never read as markup."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(
            title=Text(self.title, style="bold"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_header=any(self.headers),
        )
        for header in self.headers:
            right = header in self.numbers
            table.add_column(header, justify="right" if right else "left", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table


def _markdown_row(cells: Sequence[str]) -> str:
    safe = (cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells)
    return f"| {' | '.join(safe)} |"


def model_table(cards: Iterable[Card]) -> Table:
    """One row a model; what we measured and what the paper reports never share a column."""
    rows = [
        (
            card.name,
            card.method,
            card.dataset,
            card.status_here,
            feature_words(card.features),
            _rsums(measured_or_damaged(card), "test"),
            _rsums(paper_results(card), ""),
        )
        for card in cards
    ]
    headers = ("name", "method", "data set", "status", "features", "rsum measured", "paper rsum")
    return Table("", headers, rows)


def feature_words(features: Any) -> str:
    """Region features in words.

    >>> from types import SimpleNamespace
    >>> feature_words(SimpleNamespace(kind="grid", regions=36, dim=1280))
    'grid 36 x 1280'
    """
    return f"{features.kind} {features.regions} x {features.dim}"


def _rsums(results: Iterable[Mapping[str, Any]] | str, split: str) -> str:
    if isinstance(results, str):
        return results
    wanted = [result for result in results if str(result["split"]).startswith(split)]
    if len(wanted) == 1:
        return f"{wanted[0]['metrics']['rsum']:.1f}"
    return "\n".join(f"{row['metrics']['rsum']:.1f} ({row['protocol']})" for row in wanted)


def result_table(title: str, results: Iterable[Mapping[str, Any]]) -> Table:
    """R@K both ways and their sum, one row a result.

    With the source where a paper reports it, and the seed where there are several.
    """
    results = list(results)
    seeds = ("seed",) if len(seeds_of(results)) > 1 else ()
    keys = [f"{way}_{at}" for way in WAYS for at in RECALLS]
    recalls = [f"{way} R@{at[1:]}" for way in WAYS for at in RECALLS]
    sources = ("source",) if any("source" in result for result in results) else ()
    rows = [
        (
            *(str(result[key]) for key in ("dataset", "split", "protocol")),
            *(str(result.get(key, "")) for key in seeds),
            *(f"{result['metrics'][key]:.1f}" for key in (*keys, "rsum")),
            *(str(result.get(key, "")) for key in sources),
        )
        for result in results
    ]
    headers = ("data set", "split", "protocol", *seeds, *recalls, "rsum", *sources)
    return Table(title, headers, rows, (*recalls, "rsum"))


def evaluation_table(title: str, metrics: Mapping[str, float]) -> Table:
    """One measurement, a row for each direction: R@K in percent, median and mean rank."""
    rows = [
        (
            f"{words} ({way})",
            *(f"{metrics[f'{way}_{at}']:.2f}" for at in RECALLS),
            *(f"{metrics[f'{way}_{mean}']:.1f}" for mean in ("medr", "meanr")),
        )
        for way, words in WAYS.items()
    ]
    numbers = ("R@1", "R@5", "R@10", "median rank", "mean rank")
    return Table(title, ("find", *numbers), rows, numbers)


def evaluation_facts(evaluation: Evaluation) -> str:
    """What a figure depends on beside the model and the data, in one line."""
    chosen = evaluation.selection or "not recorded"
    facts = {
        "protocol": evaluation.protocol_name,
        "ties": evaluation.ties,
        "epoch chosen on": chosen,
        "seed": "not recorded" if evaluation.seed is None else evaluation.seed,
        "dtype": evaluation.dtype,
        "precision": evaluation.precision,
        "data": evaluation.data_fingerprint[:12],
        "code": evaluation.code,
    }
    return "; ".join(f"{name}: {value}" for name, value in facts.items())


def plugin_table(records: Iterable[PluginRecord]) -> Table:
    """One row a plugin: what it provides, or why it could not be used."""
    rows = [
        (
            record.name,
            f"{record.distribution} {record.version}",
            record.api,
            record.status,
            "\n".join(f"{kind} {name}" for kind, name in record.components),
            "\n".join(filter(None, (record.reason, *record.notes))),
        )
        for record in records
    ]
    headers = ("name", "distribution", "API", "status", "provides", "reason")
    return Table("", headers, rows)


def ranking_table(
    title: str, query: str, found: str, rankings: Iterable[tuple[str, Iterable[tuple[str, float]]]]
) -> Table:
    """For each query what was found for it, best first, with its score."""
    rows = [
        (name if rank == 1 else "", str(rank), item, f"{score:.2f}")
        for name, ranking in rankings
        for rank, (item, score) in enumerate(ranking, 1)
    ]
    return Table(title, (query, "rank", found, "score"), rows, ("rank", "score"))


def card_table(card: Card) -> Table:
    """What the registry says of one model, except its results."""
    needs = " with boxes" if card.features.boxes else ""
    facts = {
        "method": f"{card.method}: {card.title}",
        "authors": card.authors,
        "venue": card.venue,
        "paper": card.paper,
        "reference code": card.reference_code,
        "plugin": card.plugin,
        "data set": card.dataset,
        "variant": card.variant,
        "status": card.status_here,
        "license": card.license,
        "features": feature_words(card.features) + needs,
        "recipe": card.recipe,
        "members": ", ".join(card.members),
        "weights": card.how_to_get,
    }
    rows = [(name, value) for name, value in facts.items() if value]
    return Table(card.name, ("", ""), rows)

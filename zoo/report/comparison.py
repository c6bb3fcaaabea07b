"""Tables that compare models, and rows of an ablation, by what was measured of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import DataError, UnknownModelError
from ..loading.models import info
from .proof import proven
from .recalls import FIGURES, RECALLS, WAYS
from .results import FILE, own_among, read_results, read_rows
from .summary import NOTHING, Summary
from .tables import Table

FULL = "full"
"""The row of an ablation that is the recipe as it is."""
HEADS = {f"{way}_{at}": f"{way} R@{at[1:]}" for way in WAYS for at in RECALLS} | {"rsum": "rsum"}
SHORT = ("i2t_r1", "t2i_r1", "rsum")


def summaries(
    places: Mapping[str, Path], dataset: str | None = None, split: str = "test"
) -> list[Summary]:
    """A summary for each model folder (name -> folder) that was measured there, in that order.

    Measurements under another protocol are a line of their own, with the protocol in its name.
    Raises `DataError` for a damaged results.json, and for a row that does not say how to measure
    it again.
    """
    found = []
    for name, folder in places.items():
        measured = read_results(folder)
        own = own_among(folder, measured)
        wanted = [
            row for row in measured if row["split"] == split and dataset in (None, row["dataset"])
        ]
        proven(wanted, folder / FILE)
        kinds = dict.fromkeys((row["dataset"], row["protocol"]) for row in wanted)
        for kind in kinds:
            rows = [row for row in wanted if (row["dataset"], row["protocol"]) == kind]
            title = name if len(kinds) == 1 else f"{name} ({', '.join(kind)})"
            found.append(Summary(title, rows, next((row for row in rows if row in own), None)))
    return found


def comparison_table(found: Sequence[Summary], *, short: bool = False) -> Table:
    """One line a model: mean ± standard deviation over seeds, its size, and its times.

    The last column is the row of the weights that lie in the folder, where there are more.
    """
    figures = SHORT if short else FIGURES
    heads = [HEADS[figure] for figure in figures]
    several = any(len(one.rows) > 1 for one in found)
    rest = ["parameters"] if short else ["parameters", "with extractor", "training", "scoring"]
    headers = ["model", "seeds", *heads, *rest, *(["these weights"] if several else [])]
    rows = []
    for one in found:
        facts = [one.parameters()]
        if not short:
            facts += [
                one.parameters("parameters_with_extractor"),
                one.time("training_seconds", "trained_on"),
                one.time("scoring_seconds", "measured_on"),
            ]
        own = [_own_words(one)] if several else []
        figure_cells = [one.cell(figure) for figure in figures]
        rows.append([one.name, str(len(one.rows)), *figure_cells, *facts, *own])
    return Table("", headers, rows, [*headers[1:2], *heads, *rest[:2]])


def _own_words(one: Summary) -> str:
    if one.own is None:
        return NOTHING
    return f"seed {one.own.get('seed')}: rsum {one.own['metrics']['rsum']:.1f}"


@dataclass(frozen=True)
class AblationResults:
    """The content of an ablation's results.json.

    rows: row name -> overrides, in the order of the table
    results: measurements, of a row and a seed each; failed: trials that came to no end
    """

    recipe: str
    rows: Mapping[str, Mapping[str, Any]]
    results: Sequence[Mapping[str, Any]]
    failed: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path) -> AblationResults:
        """From the file.

        Raises `DataError` for one that is absent, damaged, of another form, or holds a row that
        does not say how to measure it again.
        """
        content = read_rows(path)
        results = content["results"]
        try:
            known = all({"row", "seed"} <= row.keys() for row in results)
            read = cls(content["recipe"], content["rows"], results, content["failed"])
        except KeyError as error:
            raise _no_ablation(path, f"it lacks {error}") from error
        if not known:
            raise _no_ablation(path, "a result lacks its row or its seed")
        proven(results, path)
        return read

    def splits(self) -> list[tuple[str, str]]:
        """Data set and split of each table."""
        return list(dict.fromkeys((row["dataset"], row["split"]) for row in self.results))

    def tables(self) -> list[Table]:
        """A table for each split that was measured."""
        return [self.table(dataset, split) for dataset, split in self.splits()]

    def table(self, dataset: str, split: str) -> Table:
        """One line a row: mean ± standard deviation over seeds, against the recipe as it is.

        The difference of rsum is that of the means over the seeds that both rows have.
        """
        measured = [
            Summary(name, [row for row in self._of(name) if _place(row) == (dataset, split)])
            for name in self.rows
        ]
        full = next((one for one in measured if one.name == FULL), None)
        heads = [HEADS[figure] for figure in FIGURES]
        rest = ["parameters", "training", "scoring"]
        headers = ["row", "seeds", *heads, "rsum - full", *rest]
        rows = [[*self._line(one, full)] for one in measured if one.rows or self._failures(one)]
        title = f"{label(self.recipe)} on {dataset} {split}"
        return Table(title, headers, rows, [*headers[1:2], *heads, "rsum - full", "parameters"])

    def _line(self, one: Summary, full: Summary | None) -> Iterable[str]:
        failures = self._failures(one)
        yield one.name
        yield str(len(one.rows)) + (f" ({failures} failed)" if failures else "")
        if not one.rows:
            yield from [NOTHING] * (len(FIGURES) + 4)
            return
        yield from (one.cell(figure) for figure in FIGURES)
        yield _difference(one, full)
        yield one.parameters()
        yield one.time("training_seconds", "trained_on")
        yield one.time("scoring_seconds", "measured_on")

    def _of(self, name: str) -> list[Mapping[str, Any]]:
        return [row for row in self.results if row["row"] == name]

    def _failures(self, one: Summary) -> int:
        return sum(failure["row"] == one.name for failure in self.failed)


def label(name: str) -> str:
    """A model's name, with what the registry has to say beside it."""
    try:
        return info(name).label
    except UnknownModelError:
        return name


def ablation_markdown(ablation: AblationResults) -> str:
    """Every table under its title, then what the rows set."""
    parts = [f"{table.title}:\n\n{table.to_markdown()}" for table in ablation.tables()]
    return "\n\n".join([*parts, overrides_table(ablation).to_markdown()])


def overrides_table(ablation: AblationResults) -> Table:
    """What each row sets."""
    rows = [
        (name, ", ".join(f"{key}={value}" for key, value in overrides.items()) or "as it is")
        for name, overrides in ablation.rows.items()
    ]
    return Table("", ("row", "what it sets"), rows)


def _place(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["dataset"], row["split"]


def _difference(one: Summary, full: Summary | None) -> str:
    if full is None or one.name == FULL:
        return NOTHING
    shared = set(one.seeds) & set(full.seeds)
    if not shared:
        return NOTHING
    ours, theirs = (
        Summary(each.name, [row for row in each.rows if row["seed"] in shared])
        for each in (one, full)
    )
    return f"{ours.mean('rsum') - theirs.mean('rsum'):+.1f}"


def _no_ablation(path: Path, found: str) -> DataError:
    return DataError(
        f"{path} does not hold an ablation's results ({found}). "
        "Give the results.json that `zoo ablate` wrote."
    )

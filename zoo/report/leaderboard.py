"""What papers report of the field's methods: a file of rows, checked as it is read, and its tables.

No figure of ours stands here; those are measured, and in results.json.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from ..errors import DataError, InputError
from .results import RECALLS, WAYS
from .tables import Table

FIGURES = tuple(f"{way}_{at}" for way in WAYS for at in RECALLS)
PROTOCOLS = {
    "f30k-1k": "Flickr30K, 1K test",
    "coco-1k": "COCO 1K, mean of five folds",
    "coco-5k": "COCO 5K",
}
GROUPS = {
    "regions": "On stored region features",
    "pictures": "On other image encoders",
    "pretrained": "For reference: pre-trained on far more pairs",
}
COLUMNS = (
    *("protocol", "group", "method", "year", "images", "texts", "ensemble", "model"),
    *(*FIGURES, "rsum", "rsum_printed", "note", "source"),
)
NOTHING = "-"


@dataclass(frozen=True)
class Entry:
    """What one source reports of one method under one protocol.

    images, texts: how either side is encoded
    ensemble:      whether two models' scores were averaged
    model:         what the zoo calls it, empty for a method that is not in the zoo
    figures:       the six recalls that the source gives, by name (`i2t_r1`), and their sum as
                   `rsum` where it gives all six
    rsum_printed:  the sum that the source prints, where it prints another one
    note:          known errors and what else keeps the figures from being like the others'
    """

    protocol: str
    group: str
    method: str
    year: int
    images: str
    texts: str
    ensemble: bool
    model: str
    figures: Mapping[str, Decimal]
    rsum_printed: Decimal | None
    note: str
    source: str

    @property
    def system(self) -> tuple[str, str, str, bool]:
        """What it has in common with its entries under other protocols."""
        return self.method, self.images, self.texts, self.ensemble

    @property
    def title(self) -> str:
        """The method, with a star for an ensemble."""
        return f"{self.method} *" if self.ensemble else self.method

    @property
    def remarks(self) -> list[str]:
        """The parts of the note."""
        return _parts(self.note)

    @property
    def sources(self) -> list[str]:
        """The parts of the source."""
        return _parts(self.source)

    def cell(self, figure: str) -> str:
        """A figure as it stands in a table."""
        return str(self.figures.get(figure, NOTHING))


@dataclass(frozen=True)
class Leaderboard:
    """All entries, in the order of the file."""

    entries: Sequence[Entry]

    @classmethod
    def read(cls, path: Path) -> Leaderboard:
        """From a CSV file with the columns of `COLUMNS`.

        Raises `DataError` with the line of what cannot be right: a sum that its six parts do not
        have, recalls that fall from R@1 to R@10, a row without a source, a row that is there twice.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path} cannot be read ({error}). Give a CSV file.") from error
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path} has other columns. It needs, in order: {', '.join(COLUMNS)}.")
        entries = []
        for row in reader:
            try:
                entries.append(_entry(row))
            except (ValueError, TypeError, InvalidOperation) as error:
                raise _wrong(path, reader.line_num, str(error)) from error
        for kind, times in Counter((one.protocol, *one.system) for one in entries).items():
            if times > 1:
                raise DataError(f"{path} has {times} rows of {kind}. Leave one of them.")
        return cls(entries)

    @cached_property
    def systems(self) -> dict[tuple[str, str, str, bool], dict[str, Entry]]:
        """The entries of each system by protocol."""
        found: dict[tuple[str, str, str, bool], dict[str, Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.system, {})[entry.protocol] = entry
        return found

    def under(self, protocol: str, group: str) -> list[Entry]:
        """Those of a protocol and a group, the highest rsum first, those without a sum last."""
        found = [one for one in self.entries if (one.protocol, one.group) == (protocol, group)]
        return sorted(found, key=lambda one: -one.figures.get("rsum", 0))

    def tables(self, protocol: str) -> list[Table]:
        """A table for each group, then what their letters and numbers mean.

        Raises `InputError` for a protocol that is none.
        """
        if protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise InputError(f"No protocol is called {protocol!r}. Choose one of {known}.")
        groups = {group: self.under(protocol, group) for group in GROUPS}
        shown = [entry for entries in groups.values() for entry in entries]
        sources = _keys((one.sources for one in shown), lambda place: str(place + 1))
        remarks = _keys((one.remarks for one in shown), lambda place: ascii_lowercase[place])
        tables = [
            _table(GROUPS[group], entries, sources, remarks)
            for group, entries in groups.items()
            if entries
        ]
        told = [("remark", remarks), ("source", sources)]
        lists = [
            Table(
                f"{name}s".title(),
                (name, "what it says" if name == "remark" else "where"),
                _legend(keys),
            )
            for name, keys in told
            if keys
        ]
        return [*tables, *lists]

    def markdown(self, protocol: str) -> str:
        """The tables under their titles."""
        return "\n\n".join(
            f"**{table.title}**\n\n{table.to_markdown()}" for table in self.tables(protocol)
        )

    def to_json(self, protocol: str | None = None) -> list[dict[str, Any]]:
        """The entries as plain values."""
        return [
            {
                **vars(one),
                "figures": {name: float(value) for name, value in one.figures.items()},
                "rsum_printed": None if one.rsum_printed is None else float(one.rsum_printed),
            }
            for one in self.entries
            if protocol in (None, one.protocol)
        ]


def _table(
    title: str, entries: Iterable[Entry], sources: Mapping[str, str], remarks: Mapping[str, str]
) -> Table:
    heads = [f"{way} R@{at[1:]}" for way in WAYS for at in RECALLS]
    rows = [
        (
            one.title,
            str(one.year),
            one.images,
            one.texts,
            *(one.cell(figure) for figure in (*FIGURES, "rsum")),
            "" if one.rsum_printed is None else str(one.rsum_printed),
            one.model,
            " ".join(remarks[remark] for remark in one.remarks),
            " ".join(sources[source] for source in one.sources),
        )
        for one in entries
    ]
    sums = ("rsum", "printed")
    headers = ("method", "year", "images", "texts", *heads, *sums, "in the zoo", "remark", "source")
    return Table(title, headers, rows, ("year", *heads, *sums))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _keys(found: Iterable[Iterable[str]], name: Callable[[int], str]) -> dict[str, str]:
    """A short name for each text, in the order in which they come."""
    texts = dict.fromkeys(text for part in found for text in part)
    return {text: name(place) for place, text in enumerate(texts)}


def _legend(keys: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(key, text) for text, key in keys.items()]


def _entry(row: Mapping[str, str]) -> Entry:
    """One row; raises `ValueError` that says what is wrong with it."""
    _among(row, "protocol", PROTOCOLS)
    _among(row, "group", GROUPS)
    _among(row, "ensemble", ("yes", "no"))
    for name in ("method", "images", "texts", "source"):
        if not row[name].strip():
            raise ValueError(f"{name} is empty")
    return Entry(
        **{name: row[name] for name in ("protocol", "group", "method", "images", "texts", "model")},
        year=int(row["year"]),
        ensemble=row["ensemble"] == "yes",
        figures=_figures(row),
        rsum_printed=_printed(row),
        note=row["note"],
        source=row["source"],
    )


def _among(row: Mapping[str, str], name: str, known: Iterable[str]) -> None:
    if row[name] not in known:
        raise ValueError(f"{name} is {row[name]!r} and not one of {', '.join(known)}")


def _figures(row: Mapping[str, str]) -> dict[str, Decimal]:
    found = {name: Decimal(row[name]) for name in FIGURES if row[name]}
    for way in WAYS:
        recalls = [found[name] for name in FIGURES if name.startswith(way) and name in found]
        if recalls != sorted(recalls) or not all(0 <= value <= 100 for value in recalls):
            raise ValueError(f"{way} recalls {', '.join(map(str, recalls))} fall or are no percent")
    if len(found) < len(FIGURES):
        if row["rsum"]:
            raise ValueError(f"rsum is {row['rsum']}, but some of its six parts are not given")
        return found
    total = sum(found.values(), Decimal(0))
    if not row["rsum"] or Decimal(row["rsum"]) != total:
        raise ValueError(
            f"rsum is {row['rsum'] or 'empty'}, but its six parts sum to {total}: what the source "
            "prints belongs into rsum_printed"
        )
    return found | {"rsum": total}


def _printed(row: Mapping[str, str]) -> Decimal | None:
    if not row["rsum_printed"]:
        return None
    if not row["rsum"] or Decimal(row["rsum_printed"]) == Decimal(row["rsum"]):
        raise ValueError(
            f"rsum_printed is {row['rsum_printed']}, and no other sum stands beside it"
        )
    return Decimal(row["rsum_printed"])


def _wrong(path: Path, line: int, found: str) -> DataError:
    return DataError(f"{path}, line {line}: {found}. Compare the row with its source.")

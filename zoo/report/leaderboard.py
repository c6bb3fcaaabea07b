"""What papers report of the field's methods: a file of rows, checked as it is read, and its tables.

No figure of ours stands here; those are measured, and in results.json.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from ..errors import DataError, InputError
from .entries import COLUMNS, FIGURES, GROUPS, PROTOCOLS, Entry, read_entry
from .recalls import RECALLS, WAYS
from .tables import Table


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
                entries.append(read_entry(row))
            except (ValueError, TypeError) as error:
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


def _keys(found: Iterable[Iterable[str]], name: Callable[[int], str]) -> dict[str, str]:
    """A short name for each text, in the order in which they come."""
    texts = dict.fromkeys(text for part in found for text in part)
    return {text: name(place) for place, text in enumerate(texts)}


def _legend(keys: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(key, text) for text, key in keys.items()]


def _wrong(path: Path, line: int, found: str) -> DataError:
    return DataError(f"{path}, line {line}: {found}. Compare the row with its source.")

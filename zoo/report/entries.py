"""A row of the leaderboard: what a source reports of a method, refused if it cannot be right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from .recalls import RECALLS, WAYS

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
        return parts_of(self.note)

    @property
    def sources(self) -> list[str]:
        """The parts of the source."""
        return parts_of(self.source)

    def cell(self, figure: str) -> str:
        """A figure as it stands in a table."""
        return str(self.figures.get(figure, NOTHING))


def read_entry(row: Mapping[str, Any]) -> Entry:
    """One row; raises `ValueError` that says what is wrong with it."""
    if None in row or None in row.values():
        raise ValueError("it has more or fewer cells than there are columns")
    _among(row, "protocol", PROTOCOLS)
    _among(row, "group", GROUPS)
    _among(row, "ensemble", ("yes", "no"))
    for name in ("method", "images", "texts", "source"):
        if not row[name].strip():
            raise ValueError(f"{name} is empty")
    return Entry(
        **{name: row[name] for name in ("protocol", "group", "method", "images", "texts", "model")},
        year=int(_number(row, "year")),
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
    found = {name: _number(row, name) for name in FIGURES if row[name]}
    for way in WAYS:
        recalls = [found[name] for name in FIGURES if name.startswith(way) and name in found]
        if recalls != sorted(recalls) or not all(0 <= value <= 100 for value in recalls):
            raise ValueError(f"{way} recalls {', '.join(map(str, recalls))} fall or are no percent")
    if len(found) < len(FIGURES):
        if row["rsum"]:
            raise ValueError(f"rsum is {row['rsum']}, but some of its six parts are not given")
        return found
    total = sum(found.values(), Decimal(0))
    if not row["rsum"] or _number(row, "rsum") != total:
        raise ValueError(
            f"rsum is {row['rsum'] or 'empty'}, but its six parts sum to {total}: what the source "
            "prints belongs into rsum_printed"
        )
    return found | {"rsum": total}


def _printed(row: Mapping[str, str]) -> Decimal | None:
    if not row["rsum_printed"]:
        return None
    printed = _number(row, "rsum_printed")
    if not row["rsum"] or printed == _number(row, "rsum"):
        raise ValueError(
            f"rsum_printed is {row['rsum_printed']}, and no other sum stands beside it"
        )
    return printed


def _number(row: Mapping[str, Any], name: str) -> Decimal:
    try:
        number = Decimal(row[name])
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise ValueError(f"{name} is {row[name]!r} and no number")
    return number


def parts_of(words: str) -> list[str]:
    """What semicolons part.

    >>> parts_of("its README; a table")
    ['its README', 'a table']
    """
    return [part.strip() for part in words.split(";") if part.strip()]

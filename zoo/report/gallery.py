"""Failures as cards of a page: the query, what belongs to it, and what was found before it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .failures import Candidate, Failure
from .markup import element
from .recalls import WAYS
from .thumbnails import thumbnail

if TYPE_CHECKING:
    from ..data.dataset import Dataset

KINDS = {"worst": "furthest from right", "near": "missed by least"}


class Gallery:
    """Shows failures with the captions and the pictures of a data set, or by their ids alone."""

    def __init__(self, image_ids: Sequence[str], dataset: Dataset | None) -> None:
        self.image_ids, self.dataset = image_ids, dataset
        self._pictures: dict[int, str] = {}

    def cards(self, failures: Sequence[Failure]) -> str:
        """All of them under a form that filters, which a script makes visible."""
        if not failures:
            return element("p", "Nothing: every best match ranks first.")
        shown = "\n".join(self._card(failure) for failure in failures)
        return f"{_form()}\n{shown}"

    def _card(self, failure: Failure) -> str:
        body = self._texts(failure) if failure.way == "i2t" else self._pictures_found(failure)
        query = (
            f"Image {self.image_ids[failure.number]}"
            if failure.way == "i2t"
            else f"“{self._caption(failure.number)}”"
        )
        tags = (
            f"{WAYS[failure.way]}, {KINDS[failure.kind]}: "
            f"{element('b', f'rank {failure.rank:,}')} of {failure.among:,}, "
            f"{failure.gap:.3g} below the first"
        )
        return element(
            "article",
            element("h3", escape(query)),
            element("p", tags, class_="tags"),
            body,
            class_="card",
            data_way=failure.way,
            data_kind=failure.kind,
            data_words=self._words(failure),
        )

    def _texts(self, failure: Failure) -> str:
        """An image, the captions that belong to it, and the captions that were found."""
        lists = [("What belongs to it", failure.matches), ("What ranks first", failure.top)]
        columns = [
            element("div", element("h4", name), element("ol", *map(self._text, found)))
            for name, found in lists
        ]
        return element("div", self.picture(failure.number), *columns, class_="texts")

    def _text(self, found: Candidate) -> str:
        mark = "✓ " if found.match else ""
        score = element("span", f"{mark}{found.score:.3f}")
        words = element("q", escape(self._caption(found.number)))
        return element("li", score, words, class_="match" if found.match else None)

    def _pictures_found(self, failure: Failure) -> str:
        """The image that a caption belongs to, and the images that were found."""
        (right, *_), found = failure.matches, failure.top
        figures = [self._figure(right, "its image: ")]
        figures += [self._figure(one, f"{place}. ") for place, one in enumerate(found, 1)]
        return element("div", *figures, class_="pictures")

    def _figure(self, found: Candidate, before: str) -> str:
        mark = "✓ " if found.match else ""
        told = element("figcaption", escape(f"{before}{mark}{found.score:.3f}"))
        picture = self.picture(found.number)
        return element("figure", picture, told, class_="match" if found.match else None)

    def picture(self, row: int) -> str:
        """A small picture that is told by one of its captions, or its id where there is none."""
        if row not in self._pictures:
            self._pictures[row] = self._draw(row)
        return self._pictures[row]

    def _draw(self, row: int) -> str:
        paths = self.dataset.image_paths if self.dataset else None
        small = thumbnail(paths[row]) if paths else None
        if small is None:
            return element("div", escape(f"image {self.image_ids[row]}"), class_="none")
        address, width, height = small
        return element(
            "img", src=address, width=width, height=height, alt=self._told(row), loading="lazy"
        )

    def _told(self, row: int) -> str:
        captions = self.dataset.captions_of(row) if self.dataset else ()
        name = f"Image {self.image_ids[row]}"
        return f"{name}: {captions[0]}" if captions else name

    def _caption(self, column: int) -> str:
        return self.dataset.captions[column] if self.dataset else f"caption {column}"

    def _words(self, failure: Failure) -> str:
        """What the filter looks through: captions and ids."""
        found = [one.number for one in (*failure.matches, *failure.top)]
        images, texts = (
            ([failure.number], found) if failure.way == "i2t" else (found, [failure.number])
        )
        told = [self.image_ids[row] for row in images] + [self._caption(one) for one in texts]
        return " ".join(dict.fromkeys(told)).lower()


def _form() -> str:
    ways = [("", "both ways"), *WAYS.items()]
    kinds = [("", "all"), *KINDS.items()]
    return element(
        "form",
        element("label", "Words or ids", element("input", name="words", type="search")),
        element("label", "Find", _choice("way", ways)),
        element("label", "Which", _choice("kind", kinds)),
        element("output", " ", aria_live="polite"),
        hidden=True,
        role="search",
    )


def _choice(name: str, options: Sequence[tuple[str, str]]) -> str:
    written = [element("option", escape(words), value=value) for value, words in options]
    return element("select", *written, name=name)

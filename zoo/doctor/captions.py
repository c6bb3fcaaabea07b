"""Captions: traps of their encoding, in the bytes of their files and in their text."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..data.layouts import Listing
from .finding import Finding, some

LINES = (".txt", ".tsv", ".csv", ".token")
"""Endings of files that are read line by line."""

REPEATED = 0.05
"""A larger share of captions that repeat another one of their image is no chance."""

_BYTES = re.compile(r"""b(['"]).*\1""", re.DOTALL)
_FOREIGN = re.compile(r"[^\x00-\x7f]+")


def check_file(path: Path) -> Iterator[Finding]:
    """The traps that a text file's bytes can hold; reading it as text would hide them."""
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        yield Finding(
            "warning",
            "byte-order mark",
            path.name,
            "The file begins with a byte-order mark, which other programs read as a letter.",
            "The zoo leaves it out. For other programs write the file as UTF-8 without it.",
        )
    if crlf := content.count(b"\r\n"):
        yield Finding(
            "warning",
            "line ends",
            path.name,
            f"{crlf:,} lines end as on Windows (CR LF), and some programs keep the CR as a letter.",
            "The zoo leaves it out. For other programs write line ends as LF alone.",
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        yield Finding(
            "problem",
            "encoding",
            path.name,
            f"Line {line} is not UTF-8 (byte {error.start}); Latin-1 would read "
            f"{content[error.start : error.start + 1].decode('latin-1')!r} there.",
            f"Convert the file: iconv -f WINDOWS-1252 -t UTF-8 {path.name}.",
        )


def check_blank_lines(path: Path) -> Iterator[Finding]:
    """Lines without text, in a file where every line belongs to a line of another file."""
    lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    blank = [str(number) for number, line in enumerate(lines, 1) if not line.strip()]
    if blank:
        yield Finding(
            "problem",
            "empty lines",
            path.name,
            f"Lines without text: {some(blank, len(blank))}. "
            "Other programs leave them out and shift every caption that follows.",
            "Fetch the file again, or put the missing text there.",
        )


def check_text(listing: Listing, place: str) -> Iterator[Finding]:
    """Captions that were damaged by how they were read and written before."""
    clean = True
    for check, (is_damaged, what, remedy) in _DAMAGES.items():
        damaged = [repr(caption) for caption in listing.captions if is_damaged(caption)]
        if damaged:
            clean = False
            count = some(damaged, len(damaged))
            yield Finding("problem", check, place, f"Captions that {what}: {count}.", remedy)
    if (repeated := _repeated(listing)) > REPEATED:
        clean = False
        yield Finding(
            "warning",
            "repeated captions",
            place,
            f"{repeated:.0%} of the captions equal another caption of the same image.",
            "Check that the captions are not one an image, written several times.",
        )
    if clean:
        yield Finding("fine", "captions", place, f"{len(listing.captions):,} captions read well.")


def _was_bytes(caption: str) -> bool:
    return _BYTES.fullmatch(caption) is not None


def _is_garbled(caption: str) -> bool:
    """Whether UTF-8 was read as if it were Windows' or Latin-1 text: "cafÃ©" for "café"."""
    return any(map(_is_utf8_of_another, _FOREIGN.findall(caption)))


def _is_utf8_of_another(letters: str) -> bool:
    for encoding in ("cp1252", "latin-1"):
        try:
            letters.encode(encoding).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def _has_lost_letters(caption: str) -> bool:
    return "\ufffd" in caption or "\0" in caption


_DAMAGES: Mapping[str, tuple[Callable[[str], bool], str, str]] = {
    "bytes as text": (
        _was_bytes,
        "are Python's way to write bytes",
        "Take the b and the quotes away, or make the files again with Python 3: open them with "
        "encoding='utf-8'. For weights that were trained so: legacy_bytes_repr of the BiGRU.",
    ),
    "garbled letters": (
        _is_garbled,
        "are UTF-8 that was read as another encoding",
        "Fetch the file again, or undo it: caption.encode('cp1252').decode('utf-8').",
    ),
    "lost letters": (
        _has_lost_letters,
        "have letters that an earlier conversion lost",
        "Fetch the file again from its source.",
    ),
}


def _repeated(listing: Listing) -> float:
    """The share of captions that some other caption of their image equals."""
    images: Sequence[int] = listing.caption_images.tolist()
    counts = Counter(zip(images, listing.captions, strict=True))
    return sum(count - 1 for count in counts.values()) / max(len(listing.captions), 1)

"""Captions cut into words as the Penn Treebank does.

The word vocabularies of the field were made with NLTK's `word_tokenize(caption.lower())`. These
rules give the same words on the captions of COCO, Flickr30K and Flickr8K, with nothing to download.
"""

from __future__ import annotations

import re

ABBREVIATIONS = ("ave", "dr", "jr", "mr", "mrs", "ms", "mt", "no", "sr", "st", "vs")

_RULES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # A period ends a sentence also inside a caption, but not an initial or an abbreviation.
        (
            rf"(?<!\S)(?![(\"']*(?:{'|'.join(ABBREVIATIONS)})\.)([^\s.]{{2,}})\.(?=\s)",
            r"\1 .",
        ),
        (r"([\u00ab\u201c\u2018\u201e]|`+)", r" \1 "),
        (r"^\"|(?<=[ (\[{<])(?:\"|'')", " `` "),  # an opening quote
        (r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),
        (r"(?<=[^.])\.([\])}>\"'\u00bb\u201d\u2019 ]*)$", r" . \1 "),
        (r"([:,])(?!\d)", r" \1 "),
        (r"(\.{2,}|--|[;@#$%&?!*\u2012-\u2015\[\](){}<>])", r" \1 "),
        (r"([\u00bb\u201d\u2019])", r" \1 "),
        (r"''|\"", " '' "),
        (r"(?<=[^' ])('(?:[smd]|ll|re|ve)?|n't)(?= |$)", r" \1"),
        (r"\b(can)(not)\b|\b(d)('ye)\b", r" \1\3 \2\4 "),
        (r"\b(gim|lem)(me)\b|\b(gon)(na)\b|\b(got)(ta)\b", r" \1\3\5 \2\4\6 "),
        (r"\b(wan)(na)(?=\s|$)|\b(more)('n)\b", r" \1\3 \2\4 "),
        (r"(?:(?<= )|^)('t)(is|was)\b", r" \1 \2 "),
    )
]


def tokenize(caption: str) -> list[str]:
    """The words of a caption, in lower case; punctuation marks are words of their own.

    >>> tokenize("A dog's ball isn't red, is it?")
    ['a', 'dog', "'s", 'ball', 'is', "n't", 'red', ',', 'is', 'it', '?']
    """
    text = " ".join(caption.lower().split())
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text.split()


def bytes_repr(caption: str) -> str:
    """The caption as a program written for Python 2 sees it under Python 3.

    Such a program (SCAN, SGRAF, VSRN, VSE++) reads bytes and calls `str` on them. Weights that were
    trained so know the words of this text and not those of the caption.

    >>> tokenize(bytes_repr("a dog runs ."))
    ["b'a", 'dog', 'runs', '.', "'"]
    """
    return repr(caption.strip().encode("utf-8", "surrogatepass"))

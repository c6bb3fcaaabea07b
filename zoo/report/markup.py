"""Elements of HTML and SVG as text, the same wherever and whenever they are made."""

from __future__ import annotations

from html import escape


def element(tag: str, /, *inner: str, **attributes: object) -> str:
    """One element around others; an attribute's underscores become hyphens, its last one goes.

    Attributes are escaped, what is inside is not: it is made of elements and of `escape`d text.
    An attribute that is None is left out, one that is True has no value.

    >>> element("rect", x=1.26, stroke_width=2, class_="bar")
    '<rect x="1.3" stroke-width="2" class="bar"/>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{_value(value)}"')
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{written}>{''.join(inner)}</{tag}>" if inner else f"<{tag}{written}/>"


def text(words: str, x: float, y: float, **attributes: object) -> str:
    """Words at a place of a drawing; they are escaped."""
    return element("text", escape(words), x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> str:
    """From one place of a drawing to another."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def title(words: str) -> str:
    """What is told of an element when it is pointed at, and to a reader who cannot see it."""
    return element("title", escape(words))


def _value(value: object) -> str:
    """Places to a tenth of a pixel, as short as can be."""
    return f"{round(value, 1):g}" if isinstance(value, float) else escape(str(value))

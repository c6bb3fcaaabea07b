"""Elements of a drawing as text: SVG that is the same wherever and whenever it is made."""

from __future__ import annotations

from html import escape


def element(name: str, *inner: str, **attributes: object) -> str:
    """One element around others; an attribute's underscores become hyphens, its last one goes.

    Attributes are escaped, what is inside is not: it is made of elements and of `escape`d text.

    >>> element("rect", x=1.26, stroke_width=2, class_="bar")
    '<rect x="1.3" stroke-width="2" class="bar"/>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{''.join(inner)}</{name}>" if inner else f"<{name}{written}/>"


def text(words: str, x: float, y: float, **attributes: object) -> str:
    """Words at a place; they are escaped."""
    return element("text", escape(words), x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> str:
    """From one place to another."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def title(words: str) -> str:
    """What is told of an element when it is pointed at, and to a reader who cannot see it."""
    return element("title", escape(words))


def _value(value: object) -> str:
    """Places to a tenth of a pixel, as short as can be."""
    return f"{round(value, 1):g}" if isinstance(value, float) else str(value)

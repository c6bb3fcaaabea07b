"""What this site adds to Sphinx: pages made from the registry, the code and files outside docs/."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import commands, copies, docstrings, links, mathml, models, modules

GENERATED = ("methods", "models", "reference", "project")
"""Folders of docs/ that hold generated pages alone; git ignores them."""


def setup(app: Any) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (mathml.inline, None), (mathml.display, None))
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    app.connect("source-read", links.on_the_site)
    app.connect("autodoc-process-docstring", docstrings.as_rst)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def pages() -> dict[str, str]:
    """Every generated page: its path below docs/, and its text."""
    made = (copies.pages(), models.pages(), commands.pages(), modules.pages())
    return {path: text for some in made for path, text in some.items()}


def write_pages(docs: Path) -> None:
    """Write what has changed, and remove pages that are no longer made."""
    made = {docs / path: text for path, text in pages().items()}
    for path, text in made.items():
        path.parent.mkdir(exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    for folder in GENERATED:
        for old in (docs / folder).glob("*.md"):
            if old not in made:
                old.unlink()

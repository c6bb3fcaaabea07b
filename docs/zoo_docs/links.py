"""Links that hold in the repository, changed to hold on the site."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def page_of(path: str) -> str | None:
    """The page, below docs/, on which a file of the repository stands; None if on none.

    >>> page_of("plugins/zoo_chan/README.md"), page_of("docs/data.md"), page_of("NOTICE")
    ('methods/chan.md', 'data.md', None)
    """
    fixed = {
        "README.md": "index.md",
        "CONTRIBUTING.md": "project/contributing.md",
        "CHANGELOG.md": "project/changelog.md",
        "benchmarks/README.md": "project/benchmark-programs.md",
        "docs/decisions": "decisions/index.md",
        "plugins": "methods/index.md",
        "registry.yaml": "models/index.md",
    }
    if path in fixed:
        return fixed[path]
    plugin = re.fullmatch(r"plugins/zoo_(\w+)/README\.md", path)
    if plugin:
        return f"methods/{plugin[1].replace('_', '-')}.md"
    room = re.fullmatch(r"zoo/(\w+)(?:\.py|)", path)
    if room:
        return f"reference/zoo.{room[1]}.md"
    return path.removeprefix("docs/") if path.startswith("docs/") else None


def relinked(text: str, written_at: str, shown_at: str) -> str:
    """A text of the file `written_at` with the links that it needs on the page `shown_at`.

    Both are paths from the repository's top. A link to a file that is on no page becomes its name.

    >>> relinked("[a](../docs/data.md#rows), [b](../NOTICE)", "x/README.md", "docs/methods/x.md")
    '[a](../data.md#rows), b (`NOTICE`)'
    """

    def changed(link: re.Match[str]) -> str:
        mark, words, target = link.groups()
        if re.match(r"[a-z]+:|#", target):
            return link[0]
        path, _, anchor = target.partition("#")
        found = os.path.normpath(PurePosixPath(written_at).parent / path)
        page = page_of(found)
        if page is None:
            return f"`{found}`" if words.strip("`") == path.strip("/") else f"{words} (`{found}`)"
        place = os.path.relpath(f"docs/{page}", PurePosixPath(shown_at).parent)
        return f"{mark}[{words}]({place}{'#' if anchor else ''}{anchor})"

    return LINK.sub(changed, text)


def on_the_site(app: Any, name: str, source: list[str]) -> None:
    """As a page is read: its links to files outside docs/ lead to their pages."""
    del app
    page = f"docs/{name}.md"
    if "/" not in name or name.startswith("decisions/"):
        source[0] = relinked(source[0], page, page)

"""What a method's own page says of where it departs from its paper."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..plugins import discover

if TYPE_CHECKING:
    from ..config import ModelConfig

PAGE = "README.md"
SECTION = re.compile(r"^## Departures\b[^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
LOCAL_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")


def departures_of(config: ModelConfig) -> str:
    """The section "Departures" of the page beside the plugin's module; empty where there is none.

    Links to files of its repository become plain words: the card stands elsewhere.
    """
    name = config.plugin.name if config.plugin else None
    modules = [record.module for record in discover().records if record.name == name]
    spec = find_spec(modules[0]) if modules else None
    page = Path(spec.origin).with_name(PAGE) if spec and spec.origin else None
    if page is None or not page.is_file():
        return ""
    section = SECTION.search(page.read_text("utf-8"))
    return LOCAL_LINK.sub(r"\1", section[1]).strip() if section else ""

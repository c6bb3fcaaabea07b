"""What a method's own page says of where it departs from its paper."""

from __future__ import annotations

import re
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..plugins.discovery import PluginRecord, discover

if TYPE_CHECKING:
    from ..config import ModelConfig

PAGE = "README.md"
SECTION = re.compile(r"^## Departures\b[^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
LOCAL_LINK = re.compile(r"\[([^\]]*)\]\((?!https?:)[^)]*\)")


def departures_of(config: ModelConfig) -> str:
    """The section "Departures" of the plugin's page; empty where there is none.

    Links to files of its repository become plain words: the card stands elsewhere.
    """
    name = config.plugin.name if config.plugin else None
    records = [record for record in discover().records if record.name == name]
    section = SECTION.search(_page(records[0])) if records else None
    return LOCAL_LINK.sub(r"\1", section[1]).strip() if section else ""


def _page(record: PluginRecord) -> str:
    """The page beside the plugin's module, else the one that its distribution was built with."""
    spec = find_spec(record.module.partition(":")[0])
    page = Path(spec.origin).with_name(PAGE) if spec and spec.origin else None
    if page is not None and page.is_file():
        return page.read_text("utf-8")
    try:
        described = metadata.metadata(record.distribution).json
    except metadata.PackageNotFoundError:
        return ""
    return str(described.get("description", ""))

"""The page of the command line, made from the application itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from zoo.cli.app import app


def pages() -> dict[str, str]:
    """One page with every command."""
    parts = [
        "# Commands",
        "`zoo --help` lists them, `zoo COMMAND --help` explains one. "
        "This page is made from the same words.",
    ]
    for path, command in _commands(get_command(app), "zoo"):
        parts += _section(path, command)
    return {"reference/commands.md": "\n\n".join(parts) + "\n"}


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _section(path: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=path)
    yield f"## {path}"
    yield "\n".join(["```text", f"{path} {' '.join(command.collect_usage_pieces(context))}", "```"])
    yield _paragraphs(command.help or "")
    records = [one.get_help_record(context) for one in command.params if one.name != "help"]
    rows = [f"| `{_cell(names)}` | {_cell(said)} |" for names, said in filter(None, records)]
    if rows:
        yield "\n".join(["| | |", "| --- | --- |", *rows])


def _cell(said: str) -> str:
    return " ".join(said.split()).replace("|", "\\|")


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))

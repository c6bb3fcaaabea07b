"""Pages of the Python reference: the public names, and the rooms that a plugin may import."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import zoo

ROOMS = (
    *("interfaces", "batch", "ops", "options", "encoders", "kernels", "losses", "heads", "hooks"),
    "errors",
)

ABOUT = (
    "`zoo` is what a user calls. The rooms below it are those that a plugin may import; "
    "everything else in the package is its own business, and may change in any version."
)


def pages() -> dict[str, str]:
    """The page of `zoo` itself, and one for each room."""
    rooms = {f"reference/zoo.{room}.md": _room(f"zoo.{room}") for room in ROOMS}
    names = "\n".join(["zoo", *(f"zoo.{room}" for room in ROOMS)])
    index = f"# Python\n\n{ABOUT}\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    return {"reference/index.md": index, "reference/zoo.md": _face(), **rooms}


def _room(name: str) -> str:
    """A module or, for a package, each of its modules."""
    module = importlib.import_module(name)
    inside = [one.name for one in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    # Behind the kernels that are called, and not to be imported without Triton.
    inside = [one for one in inside if not one.startswith("triton_")]
    modules = [f"{name}.{one}" for one in inside] or [name]
    about = _first(module)
    parts = [f"# {name}", about] if inside else [f"# {name}"]
    for one in modules:
        parts += [f"## {one}"] if inside else []
        parts.append(_directives([f".. automodule:: {one}\n   :members:"]))
    return "\n\n".join(parts) + "\n"


def _face() -> str:
    """Every public name with its first line; those of no room are described below."""
    rows, here = [], []
    for name in zoo.__all__:
        home = zoo._HOME.get(name, "")
        if not home:
            continue
        value = getattr(zoo, name)
        rows.append(f"| {{py:obj}}`~{_place(name, home)}` | {_first(value)} |")
        if home not in ROOMS:
            here.append(_directive(name, value))
    table = ["| name | what it is |", "| --- | --- |", *rows]
    intro = "`import zoo` loads no torch: a name is imported when it is first used."
    return "\n\n".join(["# zoo", intro, "\n".join(table), _directives(here)]) + "\n"


def _place(name: str, home: str) -> str:
    return f"zoo.{home}.{name}" if home in ROOMS else f"zoo.{name}"


def _directive(name: str, value: object) -> str:
    if isinstance(value, type):
        kind = "autoexception" if issubclass(value, Exception) else "autoclass"
        return f".. {kind}:: zoo.{name}\n   :members:"
    return f".. {'autofunction' if callable(value) else 'autodata'}:: zoo.{name}"


def _directives(blocks: list[str]) -> str:
    return "\n".join(["```{eval-rst}", "\n\n".join(blocks), "```"])


def _first(value: object | ModuleType) -> str:
    """The first paragraph of a docstring, as one line of a table."""
    text = (getattr(value, "__doc__", None) or "").strip().split("\n\n")[0]
    return " ".join(text.split()).replace("|", "\\|")

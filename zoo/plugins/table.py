"""The strict name table: a kind and a name give a class.

A configuration names components; it never names an import path, so a downloaded configuration can
only build what installed code has registered.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from ..errors import InputError, PluginError
from ..spelling import nearest

KINDS = ("image_encoder", "text_encoder", "aligner", "loss", "extractor", "importer")

CORE = {
    ("image_encoder", "members"): "zoo.members:MemberImages",
    ("image_encoder", "regions"): "zoo.encoders.regions:RegionEncoder",
    ("text_encoder", "bigru"): "zoo.encoders.bigru:BiGRU",
    ("text_encoder", "bert"): "zoo.encoders.bert:BERT",
    ("text_encoder", "members"): "zoo.members:MemberTexts",
    ("aligner", "mean"): "zoo.members:MeanScore",
    ("loss", "triplet"): "zoo.losses:TripletLoss",
    ("loss", "contrastive"): "zoo.losses:ContrastiveLoss",
    ("loss", "mixed"): "zoo.losses:MixedLoss",
    ("extractor", "grid"): "zoo.vision.grid:GridExtractor",
    ("extractor", "transformers"): "zoo.vision.pretrained:TransformersExtractor",
}


@dataclass(frozen=True)
class Entry:
    """Where a component's class is, and the plugin that registered it."""

    target: str
    plugin: str


@dataclass
class ComponentTable:
    """Every component that installed code has registered, by kind and name."""

    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)

    def add(self, kind: str, name: str, target: str, plugin: str = "zoo") -> None:
        """Register the class at `target` ("package.module:Class") under a kind and a name.

        Raises `PluginError` for an unknown kind, a malformed target, or a name that is taken.
        """
        if kind not in KINDS:
            raise PluginError(
                f"Plugin {plugin!r} registers {name!r} under the kind {kind!r}. "
                f"Use one of {', '.join(KINDS)}."
            )
        if target.count(":") != 1 or not all(target.replace(":", ".").split(".")):
            raise PluginError(
                f"Plugin {plugin!r} registers {kind} {name!r} as {target!r}. "
                "Write it as 'package.module:Class'."
            )
        taken = self.entries.get((kind, name))
        if taken is not None:
            raise PluginError(
                f"{kind} {name!r} is registered twice, by plugin {taken.plugin!r} and by plugin "
                f"{plugin!r}. Rename one of them or uninstall one plugin."
            )
        self.entries[kind, name] = Entry(target, plugin)

    def names(self, kind: str) -> list[str]:
        """The names registered under a kind, sorted."""
        return sorted(name for known, name in self.entries if known == kind)

    def resolve(self, kind: str, name: str) -> type[Any]:
        """Import and return the class of that kind and name."""
        entry = self.entries.get((kind, name))
        if entry is None:
            raise InputError(
                f"No {kind} is called {name!r}. {nearest(name, self.names(kind))} "
                "If a plugin provides it, `zoo plugins` shows whether it was loaded."
            )
        module, attribute = entry.target.split(":")
        try:
            return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{kind} {name!r} of plugin {entry.plugin!r} cannot be imported from "
                f"{entry.target}: {type(error).__name__}: {error}. "
                "Repair or reinstall the plugin, or leave it out: "
                f"ZOO_DISABLE_PLUGINS={entry.plugin}"
            ) from error


def core_table() -> ComponentTable:
    """A table that holds the core's own components and nothing else."""
    table = ComponentTable()
    for (kind, name), target in CORE.items():
        table.add(kind, name, target)
    return table

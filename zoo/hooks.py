"""What a plugin may tell the zoo: the hooks, and the markers that declare and implement them.

A plugin is an importable module with `ZOO_API_VERSION = (1, 0)` and implementations of these hooks,
named in the entry-point group `zoo.plugins` of its distribution:

    [project.entry-points."zoo.plugins"]
    chan = "zoo_chan"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pluggy

API_VERSION = (1, 0)
"""A plugin fits when its major version is this one and its minor version is not greater."""

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")

Register = Callable[[str, str, str], None]
"""Called as register(kind, name, "package.module:Class")."""


@hookspec
def zoo_components(register: Register) -> None:
    """Call `register(kind, name, "package.module:Class")` for each component.

    Kinds: image_encoder, text_encoder, aligner, loss, extractor, importer. The class is imported
    when a model needs it, so a plugin module itself imports no torch.

    >>> @hookimpl
    ... def zoo_components(register):
    ...     register("aligner", "hard_alignment", "zoo_chan.model:HardAligner")
    """


@hookspec
def zoo_cards() -> Sequence[Path | str]:
    """Paths of YAML files that describe the plugin's models, in the schema of registry.yaml."""
    return ()

"""What a plugin may tell the zoo: the hooks, and the markers that declare and implement them.

A plugin is an importable module with `ZOO_API_VERSION = (1, 0)` and implementations of these hooks,
named in the entry-point group `zoo.plugins` of its distribution:

    [project.entry-points."zoo.plugins"]
    chan = "zoo_chan"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

API_VERSION = (1, 1)
"""A plugin fits when its major version is this one and its minor version is not greater.

1.0: zoo_components, zoo_cards, the classes of zoo.interfaces
1.1: zoo.testing; Component.without_gradient, Encoder.mixes_in_training, Aligner.score_pairs,
     Aligner.pairwise, Loss.selects and needed; zoo.ops.linear_in_full

A minor version adds; what it deprecates goes on for one minor version more, with a warning that
says what to write instead (docs/decisions/0019-plugin-api-versions.md).
"""

hookspec = pluggy.HookspecMarker("zoo")
hookimpl = pluggy.HookimplMarker("zoo")

Register = Callable[[str, str, str], None]
"""Called as register(kind, name, "package.module:Class")."""


@dataclass(frozen=True)
class Adapter:
    """Turns an implementation of a hook that is deprecated into one of the hook in its place.

    old:  name of the deprecated hook, whose specification says so by `warn_on_impl`
    make: from the old implementation, an object that implements the new hook
    """

    old: str
    make: Callable[[Callable[..., Any]], object]


ADAPTERS: tuple[Adapter, ...] = ()
"""Of the hooks that are deprecated now: none is."""


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

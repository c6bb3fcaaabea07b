"""Checks of what a plugin imports, each in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from typing import Any

from ..errors import ZooError
from ..interfaces import Aligner, Component, Extractor, ImageEncoder, Loss, TextEncoder
from ..plugins.discovery import PluginRecord
from ..plugins.table import ComponentTable
from .verdicts import Fault

HEAVY = ("torch", "mmengine", "transformers")
_KIND_CLASSES: dict[str, type[Any]] = {
    "image_encoder": ImageEncoder,
    "text_encoder": TextEncoder,
    "aligner": Aligner,
    "loss": Loss,
    "extractor": Extractor,
}
_LOOK = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
found = {}
for name in json.loads(sys.argv[2]):
    importlib.import_module(name)
    found[name] = [heavy for heavy in json.loads(sys.argv[3]) if heavy in sys.modules]
print(json.dumps(found))
"""


def check_version(record: PluginRecord) -> str:
    """What the plugin should change before the next version of the API, though it works."""
    return " ".join(record.notes)


def check_module(record: PluginRecord) -> None:
    """The plugin's module imports nothing heavy, so that `zoo list` starts at once."""
    module = record.module.partition(":")[0]
    heavy = _imports((module,))[module]
    if heavy:
        raise Fault(
            f"Importing {module} imports {' and '.join(heavy)}, so every command of the zoo does.",
            'Name classes as text in zoo_components ("package.module:Class") and import '
            f"{heavy[0]} in the modules that they live in.",
        )


def check_components(record: PluginRecord, table: ComponentTable) -> None:
    """Each component is of its kind's class, and its module does without MMEngine."""
    targets = [(kind, name, table.entries[kind, name].target) for kind, name in record.components]
    for kind, name, _ in targets:
        _check_class(kind, name, table.resolve(kind, name))
    modules = [target.partition(":")[0] for _, _, target in targets]
    for module, heavy in _imports(tuple(dict.fromkeys(modules))).items():
        if "mmengine" in heavy:
            raise Fault(
                f"Importing {module} imports MMEngine, which only training has.",
                "Leave schedules and runners to recipes; a component needs torch alone.",
            )


def _check_class(kind: str, name: str, component: Any) -> None:
    wanted = _KIND_CLASSES.get(kind, object)
    if not (isinstance(component, type) and issubclass(component, wanted)):
        raise Fault(
            f"{kind} {name!r} is {component!r}, which is no {wanted.__name__}.",
            f"Derive it from zoo.{wanted.__name__}.",
        )
    abstract = sorted(getattr(component, "__abstractmethods__", ()))
    if issubclass(component, Component) and abstract:
        raise Fault(
            f"{kind} {name!r} lacks {' and '.join(abstract)}, which each {kind} has.",
            f"Write {abstract[0]} in {component.__name__}.",
        )


@cache
def _imports(modules: tuple[str, ...]) -> dict[str, list[str]]:
    """Which heavy packages are there once each module is imported, one after another."""
    arguments = [json.dumps(value) for value in ([*sys.path], modules, HEAVY)]
    ended = subprocess.run(
        [sys.executable, "-c", _LOOK, *arguments], capture_output=True, text=True, check=False
    )
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise ZooError(
            f"{' and '.join(modules)} cannot be imported in a fresh interpreter ({said}). Import "
            "all that a module needs within it, and install what is missing."
        )
    found: dict[str, list[str]] = json.loads(ended.stdout.splitlines()[-1])
    return found

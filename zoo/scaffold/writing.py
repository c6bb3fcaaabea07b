"""Writing a new plugin's package: whole or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from string import Template

from ..errors import DataError, InputError
from ..plugins.discovery import discover

LICENSES = ("Apache-2.0", "MIT", "BSD-3-Clause")
NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
LONGEST = 24
"""Letters of a name, so that no line of the package gets too long."""
PREFIX = "itm-zoo-"
FILES = {
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
    "LICENSE": "licenses/${license}",
    ".gitignore": "gitignore.in",
    ".github/workflows/ci.yml": "ci.yml.in",
    "${module}/__init__.py": "init.py.in",
    "${module}/model.py": "model.py.in",
    "${module}/cards.yaml": "cards.yaml.in",
    "${module}/recipes/${snake}_f8k.py": "recipe.py.in",
    "tests/test_contract.py": "test_contract.py.in",
    "tests/test_model.py": "test_model.py.in",
}
"""Each file of the package, and what it is made from."""


@dataclass(frozen=True)
class NewPlugin:
    """A plugin that is to be: its name, and what follows from that."""

    name: str
    license: str = LICENSES[0]

    @property
    def distribution(self) -> str:
        """As installers know it."""
        return f"{PREFIX}{self.name}"

    @property
    def module(self) -> str:
        """As Python imports it."""
        return self.distribution.replace("-", "_")

    def words(self) -> Mapping[str, str]:
        """What stands for each ${word} of the template."""
        snake, title = self.name.replace("-", "_"), self.name.replace("-", " ").title()
        return {
            "name": self.name,
            "license": self.license,
            "distribution": self.distribution,
            "module": self.module,
            "snake": snake,
            "title": title,
            "component": f"{snake}_alignment",
            "class_name": f"{title.replace(' ', '')}Aligner",
            "year": str(date.today().year),
        }


def write_plugin(new: NewPlugin, folder: Path) -> list[str]:
    """Write the package into a folder that is not there yet; the names of its files.

    Raises `InputError` for a name that cannot be one or is taken, a license that is not offered,
    and a folder that exists, and `DataError` where nothing can be written.
    """
    _check_name(new.name)
    if new.license not in LICENSES:
        raise InputError(f"license is {new.license!r}. Use one of {', '.join(LICENSES)}.")
    if folder.exists() or folder.is_symlink():
        raise InputError(f"{folder} exists already. Give --path a folder that does not.")
    words = new.words()
    written = {_filled(to, words): _text(source, words) for to, source in FILES.items()}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as place:
            made = Path(place) / folder.name
            for name, text in written.items():
                (made / name).parent.mkdir(parents=True, exist_ok=True)
                (made / name).write_text(text, encoding="utf-8")
            shutil.move(made, folder)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror}). Choose a place that you may write to "
            "and that has room."
        ) from error
    return sorted(written)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InputError(
            f"{name!r} is no name for a plugin. Use a letter, then letters, digits and single "
            f"hyphens, all lower case and at most {LONGEST}, such as 'scan' or 'my-idea'."
        )
    if name.startswith(PREFIX):
        short = name.removeprefix(PREFIX)
        raise InputError(f"The distribution is called {PREFIX}NAME. Give {short!r} as the name.")
    found = discover()
    for record in found.records:
        if record.name == name:
            raise InputError(
                f"The name {name!r} is taken by a plugin of {record.distribution} "
                f"{record.version}. Choose another name, or uninstall that one."
            )
    if name in found.registry.methods:
        owner = found.registry.methods[name].plugin
        raise InputError(
            f"A method called {name!r} is described by the plugin {owner!r}. Choose another name."
        )


def _text(source: str, words: Mapping[str, str]) -> str:
    place = files("zoo.scaffold") / "template" / _filled(source, words)
    return _filled(place.read_text(encoding="utf-8"), words)


def _filled(text: str, words: Mapping[str, str]) -> str:
    return Template(text).substitute(words)

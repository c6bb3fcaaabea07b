"""Distributions that exist only in a test: a module and its metadata in a temporary folder."""

import sys
from importlib import metadata
from pathlib import Path
from textwrap import dedent

GOOD = """
    from zoo.hooks import hookimpl
    ZOO_API_VERSION = (1, 0)

    @hookimpl
    def zoo_components(register):
        register("aligner", "{name}", "{name}.model:Aligner")
"""


class Site:
    """A folder like site-packages, into which a test installs plugins."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self, name: str, source: str | None = GOOD, *, entry: str = "", point: str = ""
    ) -> None:
        """Install the distribution `a-NAME` whose plugin is the module `name`.

        Its name sorts before ours. `source` None leaves the module out; `entry` and `point`
        replace the entry point's name and value.
        """
        info = self.folder / f"a_{name}-2.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: a_{name}\nVersion: 2.0\n")
        line = f"{entry or name} = {point or name}"
        (info / "entry_points.txt").write_text(f"[zoo.plugins]\n{line}\n")
        if source is not None:
            module = dedent(source).replace("{name}", name).replace("{folder}", str(self.folder))
            (self.folder / f"{name}.py").write_text(module)

    def distributions(self) -> list[metadata.Distribution]:
        """What is installed here."""
        return list(metadata.distributions(path=[str(self.folder)]))

    def forget(self) -> None:
        """Drop the modules that were imported from here."""
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(self.folder)):
                del sys.modules[name]

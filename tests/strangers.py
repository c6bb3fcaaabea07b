"""A stranger's environment: the zoo and what it needs, and what the stranger installs by pip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np

WORDS = ["red", "green", "dog", "cat", "near", "far"]
COMMANDS = """
import json, sys
from zoo.cli import main
lines = json.loads(sys.argv[1])
for line in lines:
    print("$", *line, flush=True)
    sys.argv = ["zoo", *line]
    status = main(line)
    if status:
        sys.exit(f"{line} ended with {status}")
"""


class Stranger:
    """A virtual environment that sees this one's packages, and has its own before them."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        (site,) = folder.glob("lib/python*/site-packages")
        known = [path for path in sys.path if path and Path(path).is_dir()]
        (site / "all_else.pth").write_text("\n".join(known) + "\n")

    def install(self, project: Path, *options: str) -> None:
        """`pip install` the project from its folder, without a network."""
        usual = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        self.run("-m", "pip", "install", *usual, "--disable-pip-version-check", *options, project)

    def run(self, *arguments: object, **environment: str) -> str:
        """What Python prints, here; an error of it is one of the test."""
        ended = subprocess.run(
            [str(self.python), *map(str, arguments)],
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def zoo(self, *lines: list[object], **environment: str) -> str:
        """What commands of `zoo` print, one after another in one process."""
        words = [[str(word) for word in line] for line in lines]
        return self.run("-c", COMMANDS, json.dumps(words), **environment)


def write_data(folder: Path, dim: int = 1280) -> Path:
    """A data set like Flickr8k's features, in miniature: captions that name signs of a region."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for split, count in {"train": 16, "dev": 6, "test": 6}.items():
        features = random.standard_normal((count, 4, dim)).astype(np.float32)
        signs = (features[:, 0, :3] > 0).astype(int)
        texts = [" ".join(WORDS[2 * place + row[place]] for place in range(3)) for row in signs]
        np.save(folder / f"{split}_ims.npy", features)
        lines = [line for text in texts for line in (text, f"a {text}", f"the {text}")]
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n")
        ids = [str(image) for image in range(count) for _ in range(3)]
        (folder / f"{split}_ids.txt").write_text("\n".join(ids) + "\n")
    return folder

r"""Code blocks of Markdown pages: read, run in the order of the page, and renewed.

    <!-- block: parsed; needs COCO's 5,000 images -->     a mark, on the line above the fence
    ```sh
    zoo evaluate --scores SCORES --protocol coco-1k       # a comment
    ```

Blocks of python, sh and console run, unless a mark says that one is `parsed` (the commands and
options exist, the Python compiles) or `shown` (not even that), and why; .ci/run does the set-up
lines of README.md. What a console block shows below its "$ " lines is compared with what the
commands print; `python tests/page_blocks.py --write PAGE` puts that there. Where it is marked as
`near`, words are compared and numbers are not. A block that begins with "# file: PATH" is written
there.
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

LANGUAGES = ("python", "sh", "console", "toml", "yaml")
FILE = re.compile(r"# file: (\S+)\n")
FENCE = re.compile(
    r"(?:^[ ]*<!-- "
    r"(?:block: (?P<mark>parsed|shown|near); (?P<reason>[^\n]+?)|(?P<setup>set-up: \w+)) -->\n)?"
    rf"^(?P<indent>[ ]*)```(?P<language>{'|'.join(LANGUAGES)})\n"
    r"(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
COMMIT = re.compile(r" \([0-9a-f]{12}(?:, changed)?\)")
"""The commit of the code, which every commit changes; a page shows the version alone."""
SMALL = [
    "train_cfg.max_epochs=1",
    "train_cfg.val_interval=1",
    "data.batch_size=8",
    "data.workers=0",
]
SHORT = {
    "train": [*SMALL, "initial_weights.extractor=chan-f8k"],
    "ablate": SMALL,
}
"""Settings that let a command end soon, and begin with weights that are there; before its own."""


class BlockError(AssertionError):
    """A block that does not do what its page says."""


@dataclass(frozen=True)
class Block:
    """A block of a page; `mark` says that it does not run, and `reason` why.

    line: of its fence, from 1; start, end: of the code within the page's text
    """

    page: Path
    line: int
    language: str
    code: str
    mark: str | None
    reason: str | None
    start: int
    end: int

    @property
    def place(self) -> str:
        """The page and the line."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [_block(page, text, found) for found in FENCE.finditer(text)]


def _block(page: Path, text: str, found: re.Match[str]) -> Block:
    indent = found["indent"]
    code = re.sub(rf"^{indent}", "", found["code"], flags=re.MULTILINE)
    line = text.count("\n", 0, found.start("language")) + 1
    span = found.span("code")
    mark, reason = found["mark"], found["reason"]
    if found["setup"]:
        mark, reason = "shown", "run by .ci/run"
    return Block(page, line, found["language"], code, mark, reason, *span)


def commands(code: str) -> list[str]:
    r"""The commands of a shell block, without comments, with continued lines as one.

    >>> commands("zoo list  # all\nzoo info \\\n  x\n")
    ['zoo list', 'zoo info x']
    """
    lines = code.replace("\\\n", " ").splitlines()
    bare = (" ".join(shlex.split(line, comments=True, posix=False)) for line in lines)
    return [line for line in bare if line]


@dataclass
class Runner:
    """Runs the blocks of a page in the current folder.

    names:    Python names that a page may use without making them
    replace:  words of a page that stand for others here, such as MODEL
    shell:    environment for a page whose commands run in a shell, each in a process of its own
    printed:  what commands print here, and what a page shows in its place
    """

    names: dict[str, Any] = field(default_factory=dict)
    replace: Mapping[str, str] = field(default_factory=dict)
    shell: Mapping[str, str] | None = None
    printed: Mapping[str, str] = field(default_factory=dict)

    def run(self, block: Block) -> str:
        """Run a block, or only look at it where its mark says so; what a console block shows.

        Raises `BlockError` with the place.
        """
        try:
            return self._how(block)(block.code)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}"
            raise BlockError(f"{block.place}: {said}\n{block.code}") from error

    def _how(self, block: Block) -> Callable[[str], str]:
        if block.mark == "shown":
            return lambda _: ""
        if FILE.match(block.code):
            return write_file
        if block.mark == "parsed":
            return parse_python if block.language == "python" else parse_shell
        ways = {"python": self._python, "sh": self._shell, "console": self._console}
        return ways[block.language]

    def _python(self, code: str) -> str:
        exec(compile(self._here(code), "block", "exec"), self.names)
        return ""

    def _shell(self, code: str) -> str:
        for command in commands(code):
            self.command(command)
        return ""

    def _console(self, code: str) -> str:
        """The block as it should stand: each command with what it prints."""
        shown = []
        for line in re.findall(r"^\$ (.*)$", code, re.MULTILINE):
            out = self.command(line)
            for here, there in self.printed.items():
                out = out.replace(here, there)
            out = COMMIT.sub("", out)
            lines = [one.rstrip() for one in out.splitlines()]
            shown += [f"$ {line}", *_trimmed(lines)]
        return "\n".join(shown) + "\n"

    def command(self, command: str) -> str:
        """Run one command; what it prints. Raises `BlockError` where it ends with an error."""
        if self.shell is not None:
            return in_a_shell(command, self.shell)
        from zoo.cli import main

        parse_shell(command)
        arguments = shlex.split(self._here(" ".join(commands(command))))
        if arguments[1] == "train" and "--resume" not in arguments:
            shutil.rmtree(arguments[arguments.index("--work-dir") + 1], ignore_errors=True)
        short = [word for one in SHORT.get(arguments[1], ()) for word in ("--set", one)]
        arguments[3:3] = short
        out, err = io.StringIO(), io.StringIO()
        # A run keeps the command that began it.
        with patch("sys.argv", arguments), redirect_stdout(out), redirect_stderr(err):
            status = main(arguments[1:])
        # The doctor's status is 1 where it finds a problem, and made data are no whole data set.
        if status not in ((0, 1) if arguments[1] == "doctor" else (0,)):
            raise BlockError(f"{command} ended with {status}\n{err.getvalue()}{out.getvalue()}")
        return out.getvalue()

    def _here(self, text: str) -> str:
        for word, other in self.replace.items():
            text = re.sub(
                rf"(?<![\w./-]){re.escape(word)}(?![\w-])|(?<=/){re.escape(word)}\b", other, text
            )
        return text


def in_a_shell(command: str, environment: Mapping[str, str]) -> str:
    """What a command prints in a shell of its own. Raises `BlockError` where it fails."""
    done = subprocess.run(
        ["bash", "-euc", command],
        capture_output=True,
        text=True,
        check=False,
        env=dict(environment),
    )
    if done.returncode:
        raise BlockError(f"{command} ended with {done.returncode}\n{done.stderr}{done.stdout}")
    return done.stdout


def write_file(code: str) -> str:
    """Write a block to the file that its first line names; the line itself is left out."""
    path = Path(FILE.match(code)[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FILE.sub("", code, count=1), encoding="utf-8")
    return ""


def parse_python(code: str) -> str:
    """Raise `SyntaxError` for what is no Python, `AttributeError` for a name `zoo` has not."""
    import zoo

    named = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Attribute))
    for node in named:
        if isinstance(node.value, ast.Name) and node.value.id == "zoo":
            getattr(zoo, node.attr)
    return ""


def parse_shell(code: str) -> str:
    """Raise `BlockError` for a command or an option that `zoo` does not have."""
    from typer.main import get_command

    from zoo.cli.app import app

    for command in commands(code):
        words = shlex.split(command)
        if words[0] != "zoo":
            raise BlockError(f"{words[0]!r} is no command of the zoo; mark the block as shown")
        one, rest = get_command(app), words[1:]
        while hasattr(one, "commands") and not rest[0].startswith("-"):
            if rest[0] not in one.commands:
                raise BlockError(f"zoo has no command {rest[0]!r}")
            one, rest = one.commands[rest[0]], rest[1:]
        known = {
            name
            for parameter in one.params
            for name in (*parameter.opts, *parameter.secondary_opts)
        }
        unknown = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)} - known
        if unknown - {"--help"}:
            raise BlockError(f"{command}: there is no option {', '.join(sorted(unknown))}")
    return ""


def _trimmed(lines: list[str]) -> list[str]:
    """Without empty lines at both ends."""
    filled = [place for place, line in enumerate(lines) if line]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def renewed(page: Path, runner: Runner) -> str:
    """The page's text with what its commands print today."""
    text, parts, done = page.read_text(encoding="utf-8"), [], 0
    for block in blocks(page):
        made = runner.run(block)
        if block.language == "console" and block.mark != "shown" and not _same(block, made):
            parts += [text[done : block.start], made]
            done = block.end
    return "".join([*parts, text[done:]])


def _same(block: Block, made: str) -> bool:
    near = block.mark == "near"
    return _words(block.code) == _words(made) if near else block.code == made


def _words(text: str) -> list[str]:
    """The words of a text, with one sign for each that has a figure in it.

    >>> _words("R@1  91.7 (2 s)") == _words("R@1 75.0 (13 s)")
    True
    """
    return ["0" if re.search(r"\d", word) else word for word in text.split()]


if __name__ == "__main__":
    from page_world import in_a_world

    for name in sys.argv[2:]:
        page = Path(name).resolve()
        with in_a_world(page.name) as runner:
            page_text = renewed(page, runner)
        page.write_text(page_text, encoding="utf-8")

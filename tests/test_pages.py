"""What pages show works: their code runs, and their commands print what stands there."""

from collections import Counter
from pathlib import Path

import pytest

from page_blocks import BlockError, Runner, blocks, renewed
from page_world import TUTORIAL, TUTORIAL_PLUGIN, in_a_world
from zoo.version import __version__

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("plugins/*/README.md")),
]
SHOWING = [page for page in PAGES if blocks(page)]


@pytest.mark.parametrize("page", SHOWING, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_does_what_it_shows(page):
    """The blocks of a page run in their order, and console blocks hold what is printed."""
    with in_a_world(page.name) as runner:
        now = renewed(page, runner)
        if page.name == TUTORIAL:
            check_example(Path.cwd())

    assert now == page.read_text(), f"Renew: python tests/page_blocks.py --write {page}"


def check_example(made: Path) -> None:
    """What the tutorial has written at its end is what lies in the repository, file by file."""
    example = ROOT / TUTORIAL_PLUGIN
    names = [path.relative_to(example) for path in example.rglob("*.*") if path.is_file()]
    written = {name for name in names if name.suffix in (".py", ".toml", ".yaml")}

    assert len(written) >= 6
    for name in written:
        assert (made / name).read_text() == (example / name).read_text(), name


def count() -> str:
    """How many blocks there are, and how many of them do not run."""
    every = [block for page in SHOWING for block in blocks(page)]
    marks = Counter(block.mark or "run" for block in every)
    return ", ".join(f"{marks[how]} {how}" for how in ("run", "near", "parsed", "shown"))


def test_few_blocks_do_not_run():
    """A mark that a block is only looked at is an exception, and says why."""
    every = [block for page in SHOWING for block in blocks(page)]
    marked = [block for block in every if block.mark in ("parsed", "shown")]

    assert all(block.reason for block in marked)
    assert len(marked) <= len(every) // 5, [block.place for block in marked]


def write(folder: Path, text: str) -> Path:
    """A page of this text."""
    page = folder / "page.md"
    page.write_text(text)
    return page


def test_a_block_that_fails_is_named(tmp_path):
    """Python that raises, a command that fails, and one that is none name page and line."""
    for code in ("python\nraise ValueError", "sh\nzoo info no-such", "sh\nrm -r x", "sh\nzoo lst"):
        page = write(tmp_path, f"Text.\n\n```{code}\n```\n")
        with in_a_world() as runner, pytest.raises(BlockError, match=r"page\.md:3: "):
            renewed(page, runner)


def test_a_marked_block_is_still_looked_at(tmp_path):
    """`parsed` refuses a command, an option, a name and Python that there are not."""
    mark = "<!-- block: parsed; needs a GPU -->"
    for code in ("sh\nzoo lst", "sh\nzoo list --al", "python\nzoo.lod()", "python\nif"):
        page = write(tmp_path, f"{mark}\n```{code}\n```\n")
        with pytest.raises(BlockError):
            renewed(page, Runner())
    assert renewed(write(tmp_path, f"{mark}\n```sh\nzoo list --json\n```\n"), Runner())


def test_what_a_console_block_shows_is_made_again(tmp_path):
    """Below each "$ " line stands what the command prints now; all other text stays."""
    page = write(tmp_path, "One.\n\n```console\n$ zoo --version\nzoo 0.0.1\n```\n\nTwo.\n")

    assert renewed(page, Runner()) == (
        f"One.\n\n```console\n$ zoo --version\nzoo {__version__}\n```\n\nTwo.\n"
    )

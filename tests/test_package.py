"""The package as it is handed out: its metadata, its papers, and how it starts."""

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import zoo
from zoo.catalogue.registry import shipped_registry
from zoo.plugins.discovery import component_table
from zoo.plugins.entry_points import GROUP, built_in

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = (ROOT / "README.md").read_text()
HEAVY = ("torch", "mmengine", "transformers", "matplotlib", "huggingface_hub")
VARIANTS = {
    f"{name}.{key}": variant
    for name, model in shipped_registry().models.items()
    for key, variant in model.variants.items()
}


def code_blocks(text: str) -> list[str]:
    """The fenced shell blocks of a Markdown text."""
    return re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def published_files() -> list[Path]:
    """Every text file that a reader of the repository sees, this test left out."""
    folders = ("zoo", "plugins", "docs", "tests", "benchmarks", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    files += ROOT.glob("*")
    endings = {".py", ".md", ".toml", ".yaml", ".txt", ""}
    return [
        path
        for path in files
        if path.is_file() and path.suffix in endings and path != Path(__file__)
    ]


def test_every_entry_point_resolves():
    """What pyproject.toml promises to installers can be imported."""
    command, (module, function) = "zoo", PROJECT["project"]["scripts"]["zoo"].split(":")
    assert callable(getattr(importlib.import_module(module), function)), command

    for target in PROJECT["project"]["entry-points"][GROUP].values():
        assert importlib.import_module(target).ZOO_API_VERSION == (1, 0)


def test_built_in_plugins_are_the_declared_ones():
    """What is found in a checkout is what is found after an install."""
    assert PROJECT["project"]["entry-points"][GROUP] == built_in()


def test_the_version_is_one():
    """pyproject.toml, the package and the changelog agree."""
    version = PROJECT["project"]["version"]

    assert version == zoo.__version__
    assert version in (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_readme_has_two_set_up_lines():
    """One line for the demo, one for the tests, each marked for .ci/run."""
    lines = re.findall(r"<!-- set-up: \w+ -->\n```sh\n(.*)\n```", README)

    assert lines == [
        "python -m pip install . && zoo demo",
        'python -m pip install -e ".[dev]" && python -m pytest -n auto --dist worksteal',
    ]


def test_the_commands_of_the_readme_exist():
    """Each `zoo COMMAND --option` that the README shows is there."""
    from typer.main import get_command

    from zoo.cli.app import app

    commands = get_command(app).commands
    shown = [line for block in code_blocks(README) for line in block.splitlines()]
    used = [re.findall(r"\bzoo ([a-z-]+)(.*)", line.split("#")[0]) for line in shown]
    used = [call for calls in used for call in calls]

    assert {name for name, _ in used} >= {"list", "score", "extract", "train", "evaluate", "demo"}
    for name, rest in used:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"(?<!\S)(--?[a-z][a-z-]*)", rest)) <= known, (name, rest)


def test_the_names_of_the_readme_exist():
    """Each `zoo.name` of the README's Python is public."""
    used = set(re.findall(r"\bzoo\.([a-z_]+)\(", README))

    assert {"load", "list_models", "info"} <= used <= set(zoo.__all__)


def test_the_links_of_the_papers_lead_somewhere():
    """Relative links in Markdown files point to files that exist."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_licence_and_notice_are_there():
    """The files that the metadata names exist, and the notice names what the model began with."""
    for name in PROJECT["project"]["license-files"]:
        assert (ROOT / name).is_file()
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text()
    notice = (ROOT / "NOTICE").read_text()
    assert all(word in notice for word in ("MobileNet-EdgeTPU", "google-coral", "Flickr8k", "int8"))


def test_the_wheel_takes_registry_and_bundled_models_along():
    """One bundled model is put where an installed package looks for it; the others stay behind."""
    moved = dict(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"])
    bundled = {one.weights.folder for one in VARIANTS.values() if one.status == "bundled"}

    assert moved.pop("registry.yaml") == "zoo/registry.yaml"
    assert moved == {"weights/chan-f8k": "zoo/bundled/chan-f8k"}
    assert moved.keys() <= bundled


@pytest.mark.parametrize("name", [name for name, one in VARIANTS.items() if one.parts])
def test_the_parts_in_the_registry_fit_their_components(name):
    """Each part names a registered component and arguments that it has."""
    parts = VARIANTS[name].parts.model_dump(exclude_none=True, exclude={"scoring"})

    for kind, part in parts.items():
        component = component_table().resolve(kind, part["type"])
        assert part.keys() - {"type"} <= inspect.signature(component).parameters.keys()


@pytest.mark.parametrize("name", [name for name, one in VARIANTS.items() if not one.members])
def test_each_recipe_of_the_registry_exists_and_builds_the_same_model(name):
    """A card's recipe is a file of its plugin, and has the parts that the card has."""
    pytest.importorskip("mmengine", reason="recipes are read with the extra train")
    from zoo.training.recipe import read_recipe

    variant = VARIANTS[name]
    model = read_recipe(variant.recipe)["model"]

    assert model["features"] == variant.features.model_dump(exclude={"boxes"})
    if variant.parts is not None:
        parts = variant.parts.model_dump(include={"image_encoder", "text_encoder", "aligner"})
        assert parts == {kind: model[kind] for kind in parts}


@pytest.mark.parametrize(
    "code",
    [
        "import zoo",
        "import zoo; zoo.list_models(); zoo.info('chan-f8k')",
        "from zoo.cli import main; main(['list'])",
        "from zoo.cli import main; main(['plugins'])",
        "from zoo.cli import main; main(['info', 'chan-f8k'])",
        "from zoo.cli import main; main(['--help'])",
    ],
)
def test_looking_around_imports_nothing_heavy(code):
    """Listing and describing models need no torch, so they start at once."""
    check = f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    path = f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'plugins')]}\n"

    run = subprocess.run(
        [sys.executable, "-c", path + code + check], capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines()[-1] == "[]"


def test_no_file_names_a_place_of_one_machine():
    """Nothing points into somebody's home or workplace."""
    places = re.compile(r"(?<![\w.])/(?:work|root|home)/\w|\b[Ii]ssue #?\d|\b[Ss]ub-?agent")
    found = [
        f"{path.relative_to(ROOT)}: {hit.group()}"
        for path in published_files()
        for hit in places.finditer(path.read_text(encoding="utf-8"))
    ]

    assert found == []


def test_every_module_is_named_for_what_it_knows():
    """There is no utils, helpers, common, misc or base."""
    empty = {"util", "utils", "helper", "helpers", "common", "misc", "base"}

    assert [path for path in published_files() if path.stem.lower() in empty] == []


def test_training_without_mmengine_says_what_to_install():
    """The extra is named, and nothing else is in the way."""
    code = (
        "import sys; sys.modules['mmengine'] = None\n"
        "from zoo.cli import main\n"
        "sys.exit(main(['train', 'chan-f8k', '--data', '.', '--work-dir', 'absent/run']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)

    assert ended.returncode == 1
    assert "pip install 'itm-zoo[train]'" in ended.stderr
    assert "Traceback" not in ended.stderr

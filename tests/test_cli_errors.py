"""What goes wrong on the command line is said once, and the exit status tells who can mend it."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from distributions import Site
from zoo.demo import PHOTOS

ROOT = Path(__file__).resolve().parents[1]
CAT = PHOTOS / "cat.jpg"


@pytest.fixture(scope="session")
def broken(tmp_path_factory, model_folder) -> Path:
    """A folder of things that cannot be used, each named for what is wrong with it."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "truncated.jpg").write_bytes(CAT.read_bytes()[:9000])
    (folder / "text.jpg").write_bytes(b"hello")
    config = json.loads((model_folder / "config.json").read_text())
    unknown = {**config, "aligner": {"type": "hard_aligment"}}
    changes = {
        "damaged_weights": ("model.safetensors", b"\x00" * 40),
        "no_json": ("config.json", b"{"),
        "unknown_component": ("config.json", json.dumps(unknown).encode()),
        "damaged_vocabulary": ("vocab.json", b"[]"),
        "no_vocabulary": ("vocab.json", None),
    }
    for name, (file, content) in changes.items():
        path = shutil.copytree(model_folder, folder / name) / file
        path.unlink() if content is None else path.write_bytes(content)
    return folder


BROKEN = {
    "unknown model": (
        "info chan-cocoo",
        r"No model is called 'chan-cocoo'\. Did you mean 'chan-coco'\?",
    ),
    "folder in place of a name": (
        "info {model}",
        r"is a place, and the registry knows models by their names .* `zoo register` gives it",
    ),
    "unpublished model": (
        "score {cat} --text 'a dog' --model chan-coco",
        r"chan-coco is unpublished\. No weights are published\. Train it \(zoo train chan-coco",
    ),
    "missing image": (
        "score {broken}/none.jpg --text 'a dog' --model {model}",
        r"none\.jpg cannot be opened \(No such file or directory\)\. Check the path\.",
    ),
    "truncated image": (
        "score {broken}/truncated.jpg --text 'a dog' --model {model}",
        r"truncated\.jpg cannot be read as a picture \(.*truncated.*\)\. Give an undamaged file",
    ),
    "text named .jpg": (
        "score {broken}/text.jpg --text 'a dog' --model {model}",
        r"text\.jpg cannot be read as a picture \(.+\)\. Give an undamaged file",
    ),
    "empty text": (
        "score {cat} --text ' ' --model {model}",
        r"Caption 0 is empty\. Give it a word, or leave it out\.",
    ),
    "unknown setting": (
        "train chan-f30k --data {data} --work-dir {broken}/run --set data.batchsize=2",
        r"data has no 'batchsize'\. Did you mean 'data\.batch_size'",
    ),
    "setting without a value": (
        "train chan-f30k --data {data} --work-dir {broken}/run --set seed",
        r"The setting 'seed' is not of the form key=value\. Write it as in",
    ),
    "unknown recipe": (
        "train chan-f30 --data {data} --work-dir {broken}/run",
        r"No recipe is called 'chan-f30'\. Did you mean 'chan-f30k'",
    ),
    "data without captions": (
        "evaluate {model} --data {data}/images",
        r"images holds no data set that is known\. It must have SPLIT_caps\.txt",
    ),
    "split that is not there": (
        "evaluate {model} --data {data} --split dev",
        r"has no split 'dev'\. Choose one of test\.",
    ),
    "damaged weights": (
        "evaluate {broken}/damaged_weights --data {data}",
        r"model\.safetensors is not a readable safetensors file .* take it again from its source",
    ),
    "config that is no JSON": (
        "evaluate {broken}/no_json --data {data}",
        r"config\.json is not a model configuration \(the file: Invalid JSON.*\)\. Take the file",
    ),
    "unknown component": (
        "evaluate {broken}/unknown_component --data {data}",
        r"No aligner is called 'hard_aligment'\. Did you mean 'hard_alignment'",
    ),
    "no vocabulary": (
        "evaluate {broken}/no_vocabulary --data {data}",
        r"no_vocabulary has no file vocab\.json, which the model needs\. Put vocab\.json there",
    ),
    "damaged vocabulary": (
        "evaluate {broken}/damaged_vocabulary --data {data}",
        r"The vocabulary of 0 words has none for unknown ones; it begins with \[\]\. Give one",
    ),
    "no model folder": (
        "evaluate local-dir:{broken}/none --data {data}",
        r"none is not a folder\. A model folder holds config\.json and model\.safetensors",
    ),
    "unknown device": (
        "evaluate {model} --data {data} --device gpu",
        r"The device 'gpu' cannot be used \(.+\)\. Give --device cpu",
    ),
    "output in no folder": (
        "evaluate {model} --data {broken}/none --json {broken}/none/out.json",
        r"out\.json cannot be written.*\. Give --json the path of a file in a folder that exists",
    ),
    "folder without photographs": (
        "demo {broken}/no_json --model {model}",
        r"no_json holds no photographs\. Give a folder with files that end in \.jpg",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_input_gives_one_clear_message(run, case, model_folder, data_folder, broken):
    """One line on stderr, nothing on stdout, no traceback, exit status 1."""
    command, message = BROKEN[case]
    places = {"model": model_folder, "data": data_folder, "broken": broken, "cat": CAT}

    status, out, err = run(*(word.format(**places) for word in shlex.split(command)))

    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "fault of the zoo" not in err
    assert re.search(message, err)


@pytest.mark.parametrize(
    "command",
    ["scor", "score", "score a.jpg", "list --status new", "info", "--nothing", "train chan-f8k"],
)
def test_wrong_usage_ends_with_2(run, command):
    """And shows how the command is used."""
    status, out, err = run(*command.split())

    assert (status, out) == (2, "")
    assert "Usage: zoo" in err


def test_the_traceback_is_shown_on_request(run, monkeypatch):
    """By the option before the command, or by the environment."""
    by_option = run("--debug", "info", "nothing")
    monkeypatch.setenv("ZOO_DEBUG", "1")
    by_environment = run("info", "nothing")
    monkeypatch.setenv("ZOO_DEBUG", "0")
    without = run("info", "nothing")

    for status, _, err in (by_option, by_environment):
        assert status == 1
        assert err.startswith("Traceback")
        assert err.splitlines()[-1].startswith("error: No model is called 'nothing'.")
    assert "Traceback" not in without[2]


def test_a_fault_of_ours_says_so(run, monkeypatch):
    """In one line, with the way to the traceback."""
    monkeypatch.setattr("zoo.loading.models.info", raiser(KeyError("lost")))

    assert run("info", "chan-f8k") == (
        1,
        "",
        "error: KeyError: 'lost'. This is a fault of the zoo, not yours; "
        "`zoo --debug COMMAND ...` shows the traceback to report.\n",
    )


def test_a_fault_of_a_plugin_names_the_plugin(run, monkeypatch, tmp_path):
    """And the line of its code that was innermost."""
    site = Site(tmp_path)
    site.add("leaning", "def fail(*_):\n    raise KeyError('lost')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("zoo.loading.models.info", importlib.import_module("leaning").fail)

    _, _, err = run("info", "chan-f8k")
    site.forget()

    place = tmp_path / "leaning.py"
    assert "fault of the zoo" not in err
    assert f"This is a fault of the plugin leaning (a-leaning), at {place}:2; `zoo" in err


def test_a_missing_package_names_the_extra(run, monkeypatch):
    """And the command that installs it."""
    monkeypatch.setattr("zoo.loading.models.info", raiser(ModuleNotFoundError(name="transformers")))

    assert "pip install 'itm-zoo[text]'" in run("info", "chan-f8k")[2]


def test_a_path_that_is_not_allowed_is_no_fault_of_ours(run, monkeypatch):
    """The path is named."""
    error = PermissionError(13, "Permission denied", "secret")
    monkeypatch.setattr("zoo.loading.models.info", raiser(error))

    message = "error: secret: Permission denied. Check the path and who may use it.\n"
    assert run("info", "chan-f8k") == (1, "", message)


def test_an_interrupt_ends_with_130(run, monkeypatch):
    """As shells expect of Ctrl-C, without a traceback."""
    monkeypatch.setattr("zoo.loading.models.info", raiser(KeyboardInterrupt()))

    status, _, err = run("info", "chan-f8k")

    assert status == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["list", "list --json", "--help"])
def test_a_reader_that_leaves_is_no_error(command, unbuffered):
    """`zoo list | head -0` prints no traceback, whenever it is that the output is flushed."""
    reading, writing = os.pipe()
    os.close(reading)
    code = f"import sys, zoo.cli; sys.exit(zoo.cli.main({command.split()!r}))"
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])

    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    os.close(writing)

    assert done.stderr == ""
    assert done.returncode in (0, 1)


def raiser(error: BaseException):
    """A function that raises, whatever it is given."""

    def fail(*_arguments, **_options):
        raise error

    return fail

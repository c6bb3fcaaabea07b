"""What many tests need: the same random numbers on every run, and real data where it lies."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hub_server import HubServer

ROOT = Path(__file__).resolve().parents[1]

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several: a core each, before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if importlib.util.find_spec("triton") is not None:
    import torch

    if not torch.cuda.is_available():  # then kernels are interpreted; triton must know at import
        os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True)
def _same_numbers_every_time() -> None:
    import torch

    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_names_of_one_s_own(tmp_path_factory, monkeypatch) -> None:
    """The models that a developer named are none of the tests'."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path_factory.getbasetemp() / "zoo-home"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("ZOO_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set ZOO_SHARED_DATA to a folder with it)")
    return folder


@pytest.fixture
def run(capsys):
    """Runs a command of `zoo` in this process; gives its exit status, stdout and stderr."""
    from zoo.cli import main

    def run_command(*arguments: object) -> tuple[int, str, str]:
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    return run_command


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """An untrained model that reads photographs, on disk."""
    from photo_models import photo_model

    return photo_model().save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory) -> Path:
    """The photographs of the demo as a data set: six images with two captions each."""
    from photo_models import write_data

    return write_data(tmp_path_factory.mktemp("data") / "six")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[HubServer]:
    """A Hub on loopback, an empty home of the zoo, nobody logged in, and short waits."""
    import huggingface_hub.constants

    from hub_server import HubServer

    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr("zoo.hub.client.WAITS", (0.01, 0.02))
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "zoo-home"))
    with HubServer() as server:
        monkeypatch.setenv("ZOO_HUB_ENDPOINT", server.url)
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many of the pages' code blocks ran, where they were asked for."""
    pages = sys.modules.get("test_pages")
    if pages is not None:
        terminalreporter.write_line(f"code blocks of pages: {pages.count()}")

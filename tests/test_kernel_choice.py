"""Which kernels compute, and that those in Triton can: they are compiled for GPUs not here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from zoo.errors import InputError
from zoo.kernels import choice
from zoo.kernels.choice import Choice, kernels_on, uses_triton

GPU = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def _asked_for_nothing(monkeypatch) -> None:
    monkeypatch.delenv("ZOO_KERNELS", raising=False)


@pytest.fixture
def gpu(monkeypatch) -> None:
    """As on a machine with a Hopper GPU and triton, on which a kernel gives the right result."""
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(choice, "find_spec", lambda _: "a spec")
    monkeypatch.setattr(choice, "_right", lambda _: True)
    monkeypatch.setattr(choice, "_fault", choice._fault.__wrapped__)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_runs_them_uses_kernels_in_triton(monkeypatch):
    """Unless they are turned off; a CPU never does."""
    assert uses_triton(GPU)
    assert not uses_triton(torch.device("cpu"))
    monkeypatch.setenv("ZOO_KERNELS", "torch")
    assert kernels_on(GPU) == Choice(False, "ZOO_KERNELS=torch")
    monkeypatch.setenv("ZOO_KERNELS", "triton")
    assert uses_triton(GPU)


def test_what_cannot_run_is_told_of_its_device(monkeypatch):
    """The report goes on, and says what was asked for and why it is not to be had."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("ZOO_KERNELS", "triton")
    told = choice.report()["kernels on cpu"]
    assert told.startswith("none: ZOO_KERNELS=triton, and on cpu such kernels cannot run")


def raising(error: Exception):
    """A function that raises."""

    def fail(_) -> bool:
        raise error

    return fail


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("where", "name", "value", "reason"),
    [
        (choice, "find_spec", lambda _: None, "triton is not installed"),
        (torch.cuda, "get_device_capability", lambda _: (7, 5), "7.5, older than 8.0"),
        (torch.version, "hip", "6.2", "not tried on ROCm"),
        (choice, "_right", lambda _: False, "a kernel's result was wrong"),
        (
            choice,
            "_right",
            raising(RuntimeError("no C compiler\nat all")),
            "RuntimeError: no C comp",
        ),
        (choice, "_right", raising(OSError()), "OSError"),
    ],
)
def test_torch_computes_where_they_cannot_run(where, name, value, reason, monkeypatch):
    """Silently, with the reason kept for who asks; asked for, it is an error that says it."""
    monkeypatch.setattr(where, name, value)

    assert not uses_triton(GPU)
    assert reason in kernels_on(GPU).why
    assert str(kernels_on(GPU)).startswith("torch (")
    monkeypatch.setattr(choice, "_interprets", lambda: False)
    monkeypatch.setenv("ZOO_KERNELS", "triton")
    with pytest.raises(InputError, match=r"on cuda:0 .* cannot run: .* Unset it to compute"):
        uses_triton(GPU)


@pytest.mark.usefixtures("gpu")
def test_a_warning_of_the_compiler_is_no_fault(monkeypatch):
    """Not even where warnings are errors, as in tests."""

    def warn(_) -> bool:
        warnings.warn("a default will change", UserWarning, stacklevel=1)
        return True

    monkeypatch.setattr(choice, "_right", warn)

    assert uses_triton(GPU)


def test_other_kernels_are_refused(monkeypatch):
    """A misspelt setting would else be none."""
    monkeypatch.setenv("ZOO_KERNELS", "tritn")

    with pytest.raises(InputError, match=r"ZOO_KERNELS is 'tritn'; it may be torch or triton"):
        kernels_on("cpu")


@pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")
def test_every_kernel_compiles_and_fits(tmp_path):
    """For Hopper without spilling what is used most; nowhere beyond the shared memory there is."""
    program = Path(__file__).with_name("compiled_kernels.py")
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr

    kernels = json.loads(done.stdout)

    for kernel in kernels:
        assert kernel["shared"] <= kernel["most"], kernel
        assert kernel["spilled"] < 256, kernel
    scoring = kernels[0]
    assert scoring["of_warp_groups"]
    assert scoring["spilled"] == 0

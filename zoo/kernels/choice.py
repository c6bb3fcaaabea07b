"""Which kernels compute on a device: those in Triton, or torch's operations."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

import torch

from ..errors import InputError

SETTING = "ZOO_KERNELS"
"""Environment: "torch" or "triton"; otherwise Triton's wherever they run."""

OLDEST = (8, 0)
"""The first compute capability that multiplies bfloat16."""


@dataclass(frozen=True)
class Choice:
    """Whether kernels in Triton are used, and why or why not, in words."""

    triton: bool
    why: str

    def __str__(self) -> str:
        return f"{'triton' if self.triton else 'torch'} ({self.why})"


def uses_triton(device: torch.device) -> bool:
    """Whether kernels in Triton compute there. Raises `InputError` as `kernels_on` does."""
    return kernels_on(device).triton


def kernels_on(device: torch.device | str) -> Choice:
    """What computes on a device, as `ZOO_KERNELS` asks or else as the device can.

    Raises `InputError` where that asks for what there is not, or for what cannot run.

    >>> kernels_on("cpu")
    Choice(triton=False, why='no CUDA device')
    """
    asked = os.environ.get(SETTING, "")
    if asked == "torch":
        return Choice(False, f"{SETTING}=torch")
    if asked not in ("", "triton"):
        raise InputError(
            f"{SETTING} is {asked!r}; it may be torch or triton. Unset it, and the faster kernels "
            "that run are used."
        )
    fault = _fault(torch.device(device))
    if asked == "triton" and fault is not None and not _interprets():
        raise InputError(
            f"{SETTING}=triton, and on {device} such kernels cannot run: {fault}. Unset it to "
            "compute with torch."
        )
    if asked == "triton":
        return Choice(True, f"{SETTING}=triton" if fault is None else "interpreted")
    return Choice(fault is None, fault or "tried here, with the right result")


def report() -> dict[str, str]:
    """What computes on each device, in words."""
    devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return {f"kernels on {device}": _told(device) for device in devices}


def _told(device: str) -> str:
    """What computes there, or why what was asked for does not."""
    try:
        return str(kernels_on(device))
    except InputError as error:
        return f"none: {error}"


def _interprets() -> bool:
    """Whether Triton runs its kernels in Python, on any device, to look for faults in them."""
    return os.environ.get("TRITON_INTERPRET") == "1" and find_spec("triton") is not None


@cache
def _fault(device: torch.device) -> str | None:
    """Why kernels in Triton cannot run there, which is found by running one of each; or None."""
    if device.type != "cuda":
        return "no CUDA device"
    if torch.version.hip is not None:
        return "not tried on ROCm"
    if find_spec("triton") is None:
        return "triton is not installed"
    capability = torch.cuda.get_device_capability(device)
    if capability < OLDEST:
        return f"compute capability {capability[0]}.{capability[1]}, older than 8.0"
    try:
        with warnings.catch_warnings(action="ignore"):  # what a compiler warns of is no fault
            right = _right(device)
        return None if right else "a kernel's result was wrong"
    except Exception as error:  # noqa: BLE001 - a compiler is run, which fails in every way
        return f"{type(error).__name__}: {error}".splitlines()[0].rstrip(": ")


def _right(device: torch.device) -> bool:
    """Whether a kernel of each module gives what is known. No random number is used up."""
    from .attention import Attention
    from .runs import Run
    from .triton_hard import largest
    from .triton_soft import cosines

    entries = torch.eye(64, dtype=torch.bfloat16, device=device)[:12].view(4, 3, 64)
    best, _ = largest(entries.flatten(0, 1), entries, entries.new_zeros(4, 3, dtype=torch.bool))
    alike, runs = torch.ones(2, 3, 4, device=device), [Run(0, 4, 1)]
    made = cosines(alike, alike, torch.ones(2, 4, 3, device=device), runs, Attention(1.0))
    same = torch.arange(12, device=device) // 3 == torch.arange(4, device=device)[:, None]
    return bool((best == same).all()) and bool((made - 1).abs().max() < 1e-5)

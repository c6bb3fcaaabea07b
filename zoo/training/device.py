"""Where a run computes."""

from __future__ import annotations

import torch

from ..errors import InputError


def choose_device(name: str | None) -> torch.device:
    """The device of that name; without one, CUDA where torch finds it, else the CPU.

    Raises `InputError` for a device that torch does not know or that is not there.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"The device {name!r} cannot be used ({reason}). "
            "Leave it out, or give cpu, or cuda where torch finds one."
        ) from error

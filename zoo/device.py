"""Where a model computes."""

from __future__ import annotations

import torch

from .errors import InputError


def device_words(device: torch.device | str) -> str:
    """What computes there, for a time to mean something.

    >>> device_words("cpu")  # doctest: +SKIP
    'cpu, 1 thread'
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device}, {threads} thread{'s' if threads > 1 else ''}"


def usable_device(device: torch.device | str) -> torch.device:
    """The device, once torch has used it. Raises `InputError` for one that is not there."""
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise InputError(
            f"The device {str(device)!r} cannot be used ({reason}). Give --device cpu "
            "(device='cpu' in Python), or cuda where torch finds one."
        ) from error

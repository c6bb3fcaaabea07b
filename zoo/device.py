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


def multiplies_bfloat16(device: torch.device | str) -> bool:
    """Whether products of bfloat16 are sooner there than those of float32.

    On a CPU it needs AVX512-BF16 or AMX, and oneDNN, which uses them.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    tests = (f"_is_{instructions}_supported" for instructions in ("avx512_bf16", "amx_tile"))
    able = any(getattr(torch.cpu, test, bool)() for test in tests)
    return kind == "cpu" and able and bool(torch.backends.mkldnn.enabled)

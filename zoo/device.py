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
    return kind == "cpu" and bool(_instructions()) and _has_onednn()


def machine() -> dict[str, str]:
    """What there is to compute with, and what the zoo makes of it, in words.

    >>> machine()["scoring on cpu"]  # doctest: +SKIP
    'exact ranks from a bfloat16 scan, where the method has one'
    """
    devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    report = {
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "bfloat16 instructions": ", ".join(_instructions()) or "none",
        "oneDNN": "in use" if _has_onednn() else "not in use",
    }
    for device in devices:
        if device != "cpu":
            report[device] = torch.cuda.get_device_name(device)
        exact = "exact ranks from a bfloat16 scan, where the method has one"
        report[f"scoring on {device}"] = exact if multiplies_bfloat16(device) else "float32"
    return report


def _instructions() -> list[str]:
    """Those of this processor that multiply bfloat16, as torch finds them."""
    known = {"AVX512-BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
    return [name for name, test in known.items() if getattr(torch.cpu, test, bool)()]


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]

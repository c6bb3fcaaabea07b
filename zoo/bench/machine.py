"""What a time was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

INSTRUCTIONS = ("avx2", "fma", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16")
"""Those of /proc/cpuinfo that matter to products of matrices."""


def machine_facts() -> dict[str, Any]:
    """Processor, instructions, cores, threads, torch, and how busy the machine is.

    >>> sorted(machine_facts())[:3]
    ['cores', 'instructions', 'load']
    """
    import torch

    known = _cpuinfo()
    flags = set(known.get("flags", known.get("Features", "")).split())
    return {
        "processor": known.get("model name") or platform.processor() or platform.machine(),
        "instructions": [name for name in INSTRUCTIONS if name in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": [round(load, 1) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def machine_words(facts: dict[str, Any]) -> str:
    """The same in a line."""
    able = " ".join(facts["instructions"]) or "no wide instructions known"
    load = f", load {facts['load'][0]}" if facts["load"] else ""
    return (
        f"{facts['processor']} ({able}), {facts['cores']} cores{load}, "
        f"torch {facts['torch']}, Python {facts['python']}, {facts['system']}"
    )


def _cpuinfo() -> dict[str, str]:
    """The first processor's entry of /proc/cpuinfo; nothing where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}

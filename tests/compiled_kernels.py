"""Compiles the kernels for GPUs that are not here, in the tiles that these would be given.

Run as a program, since the tests' own process interprets kernels. Prints a JSON list: of each its
name, its shared memory and how much the GPU has, the bytes of registers that were spilled, and how
many products of warp groups there are.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from zoo.kernels import triton_hard, triton_soft
from zoo.kernels.triton_device import Gpu

KINDS = {torch.bfloat16: "*bf16", torch.float32: "*fp32"}
GPUS = {
    90: ("sm_90a", Gpu(132, 232448, True)),
    80: ("sm_80", Gpu(108, 166912, False)),
    89: ("sm_89", Gpu(128, 101376, False)),
}


def hard(capability: int, dtype: torch.dtype, remember: bool) -> dict[str, Any]:
    """Of COCO's 5K, with padding."""
    gpu = GPUS[capability][1]
    tile = triton_hard.Tile.of(gpu, dtype, 5000, 300000, remember)
    types = dict.fromkeys(("entries", "queries"), KINDS[dtype])
    types |= {"padding": "*u8", "rows": "*i64", "lengths": "*i64", "best": "*fp32"}
    settings = {
        "padded": True,
        "remember": remember,
        "even": True,
        "precision": "tf32x3",
        "item_tile": tile.items,
        "query_tile": tile.queries,
        "step": tile.step,
        "group": triton_hard.GROUP,
    }
    options = {"num_warps": tile.warps, "num_stages": tile.stages(gpu, dtype)}
    return built(triton_hard._largest, capability, types | {"places": "*i32"}, settings, options)


def listed(capability: int, dtype: torch.dtype) -> dict[str, Any]:
    """Of pairs, with their places."""
    types = dict.fromkeys(("entries", "queries"), KINDS[dtype])
    types |= dict.fromkeys(("asking", "order", "item_of", "starts", "stops"), "*i64")
    types |= {"padding": "*u8", "best": "*fp32", "places": "*i32"}
    settings = {
        "remember": True,
        "precision": "tf32x3",
        "query_tile": triton_hard.LISTED,
        "step": 32 if dtype == torch.float32 else 64,
    }
    return built(triton_hard._listed, capability, types, settings, {"num_warps": 4})


def soft(capability: int, sources: int, gradients: bool) -> dict[str, Any]:
    """In SCAN's form."""
    kernel = triton_soft._gradients if gradients else triton_soft._cosines
    tile = triton_soft.Tile.of(sources, 500, gradients)
    types = {"sharpness": "fp32", "leak": "fp32"}
    for name in ("similarity", "logits", "gram", "cosines", "gradients"):
        types |= {name: "*fp32", f"of_{name}": "*fp32"}
    settings = {
        "own_logits": False,
        "normalize": True,
        "source_tile": tile.sources,
        "item_tile": tile.items,
    }
    return built(kernel, capability, types, settings, {"num_warps": tile.warps})


def built(
    kernel: Any,
    capability: int,
    types: dict[str, str],
    settings: dict[str, Any],
    options: dict[str, int],
) -> dict[str, Any]:
    """Compile one; integers are 32 bits, pointers and the dim are multiples of 16."""
    names = list(kernel.arg_names)
    signature = {n: "constexpr" if n in settings else types.get(n, "i32") for n in names}
    aligned = [n for n in names if signature[n].startswith("*") or n == "dim"]
    attributes = {(names.index(n),): [["tt.divisibility", 16]] for n in aligned}
    source = ASTSource(kernel, signature, constexprs=settings, attrs=attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    architecture, gpu = GPUS[capability]
    return {
        "name": f"{kernel.__name__} {architecture} {settings}",
        "shared": compiled.metadata.shared,
        "most": gpu.shared_memory,
        "spilled": spilled(compiled.asm["ptx"], architecture),
        "of_warp_groups": compiled.asm["ptx"].count("wgmma.mma_async.sync"),
    }


def spilled(ptx: str, architecture: str) -> int:
    """Bytes of a thread's registers that the assembler had no room for."""
    place = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    newest = max(place.glob("ptxas*"), key=lambda file: len(file.name))  # ptxas-blackwell
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kernel.ptx")
        file.write_text(ptx, encoding="utf-8")
        command = [newest, "-v", f"--gpu-name={architecture}", file, "-o", file.with_suffix(".o")]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.search(r"(\d+) bytes spill stores", told.stdout + told.stderr)[1])


def everything() -> Iterator[dict[str, Any]]:
    """Each kernel for Hopper, and what is tightest elsewhere."""
    yield hard(90, torch.bfloat16, remember=False)
    yield hard(90, torch.float32, remember=True)
    yield hard(80, torch.float32, remember=True)
    yield hard(89, torch.bfloat16, remember=True)
    yield listed(90, torch.float32)
    yield listed(89, torch.bfloat16)
    yield soft(90, 36, gradients=False)
    yield soft(90, 36, gradients=True)
    yield soft(80, 100, gradients=False)
    yield soft(89, 64, gradients=False)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(list(everything())))

"""What a GPU has that decides how large the tiles of a kernel are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import triton


@dataclass(frozen=True)
class Gpu:
    """One device.

    processors:    multiprocessors, each of which computes one tile or more at a time
    shared_memory: bytes that one tile may have
    warp_groups:   whether several warps make a product together, of operands in shared memory
                   (Hopper, and Blackwell's large chips); elsewhere operands take up registers
    """

    processors: int
    shared_memory: int
    warp_groups: bool

    @classmethod
    def of(cls, device: torch.device) -> Gpu:
        """Of a device of CUDA; where kernels are interpreted, something large."""
        if device.type != "cuda":
            return cls(1, 2**18, True)
        return _found(torch.empty(0, device=device).get_device())


@cache
def _found(index: int) -> Gpu:
    found = triton.runtime.driver.active.utils.get_device_properties(index)
    warp_groups = torch.cuda.get_device_capability(index)[0] in (9, 10)
    return Gpu(found["multiprocessor_count"], found["max_shared_mem"], warp_groups)

"""Pickles that write a file when they are opened, in the forms in which checkpoints come."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch


class Bomb:
    """Whoever unpickles it makes the file `marker`."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def write_bombs(folder: Path, marker: Path) -> list[Path]:
    """One file of each form; opening any of them makes the file `marker`."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"epoch": 3, "model": [{"fc.weight": torch.zeros(2)}], "opt": Bomb(marker)}
    zipped, legacy = folder / "model_best.pth.tar", folder / "legacy.pt"
    torch.save(whole, zipped)
    torch.save(whole, legacy, _use_new_zipfile_serialization=False)
    plain = [folder / f"protocol_{number}.bin" for number in range(2, 6)]
    for number, path in enumerate(plain, 2):
        path.write_bytes(pickle.dumps(Bomb(marker), protocol=number))
    ancient = folder / "protocol_0.pth"
    ancient.write_bytes(pickle.dumps(Bomb(marker), protocol=0))
    return [zipped, legacy, *plain, ancient]

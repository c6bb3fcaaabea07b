"""The sizes at which something is measured, and how they are written on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..spelling import nearest


@dataclass(frozen=True)
class Setting:
    """What a case may read; each says which it does.

    images, captions: how many; captions 0: five an image
    batch:    of a training step, images and as many captions
    regions:  of an image
    dim:      of the joint space
    threads:  of this process
    rounds:   in which every variant is run once
    pooling:  of hard alignment's codes
    lengths:  a file of captions, one a line, whose lengths are used; COCO-like ones without
    model:    that is loaded, where the case loads one
    """

    images: int = 256
    captions: int = 0
    batch: int = 128
    regions: int = 36
    dim: int = 1024
    threads: int = 1
    rounds: int = 3
    pooling: str = "mean"
    lengths: Path | None = None
    model: str = "chan-f8k"

    @property
    def texts(self) -> int:
        """How many captions there are."""
        return self.captions or 5 * self.images

    def to_json(self, read: Sequence[str]) -> dict[str, Any]:
        """Those that a case reads, the captions counted."""
        values = asdict(self) | {"captions": self.texts}
        return {name: values[name] for name in read if name != "lengths"}


def changed(setting: Setting, written: Sequence[str], read: Sequence[str]) -> Setting:
    """With other values, as in "images=512". Raises `InputError` for what the case does not read.

    >>> changed(Setting(), ["images=512"], ["images"]).images
    512
    """
    for one in written:
        name, equals, value = one.partition("=")
        if not equals:
            raise InputError(f"{one!r} sets nothing. Write NAME=VALUE, as in images=512.")
        known: dict[str, Any] = {_known(name, read): _value(name, value)}
        setting = replace(setting, **known)
    return setting


def sweep(written: str, read: Sequence[str]) -> tuple[str, list[int]]:
    """The name and the values of a sweep, as in "captions=320,640,1280"."""
    name, _, values = written.partition("=")
    parts = [part for part in values.split(",") if part]
    if len(parts) < 2:
        raise InputError(
            f"--sweep {written!r} has {len(parts)} values. Give two at least: captions=320,640."
        )
    found = [_value(_known(name, read), part) for part in parts]
    if any(isinstance(one, str) for one in found):
        raise InputError(f"{name} is no number and cannot be swept. Choose one of {_listed(read)}.")
    return name, [int(one) for one in found]


def _known(name: str, read: Sequence[str]) -> str:
    if name not in read or name == "lengths":
        raise InputError(f"There is nothing to set that is called {name!r}. {nearest(name, read)}")
    return name


def _value(name: str, written: str) -> int | str:
    kind = next(field.type for field in fields(Setting) if field.name == name)
    if kind == "str":
        return written
    if not written.isdecimal() or int(written) < 1:
        raise InputError(f"{name} is {written!r}. Give a number from 1 on.")
    return int(written)


def _listed(read: Sequence[str]) -> str:
    return ", ".join(name for name in read if name not in ("lengths", "pooling", "model"))

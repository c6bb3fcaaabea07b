"""Captions as the text encoders take them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..batch import Tokens
from ..errors import InputError
from ..ops import pad


def checked(captions: Sequence[Any]) -> Iterator[str]:
    """Each caption in turn. Raises `InputError`, naming the caption, for no text or none at all."""
    for position, caption in enumerate(captions):
        if not isinstance(caption, str):
            raise InputError(
                f"Caption {position} is a {type(caption).__name__} where text is wanted. "
                "Pass a list of strings."
            )
        if not caption.strip():
            raise InputError(f"Caption {position} is empty. Give it a word, or leave it out.")
        yield caption


def tokens(ids: Sequence[np.ndarray], places: Sequence[np.ndarray] | None = None) -> Tokens:
    """Texts of token ids; `places` says where in its caption each one stood, if some are gone."""
    padded, mask = pad([torch.from_numpy(row) for row in ids])
    if places is None:
        return Tokens(padded, mask)
    return Tokens(padded, mask, pad([torch.from_numpy(row) for row in places])[0])

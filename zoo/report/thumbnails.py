"""Small pictures inside a page, so that it needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from ..errors import InputError

SIDE = 160  # pixels of the longer side
QUALITY = 72


def thumbnail(path: Path, side: int = SIDE) -> tuple[str, int, int] | None:
    """A picture as the address that holds it, with its width and height; None if it is damaged.

    It bears nothing of the original but its pixels: no place, no camera, no name.
    """
    from PIL import Image

    from ..vision.photos import open_photo

    try:
        photo = open_photo(path)
    except InputError:
        return None
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    small = Image.frombytes("RGB", photo.size, photo.tobytes())
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=QUALITY)
    written = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/jpeg;base64,{written}", *small.size

"""Photographs of any kind, read as upright RGB."""

from __future__ import annotations

import os
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ..errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
PIXEL_LIMIT = 50_000_000

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = [_TURNS[note] for note in (5, 6, 7, 8)]
_one_at_a_time = threading.Lock()


def open_photo(photo: Any) -> Image.Image:
    """A picture as upright RGB, as `read_photo` reads it.

    >>> open_photo("beach.jpg").size                                   # doctest: +SKIP
    (640, 427)
    """
    return read_photo(photo)[0]


def read_photo(photo: Any) -> tuple[Image.Image, tuple[int, int]]:
    """A picture as upright RGB, 8 bits a channel, and the width and height of the original.

    `photo` is the path of a file or a PIL image. Of an animation it is the first frame; what is
    transparent becomes white; 16-bit and float greys are scaled to 8 bits; the orientation that a
    camera noted is applied. A JPEG file of more than `PIXEL_LIMIT` pixels, and of at most three
    times as many, is decoded at half its width and height. Raises `InputError`, naming the file,
    for one that is missing, damaged, of another format than `FORMATS`, or of too many pixels.
    """
    name = _name(photo)
    try:
        if isinstance(photo, Image.Image):
            return _upright_rgb(photo, photo.size, name)
        with _open(photo) as opened:
            size = opened.size
            _reduce(opened)
            return _upright_rgb(opened, size, name)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name, str(error)) from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise InputError(f"{name} cannot be opened ({error.strerror}). Check the path.") from error
    except Exception as error:  # a decoder raises whatever the damaged bytes lead it to
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "unknown format" if unknown else str(error) or type(error).__name__
        raise InputError(
            f"{name} cannot be read as a picture ({reason}). "
            f"Give an undamaged file, one of {', '.join(FORMATS)}."
        ) from error


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Of sizes that we refuse, and of damaged notes of a camera; filters are shared by threads."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _open(path: str | os.PathLike[str]) -> Image.Image:
    with _without_warnings():
        return Image.open(path, formats=FORMATS)


def _reduce(image: Image.Image) -> None:
    """Have a large JPEG decoded at half its size, which takes a quarter of the memory."""
    width, height = image.size
    # Of a progressive one the decoder keeps every coefficient, whatever size is asked for.
    if PIXEL_LIMIT < width * height <= 3 * PIXEL_LIMIT and "progressive" not in image.info:
        image.draft(None, (width // 2, height // 2))  # other formats stay as they are


def _upright_rgb(
    image: Image.Image, size: tuple[int, int], name: str
) -> tuple[Image.Image, tuple[int, int]]:
    width, height = size
    if image.width * image.height > PIXEL_LIMIT:
        raise _too_large(name, f"{width} x {height} pixels")
    if width * height == 0:
        raise InputError(
            f"{name} has no pixels ({width} x {height}). Give a picture that has some."
        )
    image.load()  # here, where threads may decode at once, and not under the lock below
    turn = _TURNS.get(_orientation(image))
    upright = _rgb(image if turn is None else image.transpose(turn))
    return upright, ((height, width) if turn in _SIDEWAYS else (width, height))


def _orientation(image: Image.Image) -> Any:
    """As the camera noted it; 1, upright, when the note is damaged."""
    with _without_warnings():
        try:
            return image.getexif().get(ExifTags.Base.Orientation, 1)
        except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
            return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or image.mode.startswith("I"):
        image = _eight_bit(image)
    elif image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image.getchannel("A"))
        return white
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey values of a wider kind, scaled from the smallest usual range that holds them all."""
    values = np.array(image, dtype=np.float32)
    ranges = {"F": (1, 255, 65535), "I": (255, 65535)}.get(image.mode, (65535,))
    low, high = values.min(), values.max()
    top = next((top for top in ranges if low >= 0 and high <= top), None)
    if top is None:
        raise ValueError(f"its grey values go from {low:g} to {high:g}, not from 0 to {ranges[-1]}")
    values *= 255 / top
    return Image.fromarray(np.rint(values, out=values).astype(np.uint8))


def _too_large(name: str, size: str) -> InputError:
    return InputError(
        f"{name} is too large ({size}; at most {PIXEL_LIMIT:,} pixels are read). "
        "Make a smaller copy of it."
    )


def _name(photo: Any) -> str:
    if isinstance(photo, Image.Image):
        return str(getattr(photo, "filename", "")) or f"The picture {photo!r}"
    if isinstance(photo, (str, os.PathLike)):
        return str(photo)
    raise InputError(
        f"A picture is given as {type(photo).__name__}. Give the path of a file, or a PIL image."
    )

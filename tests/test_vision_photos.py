"""Photographs of every kind give the right pixels, or one clear error that names the file."""

from __future__ import annotations

import io
import random
import re
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.errors import InputError
from zoo.vision.photos import FORMATS, PIXEL_LIMIT, open_photo, read_photo

COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 0], [255, 255, 255], [128, 128, 128]]],
    dtype=np.uint8,
)
GREYS = np.array([[0, 64, 128], [192, 240, 255]], dtype=np.uint8)


def pixels(photo) -> np.ndarray:
    """What is read, as (height, width, 3) integers."""
    image = open_photo(photo)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def grey(values) -> np.ndarray:
    """Grey values in all three channels."""
    return np.repeat(np.asarray(values)[..., None], 3, axis=2).astype(int)


def saved(image: Image.Image, path: Path, **options) -> Path:
    """The picture in a file."""
    image.save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "webp"])
def test_exact_formats_keep_every_pixel(tmp_path, suffix):
    """Six colours come back as they were written."""
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(Image.fromarray(COLOURS), tmp_path / f"six.{suffix}", **options)
    assert np.array_equal(pixels(path), COLOURS)
    assert np.array_equal(pixels(str(path)), COLOURS)


@pytest.mark.parametrize("suffix", ["jpg", "avif", "gif"])
def test_lossy_formats_keep_the_colours(tmp_path, suffix):
    """A red picture stays red."""
    path = saved(Image.new("RGB", (16, 16), (200, 30, 30)), tmp_path / f"red.{suffix}")
    assert np.abs(pixels(path) - [200, 30, 30]).max() <= 8


def test_the_content_counts_and_not_the_suffix(tmp_path):
    """A PNG that is called .jpg is read."""
    path = saved(Image.fromarray(COLOURS), tmp_path / "six.png").rename(tmp_path / "six.jpg")
    assert np.array_equal(pixels(path), COLOURS)


def test_pil_images_are_read_as_they_are():
    """An RGB image in memory keeps its pixels, and is not changed."""
    image = Image.fromarray(COLOURS)
    assert np.array_equal(pixels(image), COLOURS)
    assert np.array_equal(np.asarray(image), COLOURS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_of_the_camera_is_applied(tmp_path, orientation):
    """Whatever way the camera was held, the picture is upright."""
    turn = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(turn(COLOURS)))
    path = saved(stored, tmp_path / "turned.png", exif=exif)
    assert np.array_equal(pixels(path), COLOURS)


def test_damaged_notes_of_the_camera_do_not_hide_the_picture(tmp_path):
    """A picture whose EXIF block is rubbish is read as it lies."""
    path = saved(Image.fromarray(COLOURS), tmp_path / "a.png", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff")
    assert np.array_equal(pixels(path), COLOURS)


def test_black_and_white_and_grey(tmp_path):
    """1-bit and 8-bit greys have three equal channels."""
    assert np.array_equal(pixels(saved(Image.fromarray(GREYS), tmp_path / "g.png")), grey(GREYS))
    bits = Image.fromarray(GREYS > 100)
    assert bits.mode == "1"
    assert np.array_equal(pixels(saved(bits, tmp_path / "b.png")), grey((GREYS > 100) * 255))


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_sixteen_bit_greys_are_scaled(tmp_path, suffix):
    """0 to 65535 becomes 0 to 255, and does not overflow to white."""
    values = GREYS.astype(np.uint16) * 257
    path = saved(Image.fromarray(values), tmp_path / f"deep.{suffix}")
    assert np.array_equal(pixels(path), grey(GREYS))


def test_a_dark_sixteen_bit_grey_stays_dark(tmp_path):
    """The type's range counts, not that of the values."""
    path = saved(Image.fromarray(GREYS.astype(np.uint16)), tmp_path / "dark.png")
    assert pixels(path).max() == 1


@pytest.mark.parametrize("scale", [1 / 255, 1.0, 257.0])
def test_float_greys_are_scaled_from_their_usual_ranges(tmp_path, scale):
    """Values to 1, to 255 and to 65535 are told apart."""
    path = saved(Image.fromarray(GREYS.astype(np.float32) * scale), tmp_path / "float.tiff")
    assert np.array_equal(pixels(path), grey(GREYS))


@pytest.mark.parametrize("value", [-1.0, 70000.0, float("nan"), float("inf")])
def test_float_greys_of_no_usual_range_are_refused(tmp_path, value):
    """Negative, large and undefined values give an error with the range."""
    values = np.array([[0.0, value]], dtype=np.float32)
    path = saved(Image.fromarray(values), tmp_path / "odd.tiff")
    with pytest.raises(InputError, match=r"odd\.tiff cannot be read.*grey values go from"):
        open_photo(path)


def test_what_is_transparent_becomes_white(tmp_path):
    """RGBA, grey with alpha, and half transparency lie on white."""
    rgba = np.dstack([COLOURS, [[255, 0, 255], [0, 255, 128]]]).astype(np.uint8)
    expected = COLOURS.astype(int)
    expected[0, 1] = expected[1, 0] = 255
    expected[1, 2] = 191
    read = pixels(saved(Image.fromarray(rgba), tmp_path / "rgba.png"))
    assert np.abs(read - expected).max() <= 1
    alpha = Image.fromarray(np.array([[0, 255, 255], [255] * 3], dtype=np.uint8))
    faded = Image.merge("LA", [Image.fromarray(GREYS), alpha])
    expected = grey(GREYS)
    expected[0, 0] = 255
    assert np.array_equal(pixels(saved(faded, tmp_path / "la.png")), expected)


@pytest.mark.parametrize("kind", ["index", "bytes"])
def test_palettes_with_transparency(tmp_path, kind):
    """Colours come from the palette, and a transparent entry is white."""
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    transparency = 1 if kind == "index" else bytes([255, 0, 255])
    path = saved(image, tmp_path / "palette.png", transparency=transparency)
    assert pixels(path).tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]


def test_an_opaque_colour_with_a_transparent_one(tmp_path):
    """An RGB file that names one colour as transparent shows white there."""
    path = saved(Image.fromarray(COLOURS), tmp_path / "key.png", transparency=(255, 0, 0))
    expected = COLOURS.copy()
    expected[0, 0] = 255
    assert np.array_equal(pixels(path), expected)


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_cmyk_has_the_right_colours(tmp_path, suffix):
    """Ink is subtracted: no ink is white, all magenta and yellow is red."""
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    image.paste((0, 0, 0, 0), (8, 0, 16, 16))
    read = pixels(saved(image, tmp_path / f"ink.{suffix}"))
    assert np.abs(read[:, 1] - [255, 0, 0]).max() <= 8
    assert np.abs(read[:, 14] - [255, 255, 255]).max() <= 8


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tiff", "mpo", "avif"])
def test_of_an_animation_it_is_the_first_frame(tmp_path, suffix):
    """Red, then blue: red is read."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = tmp_path / f"two.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert np.abs(pixels(path) - [255, 0, 0]).max() <= 8


@pytest.mark.parametrize("size", [(1, 1), (1, 60000), (60000, 1)])
def test_pictures_of_any_shape(tmp_path, size):
    """One pixel, or one row of many, is a picture."""
    path = saved(Image.new("RGB", size, (9, 8, 7)), tmp_path / "thin.png")
    assert open_photo(path).size == size
    assert (pixels(path) == [9, 8, 7]).all()


def png_of(width: int, height: int) -> bytes:
    """The first bytes of a PNG that says how large it is."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    data = struct.pack(">I", len(head)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + data + struct.pack(">I", 10) + b"IDAT" + b"\0" * 14


@pytest.mark.parametrize("side", [7_100, 10_000, 40_000, 2**31 - 1])
def test_a_picture_of_too_many_pixels_is_refused_unread(tmp_path, side):
    """Whatever its header claims, an error and no warning names the file and the limit."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_of(side, side))
    with pytest.raises(InputError, match=r"bomb\.png is too large .*50,000,000 pixels"):
        open_photo(path)


def test_the_limit_holds_for_images_in_memory_and_is_sharp():
    """As many pixels as the limit are read, one row more is refused."""
    assert PIXEL_LIMIT == 50_000_000
    assert open_photo(Image.new("1", (10_000, 5_000))).size == (10_000, 5_000)
    with pytest.raises(InputError, match="10000 x 5001 pixels"):
        open_photo(Image.new("1", (10_000, 5_001)))


def test_a_camera_s_large_photograph_is_read_reduced(tmp_path):
    """61 megapixels, held upright: a quarter of them is decoded, and the size is the original's."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(Image.new("RGB", (9504, 6336), (200, 30, 30)), tmp_path / "61.jpg", exif=exif)
    photo, size = read_photo(path)
    assert size == (6336, 9504)
    assert photo.size == (3168, 4752)
    assert np.abs(np.asarray(photo)[::500, ::500].astype(int) - [200, 30, 30]).max() <= 8


def jpeg_of(width: int, height: int, **options) -> bytes:
    """A JPEG whose header says another size than it has."""
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG", **options)
    marker = b"\xff\xc2" if options else b"\xff\xc0"
    before, after = stream.getvalue().split(marker, 1)
    return before + marker + after[:3] + struct.pack(">HH", height, width) + after[7:]


@pytest.mark.parametrize(
    ("width", "height", "options"),
    [(12_000, 12_000, {"progressive": True}), (13_000, 12_000, {}), (65_000, 65_000, {})],
)
def test_what_cannot_be_reduced_enough_is_refused(tmp_path, width, height, options):
    """A progressive JPEG, of which the decoder keeps everything, and absurd sizes."""
    path = tmp_path / "large.jpg"
    path.write_bytes(jpeg_of(width, height, **options))
    with pytest.raises(InputError, match=r"large\.jpg is too large .*50,000,000 pixels"):
        open_photo(path)


def broken(folder: Path, fault: str) -> Path:
    """A file that is no picture."""
    path = folder / f"{fault}.jpg"
    if fault == "text":
        path.write_text("This is a letter and no photograph.\n")
    if fault == "empty":
        path.touch()
    if fault == "folder":
        path.mkdir()
    if fault == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        saved(Image.fromarray(noise), path)
        path.write_bytes(path.read_bytes()[:2000])
    if fault == "header":
        saved(Image.fromarray(COLOURS), path)
        path.write_bytes(path.read_bytes()[:20])
    if fault == "format":
        saved(Image.fromarray(COLOURS), path, format="PCX")
    return path


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("text", r"cannot be read as a picture \(unknown format\)"),
        ("empty", r"cannot be read as a picture \(unknown format\)"),
        ("truncated", "cannot be read as a picture .*truncated"),
        ("header", "cannot be read as a picture"),
        ("format", "cannot be read as a picture"),
        ("missing", "cannot be opened .*No such file"),
        ("folder", "cannot be opened .*directory"),
    ],
)
def test_a_broken_file_gives_one_error_that_names_it(tmp_path, fault, message):
    """Each fault gives an InputError with the file's name, whatever Pillow raises."""
    with pytest.raises(InputError, match=rf"{fault}\.jpg {message}") as caught:
        open_photo(broken(tmp_path, fault))
    assert "<_io" not in str(caught.value)


def test_a_picture_opened_by_the_caller_is_named_by_its_file(tmp_path):
    """An image that Pillow has opened and not yet read names the file when it is damaged."""
    with (
        Image.open(broken(tmp_path, "truncated")) as image,
        pytest.raises(InputError, match=r"truncated\.jpg cannot be read"),
    ):
        open_photo(image)


@pytest.mark.parametrize("item", [None, 3, b"bytes", np.zeros((4, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused_by_its_type(item):
    """The message has the type found and those wanted."""
    with pytest.raises(InputError, match=f"given as {type(item).__name__}"):
        open_photo(item)


def test_a_picture_without_pixels_is_refused():
    """A width of zero is an error."""
    with pytest.raises(InputError, match="no pixels"):
        open_photo(Image.new("RGB", (0, 5)))


def test_threads_may_read_at_once(tmp_path):
    """Pictures read in several threads are right, and warnings stay as they were."""
    paths = [saved(Image.new("RGB", (40, 40), (n, 0, 0)), tmp_path / f"{n}.png") for n in range(40)]
    read: dict[int, np.ndarray] = {}

    def work(start: int) -> None:
        for number in range(start, 40, 4):
            read[number] = pixels(paths[number])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((read[number] == [number, 0, 0]).all() for number in range(40))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL")
def test_damaged_bytes_give_a_picture_or_an_input_error(tmp_path, form):
    """300 files with changed, missing or doubled bytes: nothing but `InputError` is raised."""
    stream, chance = io.BytesIO(), random.Random(form)
    Image.fromarray(np.tile(COLOURS, (8, 8, 1))).save(stream, form)
    path = tmp_path / "damaged"
    messages = []
    for _ in range(300):
        content = bytearray(stream.getvalue())
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(content))
            content[place] = chance.randrange(256)
        if chance.random() < 0.3:
            del content[chance.randrange(1, len(content)) :]
        path.write_bytes(content)
        try:
            open_photo(path)
        except InputError as error:
            messages.append(str(error))
    assert len(messages) > 30
    reasons = r"damaged (cannot be read as a picture|is too large|has no pixels)"
    assert all(re.search(reasons, message) for message in messages)

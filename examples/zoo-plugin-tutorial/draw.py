"""Draws a data set of coloured shapes in SCAN's layout: python draw.py shapes."""

import sys
from itertools import permutations, product
from pathlib import Path

from PIL import Image, ImageDraw

COLOURS = ("red", "green", "blue", "yellow", "black", "white")
SHAPES = ("circle", "square", "bar")
SIZES = {"train": 66, "dev": 12, "test": 12}


def draw(shape, colour, ground):
    """A shape of one colour on another one."""
    image = Image.new("RGB", (224, 224), ground)
    pen = ImageDraw.Draw(image)
    if shape == "circle":
        pen.ellipse((32, 32, 192, 192), fill=colour)
    elif shape == "square":
        pen.rectangle((48, 48, 176, 176), fill=colour)
    else:
        pen.rectangle((0, 88, 224, 136), fill=colour)
    return image


def main(folder):
    """Pictures, two captions of each, and an id for each picture."""
    (folder / "images").mkdir(parents=True)
    kinds = list(product(SHAPES, permutations(COLOURS, 2)))
    kinds = [kinds[place * 37 % len(kinds)] for place in range(len(kinds))]  # no split is of one
    for split, size in SIZES.items():
        ids, captions = [], []
        for place, (shape, (colour, ground)) in enumerate(kinds[:size]):
            ids.append(f"{split}-{place}.png")
            draw(shape, colour, ground).save(folder / "images" / ids[-1])
            captions.append(f"a {colour} {shape} on a {ground} ground")
            captions.append(f"before {ground} there is a {shape} in {colour}")
        kinds = kinds[size:]
        (folder / f"{split}_ids.txt").write_text("\n".join(ids) + "\n")
        (folder / f"{split}_caps.txt").write_text("\n".join(captions) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

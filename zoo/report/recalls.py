"""The figures that every row of results has."""

RECALLS = ("r1", "r5", "r10")
WAYS = {"i2t": "texts for an image", "t2i": "images for a text"}
FIGURES = (*(f"{way}_{at}" for way in WAYS for at in RECALLS), "rsum")

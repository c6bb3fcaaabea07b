"""`zoo convert-features`: features in any form of the field to a feature store, once."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .extraction import Stored
from .outputs import check_writable
from .screen import progress, show, show_json


def convert_features(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC",
            help="A data set's folder with features, or features alone: SPLIT_ims.npy, a .tsv "
            "table, a folder with a file for each image, a store.",
        ),
    ],
    output: Annotated[Path, typer.Argument(metavar="DST", help="Folder of the feature store.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Which splits of a data set; repeatable. [all]")
    ] = None,
    dtype: Annotated[Stored, typer.Option(help="How features are stored.")] = Stored.fp16,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Convert features to a store: each image once, in shards with checksums, resumable.

    Example: zoo convert-features data/coco_precomp coco-features
    """
    from ..data.conversion import convert, open_sources

    check_writable(output, "DST", "folder")
    sources = open_sources(source, split or ())
    with progress() as advance:
        total = len({image for one in sources.values() for image in one.ids})
        done = convert(
            sources,
            output,
            dtype="float16" if dtype is Stored.fp16 else "float32",
            advance=lambda count: advance("images", count, total),
        )
    if as_json:
        show_json({**asdict(done), "folder": str(done.folder), "splits": list(sources)})
        return
    boxes = "with boxes" if done.has_boxes else "without boxes"
    show(
        f"{output}: {done.converted:,} images converted, {done.kept:,} there before. "
        f"{done.regions} x {done.dim} in {done.dtype} {boxes}, {done.bytes / 1e9:,.2f} GB"
    )

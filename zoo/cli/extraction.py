"""`zoo extract`: photographs to region features, once; `zoo merge-features`: parts to one store."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .matching import DEFAULT_MODEL, Device, Model
from .names import load_model
from .outputs import check_writable
from .pictures import in_order, list_photos, read_list
from .screen import note, progress, show, show_json

if TYPE_CHECKING:
    from ..interfaces import Extractor

SHOWN = 10  # reasons on the screen; the file has all of them


class Stored(StrEnum):
    """How a feature is stored."""

    fp16 = "fp16"
    fp32 = "fp32"


def extract(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the feature store.")],
    images: Annotated[
        list[Path] | None,
        typer.Argument(help="Photographs, or folders that have some in or below them."),
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help="A text file with the path of one a line."),
    ] = None,
    model: Model = DEFAULT_MODEL,
    extractor: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="In place of the model's: a registered extractor, or a transformers backbone or "
            "detector by its name on the Hub or its folder.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of --extractor; repeatable."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of a registered --extractor.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER/OF", help="Only this part of the photographs, as in 3/16; merged later."
        ),
    ] = None,
    dtype: Annotated[Stored, typer.Option(help="How features are stored.")] = Stored.fp16,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Photographs at once; more on a GPU.")
    ] = 16,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that read files; one a core, at most 8.")
    ] = None,
    shard_rows: Annotated[int, typer.Option(min=1, help="Photographs a shard.")] = 512,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at a file that cannot be read.")
    ] = False,
    device: Device = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Extract region features with an extractor, into a store that can be resumed.

    Files that cannot be read are left out, counted, and listed in the store's skipped.tsv.

    Example: zoo extract flickr8k/images -o flickr8k/features
    """
    from ..vision.extraction import extract as run

    check_writable(output, "--output", "folder")
    place_in_list = _part(part)
    photos = _photos(images or [], listed)
    if extractor is None and (settings or weights):
        raise InputError("--set and --weights are about an extractor. Name it with --extractor.")
    built, config = (
        _of_model(model, device)
        if extractor is None
        else (_built(extractor, settings or [], weights, device), None)
    )
    with progress() as advance:
        done = run(
            photos,
            output,
            built,
            config=config,
            batch_size=batch_size,
            workers=workers or min(os.cpu_count() or 1, 8),
            shard_rows=shard_rows,
            dtype="float16" if dtype is Stored.fp16 else "float32",
            part=place_in_list,
            advance=lambda count, total: advance("photographs", count, total),
            on_error="raise" if strict else "skip",
        )
    for reason in list(done.skipped.values())[:SHOWN]:
        note(f"skipped: {reason}")
    if done.skipped:
        note(f"{len(done.skipped):,} skipped in all: {output / 'skipped.tsv'} lists them.")
    if as_json:
        show_json({**vars(done), "folder": str(done.folder), "skipped": dict(done.skipped)})
        return
    show(
        f"{output}: {done.extracted} extracted, {done.kept} kept from before, "
        f"{len(done.skipped)} skipped"
    )


def merge_features(
    output: Annotated[Path, typer.Argument(help="Folder of the new store.")],
    parts: Annotated[list[Path], typer.Argument(help="The stores of all parts.")],
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Join the stores of all parts that `zoo extract --part` made, after checking every shard.

    Example: zoo merge-features features part-1 part-2 part-3
    """
    from ..data.merging import merge
    from ..data.store import Index

    check_writable(output, "OUTPUT", "folder")
    with progress() as advance:
        store = merge(parts, output, lambda done, total: advance("shards", done, total))
    skipped = dict(Index.read(output).skipped)
    if as_json:
        facts = {"images": len(store), "skipped": skipped, "fingerprint": store.fingerprint}
        show_json({"folder": str(output), **facts})
        return
    show(f"{output}: {len(store)} images of {len(parts)} parts, {len(skipped)} skipped")


def _photos(places: list[Path], listed: Path | None) -> list[Path]:
    if not places and listed is None:
        raise InputError(
            "There is nothing to extract. Name photographs or folders, or --list FILE."
        )
    return in_order([*list_photos(places), *(read_list(listed) if listed else [])])


def _part(written: str | None) -> tuple[int, int] | None:
    if written is None:
        return None
    numbers = re.fullmatch(r"(\d+)/(\d+)", written)
    if numbers is None:
        raise InputError(f"--part is {written!r}. Write it as in 3/16: the third of sixteen parts.")
    return int(numbers[1]), int(numbers[2])


def _of_model(model: str, device: str) -> tuple[Extractor, dict[str, Any] | None]:
    loaded = load_model(model, device)
    if loaded.extractor is None:
        raise InputError(
            f"{model} reads region features and has no extractor of its own. "
            f"Choose a model that has one: --model {DEFAULT_MODEL}, or an extractor: --extractor"
        )
    return loaded.extractor, loaded.config.extractor if loaded.config else None


def _built(name: str, settings: list[str], weights: Path | None, device: str) -> Extractor:
    """An extractor by its registered name, or else a transformers model by name or folder."""
    from ..components import build
    from ..device import usable_device
    from ..plugins.discovery import component_table
    from ..spelling import nearest
    from ..training.overrides import parse

    registered = component_table().names("extractor")
    if name not in registered and "/" not in name and not Path(name).is_dir():
        raise InputError(
            f"No extractor is called {name!r}. {nearest(name, registered)} "
            "A transformers model is named as ORGANISATION/NAME, or by its folder."
        )
    known = {"type": name} if name in registered else {"type": "transformers", "model": name}
    place = usable_device(device)
    extractor: Extractor = build("extractor", {**known, **parse(settings)})
    if weights is not None:
        extractor.load_initial(weights)
    elif not extractor.pretrained:
        raise InputError(
            f"The extractor {name!r} comes without weights. Give a file of them with --weights, "
            "or choose a model whose extractor is trained: --model NAME"
        )
    return extractor.to(place)

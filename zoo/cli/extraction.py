"""`zoo extract`: photographs to region features, once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .matching import DEFAULT_MODEL, Device, Model
from .names import load_model
from .outputs import check_writable
from .pictures import list_photos
from .screen import note, progress, show

if TYPE_CHECKING:
    from ..interfaces import Extractor


def extract(
    images: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the feature store.")],
    model: Model = DEFAULT_MODEL,
    batch_size: Annotated[int, typer.Option(min=1, help="Photographs at once.")] = 32,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be read.")
    ] = False,
    device: Device = "cpu",
) -> None:
    """Extract region features with a model's extractor, into a store that can be resumed.

    Example: zoo extract flickr8k/images -o flickr8k/features
    """
    from ..vision.extraction import extract as run

    check_writable(output, "--output", "folder")
    photos = list_photos(images)
    extractor, config = _extractor(model, device)
    with progress() as advance:
        done = run(
            photos,
            output,
            extractor,
            config=config,
            batch_size=batch_size,
            advance=lambda count: advance("photographs", count, len(photos)),
            on_error="skip" if skip_bad else "raise",
        )
    for reason in done.skipped.values():
        note(f"skipped: {reason}")
    show(
        f"{output}: {done.extracted} extracted, {done.kept} kept from before, "
        f"{len(done.skipped)} skipped"
    )


def _extractor(model: str, device: str) -> tuple[Extractor, dict[str, Any] | None]:
    from ..errors import InputError

    loaded = load_model(model, device)
    if loaded.extractor is None:
        raise InputError(
            f"{model} reads region features and has no extractor of its own. "
            f"Choose a model that has one: --model {DEFAULT_MODEL}"
        )
    return loaded.extractor, loaded.config.extractor if loaded.config else None

"""`zoo demo`: photographs and captions that find each other, and a figure that shows why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .matching import DEFAULT_MODEL, Device, Model
from .names import load_model
from .outputs import check_writable
from .pictures import list_photos
from .screen import note, show, show_json

if TYPE_CHECKING:
    from ..demo import Ranking

SENTENCES = 6  # of the captions, those that photographs are ranked for


def demo(
    photos: Annotated[
        Path | None,
        typer.Argument(metavar="[PHOTOS]", help="A folder of your own photographs."),
    ] = None,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A caption of your own; repeat for more.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Where to write the figure.")] = Path("zoo-demo.png"),
    model: Model = DEFAULT_MODEL,
    device: Device = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Rank captions for photographs and photographs for captions, offline, with a bundled model.

    Writes a figure that shows, for the clearest pair, which region answers which word.
    """
    from ..demo import CAPTIONS, PHOTOS, rank
    from ..files import write_atomically
    from ..report.figure import align, draw

    check_writable(output, "--output")
    loaded = load_model(model, device)
    ranking = rank(loaded, list_photos([photos or PHOTOS]), text or CAPTIONS)
    photo, caption = ranking.clearest_pair()
    figure = draw(align(loaded, ranking.photos[photo], ranking.captions[caption]))
    write_atomically(output, figure)
    if as_json:
        show_json({"model": model, **_plain(ranking), "figure": str(output)})
        return
    _show(ranking)
    note(f"Figure: {output} ({ranking.photos[photo].name}, {ranking.captions[caption]!r})")


def _show(ranking: Ranking) -> None:
    from ..report.tables import ranking_table

    captions = [(photo.name, ranking.captions_of(row)) for row, photo in enumerate(ranking.photos)]
    photos = [
        (caption, [(Path(path).name, score) for path, score in ranking.photos_of(row, 2)])
        for row, caption in enumerate(ranking.captions[:SENTENCES])
    ]
    show(
        ranking_table("The best captions of each photograph", "photograph", "caption", captions),
        ranking_table("The best photographs of each sentence", "sentence", "photograph", photos),
    )


def _plain(ranking: Ranking) -> dict[str, Any]:
    return {
        "photos": [str(photo) for photo in ranking.photos],
        "captions": list(ranking.captions),
        "scores": ranking.scores.tolist(),
    }

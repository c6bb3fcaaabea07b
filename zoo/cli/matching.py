"""`zoo score`: photographs against sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .names import complete_model, load_model
from .screen import show, show_json

Model = Annotated[
    str,
    typer.Option(
        "--model",
        autocompletion=complete_model,
        help="A registered name, a model folder, or local-dir:PATH.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, ...")]
DEFAULT_MODEL = "chan-f8k"


def score(
    images: Annotated[list[Path], typer.Argument(help="Photographs.")],
    text: Annotated[list[str], typer.Option("--text", help="A sentence; repeat for more.")],
    model: Model = DEFAULT_MODEL,
    device: Device = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Score photographs with sentences, best sentence first; scores rank, they are no percentages.

    Example: zoo score beach.jpg --text "a dog runs on the beach" --text "a street at night"
    """
    from ..demo import rank
    from ..report.tables import ranking_table

    ranking = rank(load_model(model, device), images, text)
    if as_json:
        pairs = {"images": list(map(str, images)), "texts": text, "scores": ranking.scores.tolist()}
        show_json({"model": model, **pairs})
        return
    found = [(str(image), ranking.captions_of(row, len(text))) for row, image in enumerate(images)]
    show(ranking_table("", "image", "text", found))

"""What commands that work on scores are given: folders of scores, or models that make them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .names import complete_model, model_folder
from .screen import progress

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..scores import SavedScores


class Ties(StrEnum):
    """The tie policies of `zoo.metrics`, where the command line can read them without torch."""

    AGAINST = "against"
    LEGACY = "legacy"


class Precision(StrEnum):
    """The precisions of `zoo.evaluation.split_scores`, likewise."""

    EXACT = "exact"
    FLOAT32 = "float32"


TEST = "test"
"""The split that is scored where none is asked for."""

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL|SCORES...",
        autocompletion=complete_model,
        help="Folders of `zoo evaluate --save-scores`, or models, which need --data.",
    ),
]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the data set.")]
Split = Annotated[
    str | None,
    typer.Option("--split", show_default="test", help="Which split: test, dev, ..."),
]
Features = Annotated[
    Path | None,
    typer.Option("--features", help="A store that `zoo extract` made, in place of pictures."),
]
ProtocolName = Annotated[
    str,
    typer.Option("--protocol", help="auto (all there is), f8k, f30k-1k, coco-5k or coco-1k."),
]
Folds = Annotated[
    int | None,
    typer.Option("--folds", min=1, help="Consecutive parts of the images; metrics are means."),
]


@contextmanager
def scored(
    places: Sequence[str], data: Path | None, split: str | None, features: Path | None, device: str
) -> Iterator[list[SavedScores]]:
    """The scores of each place, while the block runs; those of models are made and thrown away.

    Raises `InputError` for a model without `data` to score, for data that no place needs, and for
    scores of another split than the one that is asked for, if one is.
    """
    from ..data.dataset import open_dataset
    from ..scores import SCORES, SavedScores

    ready = [(Path(place) / SCORES).is_file() for place in places]
    if data is None and not all(ready):
        model = next(place for place, there in zip(places, ready, strict=True) if not there)
        raise InputError(
            f"{model} is no folder of scores, and there is no data to score it on. Give --data, or "
            "a folder that was made by: zoo evaluate MODEL --data PATH --save-scores FOLDER"
        )
    if all(ready) and (data is not None or features is not None):
        raise InputError(
            "All that was given are folders of scores, which need no data. Leave out --data and "
            "--features."
        )
    dataset = None if data is None else open_dataset(data, split or TEST, features=features)
    with TemporaryDirectory(prefix="zoo-scores-") as folder:
        found = []
        for number, (place, there) in enumerate(zip(places, ready, strict=True)):
            if not there and dataset is not None:
                _score(place, dataset, Path(folder) / str(number), device)
            found.append(SavedScores.open(place if there else Path(folder) / str(number)))
            check_split(found[-1], split)
        yield found


def check_split(saved: SavedScores, split: str | None) -> None:
    """Raise `InputError` where a split is asked for and the scores are of another one."""
    if split not in (None, saved.index.split):
        raise InputError(
            f"{saved.folder} holds scores of the split {saved.index.split}, and --split asks for "
            f"{split}. Leave out --split, or score that split with --save-scores."
        )


def names_of(places: Sequence[str]) -> list[str]:
    """How tables call the places: by the last part of each path, if that tells them apart.

    >>> names_of(["scores/chan", "scores/shan"]), names_of(["a/1", "b/1"])
    (['chan', 'shan'], ['a/1', 'b/1'])
    """
    short = [Path(place).name or place for place in places]
    return short if len(set(short)) == len(short) else list(places)


def _score(name: str, dataset: Dataset, folder: Path, device: str) -> None:
    from ..evaluation.measuring import evaluate
    from ..files import sha256
    from ..loading.weights import load_folder
    from ..model_folders.saving import WEIGHTS
    from ..report.results import training_facts

    place = model_folder(name)
    with progress() as advance:
        evaluate(
            load_folder(place, device=device),
            dataset,
            save_scores=folder,
            model_sha256=sha256(place / WEIGHTS),
            facts=training_facts(place),
            advance=advance,
        )

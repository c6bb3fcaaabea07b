"""`zoo report`: scores on disk as one HTML page, with what goes wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .outputs import check_writable
from .scored import Ties
from .screen import note

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..evaluation.measuring import Evaluation
    from ..protocols import Protocol

FAILURES = 12  # of a kind, each way


def report(
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="A folder that --save-scores made.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.html", help="The page.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the data set, for captions and pictures; ids without it."),
    ] = None,
    protocol: Annotated[
        str, typer.Option(help="auto (all there is), f8k, f30k-1k, coco-5k or coco-1k.")
    ] = "auto",
    ties: Annotated[
        Ties, typer.Option(help="Whether ties count against the match, or as in legacy programs.")
    ] = Ties.AGAINST,
    failures: Annotated[
        int, typer.Option(min=0, help="Worst queries to show, and near misses, each way.")
    ] = FAILURES,
) -> None:
    """Show figures, ranks and failures in one HTML file that needs no network.

    Example: zoo report scores/chan-f8k -o out.html --data flickr8k
    """
    from ..data.dataset import open_dataset
    from ..evaluation.measuring import evaluate_scores
    from ..protocols import choose_protocol
    from ..scores import SavedScores

    check_writable(out, "--out")
    chosen, saved = choose_protocol(protocol), SavedScores.open(scores)
    dataset = None if data is None else open_dataset(data, saved.index.split)
    evaluation = evaluate_scores(saved, protocol=chosen, ties=ties.value)
    write_report(out, scores, evaluation, chosen, dataset, failures)


def write_report(
    path: Path,
    scores: Path,
    evaluation: Evaluation,
    protocol: Protocol,
    dataset: Dataset | None = None,
    failures: int = FAILURES,
) -> None:
    """Write the page of a folder of scores; captions and pictures are those of the data set."""
    from ..files import write_atomically
    from ..report.page import report_page
    from ..scores import SavedScores

    page = report_page(
        SavedScores.open(scores),
        evaluation,
        protocol=protocol,
        dataset=dataset,
        failures=failures,
    ).encode()
    write_atomically(path, page)
    note(f"The report is in {path} ({len(page) / 1e6:.1f} MB).")


@contextmanager
def kept_scores(wanted: Path | None, report: Path | None) -> Iterator[Path | None]:
    """Where scores go: where they are wanted, or for a report alone into a folder beside it.

    That folder is deleted; scores that nobody wants stay in memory, and None says so.
    """
    if wanted is not None or report is None:
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix=".scores-", dir=report.absolute().parent) as folder:
        yield Path(folder)

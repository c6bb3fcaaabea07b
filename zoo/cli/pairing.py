"""`zoo compare`: how sure figures are, and whether models differ by more than chance."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .matching import Device
from .scored import Data, Features, Folds, Places, ProtocolName, Split, Ties, names_of, scored
from .screen import show, show_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..evaluation.statistics import Difference, Interval


def compare(
    places: Places,
    data: Data = None,
    split: Split = None,
    features: Features = None,
    samples: Annotated[int, typer.Option(min=1, help="How often images are drawn.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawing.")] = 0,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    protocol: ProtocolName = "auto",
    folds: Folds = None,
    ties: Annotated[Ties, typer.Option(help="As in zoo evaluate.")] = Ties.AGAINST,
    device: Device = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Say how sure the figures of models are, and how far each is ahead of the first.

    Example: zoo compare scores/mfa-f8k scores/mssan-f8k
    """
    from ..evaluation.ensembles import check_same_data
    from ..evaluation.statistics import intervals, paired_test
    from ..protocols import choose_protocol, measure

    chosen = choose_protocol(protocol, folds=folds)
    with scored(places, data, split, features, device) as found:
        check_same_data(found)
        index = found[0].index
        measured = [
            measure(one.scores, one.pairs, chosen, ties.value, dataset=index.dataset)
            for one in found
        ]
    first = measured[0]
    alone = [intervals(one.ranks, samples=samples, seed=seed, level=level) for one in measured]
    against = [
        paired_test(first.ranks, one.ranks, samples=samples, seed=seed, level=level)
        for one in measured[1:]
    ]
    facts = {
        "dataset": index.dataset,
        "split": index.split,
        "protocol": first.words,
        "protocol_name": first.name,
        "ties": ties.value,
        "samples": samples,
        "seed": seed,
        "level": level,
    }
    present = _show_json if as_json else _show
    present(facts, names_of(places), alone, against)


def _show(
    facts: Mapping[str, Any],
    names: Sequence[str],
    alone: Sequence[Mapping[str, Interval]],
    against: Sequence[Mapping[str, Difference]],
) -> None:
    from ..report.trust import difference_table, interval_table

    subject = f"{facts['dataset']} {facts['split']}, {facts['protocol']}"
    drawn = f"{100 * facts['level']:.4g} % intervals over {facts['samples']:,} draws of the images"
    show(interval_table(f"{subject}; {drawn}", names, alone))
    for name, differences in zip(names[1:], against, strict=True):
        title = f"How far {name} is ahead of {names[0]}"
        show(difference_table(title, (names[0], name), differences))


def _show_json(
    facts: Mapping[str, Any],
    names: Sequence[str],
    alone: Sequence[Mapping[str, Interval]],
    against: Sequence[Mapping[str, Difference]],
) -> None:
    models = [
        {"name": name, "figures": {figure: asdict(one) for figure, one in found.items()}}
        for name, found in zip(names, alone, strict=True)
    ]
    differences = [
        {
            "first": names[0],
            "second": name,
            "figures": {figure: asdict(one) for figure, one in found.items()},
        }
        for name, found in zip(names[1:], against, strict=True)
    ]
    show_json({**facts, "models": models, "differences": differences})

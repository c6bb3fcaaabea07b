"""`zoo bench`: how fast the zoo is on this machine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .outputs import check_writable, write_json
from .screen import progress, show

if TYPE_CHECKING:
    from ..report.tables import Table


def bench(
    context: typer.Context,
    case: Annotated[
        str | None,
        typer.Argument(metavar="CASE", help="What to measure; without, they are listed."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A size; repeatable. The list has all."),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(metavar="NAME=VALUES", help="At several sizes, as in captions=320,640,1280."),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Captions, one a line, whose lengths are used."),
    ] = None,
    again: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="A report of --json in place of measuring."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw it; several --from side by side.")
    ] = None,
) -> None:
    """Measure speed in paired rounds, beside the algorithm that was published.

    Times are of the processor, so that others on the machine change them little; ratios are of one
    round, and their median is told with the least and the greatest.

    Example: zoo bench scoring --sweep captions=640,1280,2560 --figure scoring.png
    """
    for path, option in ((json_file, "--json"), (figure, "--figure")):
        if path is not None:
            check_writable(path, option)
    if case is None and not again:
        show(_list())
        return
    if case is not None and again:
        raise InputError("Give a CASE to measure, or reports with --from, and not both.")
    reports = _read(again) if again else [_measured(context, case or "", settings, sweep, captions)]
    if json_file is not None:
        write_json(json_file, reports[0] if len(reports) == 1 else reports)
    if figure is not None:
        from ..bench.figure import draw
        from ..files import write_atomically

        write_atomically(figure, draw(reports))
    for report in reports:  # last: whoever reads it may stop reading
        show(*_parts(report))


def _measured(
    context: typer.Context,
    name: str,
    settings: list[str] | None,
    sweep: str | None,
    captions: Path | None,
) -> dict[str, Any]:
    from dataclasses import replace

    from ..bench.cases import case, measured
    from ..bench.setting import changed
    from ..bench.setting import sweep as swept

    chosen = case(name)
    setting = changed(chosen.setting, settings or [], chosen.reads)
    if captions is not None:
        if "lengths" not in chosen.reads:
            raise InputError(f"zoo bench {name} reads no captions. Leave --captions out.")
        setting = replace(setting, lengths=captions)
    values = None if sweep is None else swept(sweep, chosen.reads)
    with progress() as advance:
        total = 1 if values is None else len(values[1])
        report = measured(name, setting, values, lambda done: advance(name, done, total))
    return report | {"command": shlex.join(["zoo", *context.obj.arguments])}


def _read(places: list[Path]) -> list[dict[str, Any]]:
    import json

    from ..bench.cases import SCHEMA

    found = []
    for place in places:
        try:
            report = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{place} is no report ({error}). Make one: zoo bench CASE --json FILE"
            ) from error
        if not isinstance(report, dict) or report.get("schema_version") != SCHEMA:
            raise InputError(f"{place} is no report of zoo bench. Make one with --json FILE.")
        found.append(report)
    return found


def _list() -> Table:
    from ..bench.cases import CASES
    from ..report.tables import Table

    rows = [
        (name, one.what, " ".join(f"{key}={value}" for key, value in _shown(one).items()))
        for name, one in CASES.items()
    ]
    return Table("", ("case", "measures", "--set, --sweep"), rows)


def _shown(case: Any) -> dict[str, Any]:
    values: dict[str, Any] = case.setting.to_json(case.reads)
    return values


def _parts(report: dict[str, Any]) -> list[Table | str]:
    from ..bench.machine import machine_words
    from ..report.tables import Table

    rows = report["rows"]
    extra = list(dict.fromkeys(name for row in rows for name in row["told"]))
    headers = [*([report["sweep"]] if report["sweep"] else []), "variant", "seconds", "wall"]
    headers += ["times baseline", "range", *extra]
    lines = [
        (
            *([f"{row['at']:,}"] if report["sweep"] else []),
            row["variant"],
            f"{row['seconds']:.3f}",
            f"{row['wall']:.3f}",
            *(("", "") if row["ratio"] is None else _ratio(row)),
            *(str(row["told"].get(name, "")) for name in extra),
        )
        for row in rows
    ]
    sizes = ", ".join(f"{name} {value}" for name, value in report["setting"].items())
    facts = "; ".join(f"{name}: {value}" for name, value in report["facts"].items())
    lengths = [f"caption lengths: {report['lengths']}"] if report["lengths"] else []
    return [
        Table(
            f"zoo bench {report['case']}: {report['what']}",
            tuple(headers),
            lines,
            numbers=("seconds", "wall", "times baseline", "range"),
        ),
        f"{sizes}. seconds are of the processor, medians over the rounds.",
        *([facts] if facts else lengths),
        f"baseline: {report['baseline']}",
        f"on: {machine_words(report['machine'])}; {report['date']}, {report['code']}",
    ]


def _ratio(row: dict[str, Any]) -> tuple[str, str]:
    return f"{row['ratio']:.2f}", f"{row['low']:.2f}-{row['high']:.2f}"

"""The application: options that stand before the command, and the commands in their order."""

from __future__ import annotations

from typing import Annotated

import typer

from ..version import __version__
from . import (
    ablating,
    benching,
    catalogue,
    comparing,
    conversion,
    demonstration,
    diagnosis,
    ensembling,
    extending,
    extraction,
    importing,
    matching,
    measuring,
    naming,
    pairing,
    plugin_kit,
    pulling,
    pushing,
    reporting,
    running,
    training,
)

app = typer.Typer(
    name="zoo",
    help="Image-text matching models: load, score, train and evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"zoo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error. Also: ZOO_DEBUG=1.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Image-text matching models: load, score, train and evaluate."""
    del version
    context.obj.debug = context.obj.debug or debug


app.command("demo")(demonstration.demo)
app.command("list")(catalogue.list_models)
app.command("info")(catalogue.info)
app.command("register")(naming.register)
app.command("unregister")(naming.unregister)
app.command("join")(naming.join)
app.command("plugins")(catalogue.plugins)
app.add_typer(plugin_kit.plugin, name="plugin")
app.command("pull")(pulling.pull)
app.command("push")(pushing.push)
app.add_typer(pulling.cache, name="cache")
app.command("import")(importing.import_model)
app.command("score")(matching.score)
app.command("doctor")(diagnosis.doctor)
app.command("extract")(extraction.extract)
app.command("merge-features")(extraction.merge_features)
app.command("convert-features")(conversion.convert_features)
app.command("train", cls=training.TrainCommand)(training.train)
app.command("runs")(running.runs)
app.command("ablate")(ablating.ablate)
app.command("evaluate")(measuring.evaluate)
app.command("compare")(pairing.compare)
app.command("ensemble")(ensembling.ensemble)
app.command("extended")(extending.extended)
app.command("report")(reporting.report)
app.command("results")(comparing.results)
app.command("bench")(benching.bench)

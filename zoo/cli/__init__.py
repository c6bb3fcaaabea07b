"""The command line: one file for each group of commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command of `zoo` and return its exit status.

    0 if it succeeded, 1 after an error, 2 for wrong usage, 130 after Ctrl-C. `arguments` are those
    of the process unless they are given.
    """
    from typer.main import get_command

    from .app import app
    from .failures import Settings, drop_output, report

    settings = Settings(sys.argv[1:] if arguments is None else arguments)
    try:
        get_command(app).main(args=settings.arguments, prog_name="zoo", obj=settings)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:  # noqa: BLE001 - told to the user, with the traceback on request
        status = report(error, settings)
    else:
        status = 0
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
    return status

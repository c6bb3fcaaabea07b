"""A job of SLURM that is asked to stop before it is done: it goes back into the queue."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable

from ..errors import InputError

SECONDS = 60
"""How long SLURM may take to answer."""
WHEN = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""The signals by which a scheduler asks; not Ctrl-C, by which a person does."""


def check_requeue() -> None:
    """Raise `InputError`, before anything is trained, where a job could not be queued again."""
    missing = [
        what
        for what, there in (
            ("the variable SLURM_JOB_ID is not set", os.environ.get("SLURM_JOB_ID")),
            ("there is no command scontrol", shutil.which("scontrol")),
        )
        if not there
    ]
    if missing:
        raise InputError(
            f"--requeue asks SLURM to queue this job again, and {' and '.join(missing)}. "
            "Leave it out, or start the command in a job of SLURM (sbatch --requeue)."
        )


def requeue(say: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Queue this job again; where SLURM refuses, the reason is told and the checkpoint stays."""
    job = os.environ["SLURM_JOB_ID"]
    try:
        subprocess.run(
            ["scontrol", "requeue", job],
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = (getattr(error, "stderr", None) or str(error)).strip()
        warn(
            f"The job {job} could not be queued again ({why}). Submit it again with --resume: it "
            "goes on from the checkpoint that was just saved."
        )
    else:
        say(f"job {job} is queued again")

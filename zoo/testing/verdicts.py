"""What a check finds: a case is one check of one subject, a fault says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from ..errors import ZooError


class Fault(Exception):  # noqa: N818 - a finding on its way into a verdict
    """What breaks the contract: what was found and what is wanted; what to do."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(f"{found} {remedy}")


class NotApplicable(Exception):  # noqa: N818 - likewise
    """Why there is nothing to check."""


@dataclass(frozen=True)
class Verdict:
    """How a case ended, and for a failed or skipped one, why."""

    subject: str
    check: str
    state: Literal["passed", "failed", "skipped"]
    words: str = ""


@dataclass(frozen=True)
class Case:
    """One check of one subject, such as padding of scan-f30k."""

    subject: str
    check: str
    run: Callable[[], str | None]
    """Raises what is wrong; may give a word of advice about what passes."""

    def verdict(self) -> Verdict:
        """The outcome. Random numbers around it go on as if nothing had been checked."""
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                advice = self.run()
        except NotApplicable as reason:
            return Verdict(self.subject, self.check, "skipped", str(reason))
        except (Fault, ZooError) as fault:
            return Verdict(self.subject, self.check, "failed", str(fault))
        except Exception as error:  # noqa: BLE001 - a stranger's code may raise anything
            return Verdict(self.subject, self.check, "failed", _crash(error))
        return Verdict(self.subject, self.check, "passed", advice or "")


def _crash(error: Exception) -> str:
    said = (str(error).strip().splitlines() or ["no message"])[0]
    step, where = error.__traceback__, ""
    while step is not None:  # the innermost place that is not in the zoo or in torch
        file = step.tb_frame.f_code.co_filename
        if not any(f"/{room}/" in file for room in ("torch", "zoo", "importlib")):
            where = f" at {file}:{step.tb_lineno}"
        step = step.tb_next
    remedy = "Mend that; where an input cannot be taken, raise an InputError that says why not."
    if "dtype" in said:
        remedy = (
            "Weights may be stored in half precision: multiply in float32 (zoo.ops.linear_in_full, "
            "zoo.ops.in_full)."
        )
    return f"It raised {type(error).__name__}{where}: {said.rstrip('.')}. {remedy}"

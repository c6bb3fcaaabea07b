"""What the Hub's refusals mean to the user, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import WeightsError

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another try may not meet."""


class HubError(WeightsError):
    """The Hub could not be reached, or refused what was asked of it.

    status: the HTTP status that it answered with, if it answered; passing: whether it is worth
    another try; wait: seconds that it asks to wait before
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        passing: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.passing, self.wait = status, passing, wait


class WrongLengthError(HubError):
    """The Hub has a file of another length than it should have; `fault` says of which."""

    def __init__(self, name: str, repo: str, fault: str) -> None:
        super().__init__(
            f"The Hub's {name} of {repo} {fault}. Nothing of it is used: ask those who publish it."
        )
        self.fault = fault


@dataclass(frozen=True)
class Asked:
    """What was asked: of which repository, at which Hub, with a token or without.

    what: the file, revision or deed in it, as an error names it
    """

    repo: str
    hub: str
    has_token: bool
    what: str

    def refused(self, status: int, code: str | None, wait: float | None) -> HubError:
        """The error for an answer that is a refusal; `code` is the Hub's own word for it."""
        told = self._not_found(code) if status == 404 else self._said(status, wait)
        return HubError(told, status=status, passing=status in PASSING, wait=wait)

    def unreachable(self, reason: str, *, passing: bool = True) -> HubError:
        """The error for no answer, or one that broke off."""
        return HubError(
            f"The Hub at {self.hub} cannot be reached for {self.what} of {self.repo} ({reason}). "
            "Check the network, HF_ENDPOINT and ZOO_HUB_ENDPOINT, and try again: what has come "
            "is kept. Models that were fetched before load with offline=True.",
            passing=passing,
        )

    def _not_found(self, code: str | None) -> str:
        if code == "RevisionNotFound":
            return (
                f"{self.repo} has no {self.what} (404). "
                f"Its commits and tags are listed at {self.hub}/{self.repo}/commits/main."
            )
        if code == "EntryNotFound":
            return (
                f"{self.repo} does not have {self.what} (404). "
                f"Its files are listed at {self.hub}/{self.repo}/tree/main."
            )
        log_in = "" if self.has_token else ", or log in to an account that sees it (hf auth login)"
        return (
            f"There is no repository {self.repo} at {self.hub} (404), or it is private. "
            f"Check the name{log_in}."
        )

    def _said(self, status: int, wait: float | None) -> str:
        page = f"{self.hub}/{self.repo}"
        if status == 401 and self.has_token:
            return (
                f"The Hub does not accept your token for {self.repo} (401): it expired, was "
                "withdrawn, or is another Hub's. Log in again (hf auth login), or for a public "
                "model take the token away (unset HF_TOKEN, or hf auth logout)."
            )
        if status == 401:
            return (
                f"The Hub lets nobody at {self.what} of {self.repo} without a token (401): the "
                "repository is private, or there is none of that name. Check the name, or log in: "
                "hf auth login."
            )
        if status == 403:
            who = "Your token" if self.has_token else "Who has no token"
            return (
                f"{who} may not have {self.what} of {self.repo} (403). Ask for access at "
                f"{page}, or log in with a token that has it: hf auth login."
            )
        if status == 409:
            return f"{self.repo} has {self.what} already (409). Look at {page}, or choose another."
        if status == 412:
            return (
                f"{self.repo} got another commit meanwhile (412), and nothing of yours was "
                f"committed. Look at what changed at {page}/commits/main, and push again."
            )
        if status == 429:
            rest = "later" if wait is None else f"in {wait:.0f} s"
            more = "" if self.has_token else "; with a token more is allowed (hf auth login)"
            return (
                f"The Hub has had too many requests from here (429). Try again {rest}{more}: "
                "what has come is kept."
            )
        if status >= 500:
            return (
                f"The Hub at {self.hub} is out of order ({status}) for {self.what} of {self.repo}. "
                "Try again later: what has come is kept. Models that were fetched before load "
                "with offline=True."
            )
        return (
            f"The Hub refused {self.what} of {self.repo} ({status}). "
            f"Look at {page}, and check ZOO_HUB_ENDPOINT and HF_ENDPOINT."
        )

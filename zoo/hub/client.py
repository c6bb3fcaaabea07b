"""The Hugging Face Hub: what a repository holds, its files, and one commit to it.

The client's own download checks no content and begins anew when it was interrupted, so only its
session is used for that. Nothing here judges what came: `zoo.hub.snapshots` does.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit

from ..bars import Advance
from ..errors import InputError
from ..files import Pin
from ..version import __version__
from .refusals import Asked, HubError
from .transfer import TRICKLE, size_of, take_in

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")
SILENCE = 30.0  # seconds without a byte, after which the Hub is given up
STALL = 10.0  # seconds without a byte, after which a download is asked for once more
WAITS = (0.5, 1.0, 2.0, 4.0)  # seconds before each further try
NO_XET = re.compile(r"404 .*xet-write-token")  # how the client tells that a Hub has no Xet store
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """The files of a repository at a commit, and what each of them must be."""

    repo: str
    commit: str
    files: Mapping[str, Pin]


def endpoint() -> str:
    """The address of the Hub: ZOO_HUB_ENDPOINT, or HF_ENDPOINT, or the public one."""
    given = os.environ.get("ZOO_HUB_ENDPOINT") or os.environ.get("HF_ENDPOINT")
    return (given or "https://huggingface.co").rstrip("/")


def is_offline(offline: bool | None = None) -> bool:
    """What `offline` says, and if it says nothing, whether HF_HUB_OFFLINE is set."""
    if offline is not None:
        return offline
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def page(repo: str) -> str:
    """Where people see a repository. A user and password in the Hub's address are left out."""
    return f"{_shown()}/{repo}"


def look_up(repo: str, revision: str = "main") -> Snapshot:
    """The commit of a branch, a tag or a commit's name, and the files at its root.

    Raises `HubError`.
    """
    asked = _asked(repo, f"revision {revision}")
    try:
        told = _patiently(
            asked, lambda seconds: _client().model_info(repo, revision=revision, timeout=seconds)
        )
        commit = str(told.sha)
        if not COMMIT.fullmatch(commit):
            raise ValueError(commit)
        # Mirrors describe a repository without its files' sizes and digests, but pass on the tree.
        tree = _patiently(asked, lambda seconds: _tree(asked, commit, seconds))
        files = {one["path"]: _pin(one) for one in tree if one["type"] == "file"}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HubError(
            f"{asked.hub} does not describe {repo} as a Hub does. Check ZOO_HUB_ENDPOINT and "
            "HF_ENDPOINT, and that no page of your network stands in between."
        ) from error
    return Snapshot(repo, commit, files)


def download(snapshot: Snapshot, name: str, part: Path, advance: Advance = lambda *_: None) -> None:
    """Bring what `part` lacks of a file, from where it ends, and no byte more than there should be.

    The caller checks the whole. Raises `HubError` when the Hub refuses, or no byte came for 30 s;
    `WrongLengthError` when its file has another length; `OSError` when `part` cannot be written.
    """
    wanted = snapshot.files[name]
    if size_of(part) > wanted.size:
        part.unlink()
    advance(name, size_of(part), wanted.size)

    def ask(seconds: float) -> None:
        if size_of(part) < wanted.size or not part.exists():
            _continue(asked, snapshot, name, part, min(seconds, STALL), advance)

    asked = _asked(snapshot.repo, name)
    _patiently(asked, ask, lambda: size_of(part))


def make_repository(repo: str, *, private: bool) -> None:
    """Make a repository unless it is there. Raises `HubError`."""
    with _told(_asked(repo, "the making")):
        _client().create_repo(repo, private=private, exist_ok=True)


def is_private(repo: str) -> bool:
    """Whether only some can see a repository. Raises `HubError`."""
    asked = _asked(repo, "the description")
    return bool(_patiently(asked, lambda wait: _client().model_info(repo, timeout=wait)).private)


def commit(
    repo: str, files: Mapping[str, bytes | Path], message: str, *, parent: str | None = None
) -> str:
    """Put files into one commit on the main branch: all of them or none. The commit's name.

    Raises `HubError`, with status 412 when `parent` is no longer the newest commit.
    """
    asked = _asked(repo, "a new commit")
    with _told(asked), _upload_told(asked), ExitStack() as opened:
        try:
            return _send(repo, files, message, parent)
        except ConnectionError as error:
            if not NO_XET.search(str(error)):
                raise
        # What is open already, the client sends by the older way (LFS).
        streams = {name: opened.enter_context(_open(data)) for name, data in files.items()}
        return _send(repo, streams, message, parent)


def tag(repo: str, commit: str, name: str) -> None:
    """Name a commit. Raises `HubError`, with status 409 when the tag is there already."""
    with _told(_asked(repo, f"tag {name}")):
        _client().create_tag(repo, tag=name, revision=commit)


def _client() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(
        endpoint(), token=_token() or False, library_name="itm-zoo", library_version=__version__
    )


def _send(repo: str, files: Mapping[str, Any], message: str, parent: str | None) -> str:
    from huggingface_hub import CommitOperationAdd

    added = [CommitOperationAdd(name, data) for name, data in files.items()]
    made = _client().create_commit(repo, added, commit_message=message, parent_commit=parent)
    return str(made.oid)


def _open(data: bytes | Path) -> BinaryIO:
    return io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")


def _headers() -> dict[str, str]:
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers: dict[str, str] = build_hf_headers(library_name="itm-zoo", library_version=__version__)
    return headers


def _token() -> str | None:
    """The user's token. One that no request can carry is refused here, where nobody repeats it."""
    token = _headers().get("authorization", "").removeprefix("Bearer ")
    if not re.fullmatch(r"[!-~]*", token):
        raise InputError(
            "Your token for the Hub has blanks, line breaks or other marks that no token has. "
            "Set HF_TOKEN anew, or log in again: hf auth login."
        )
    return token or None


def _asked(repo: str, what: str) -> Asked:
    return Asked(repo, _shown(), _token() is not None, what)


def _shown() -> str:
    address = urlsplit(endpoint())
    return f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path}"


def _tree(asked: Asked, commit: str, seconds: float) -> list[dict[str, Any]]:
    from huggingface_hub import get_session

    url = f"{endpoint()}/api/models/{asked.repo}/tree/{commit}"
    response = get_session().get(url, headers=_headers(), timeout=seconds)
    if response.status_code >= 400:
        raise _refused(asked, response)
    return list(response.json())


def _pin(entry: Mapping[str, Any]) -> Pin:
    digest = entry["lfs"]["oid"] if entry.get("lfs") else entry["oid"]
    return Pin(size=int(entry["size"]), digest=str(digest))


def _patiently(
    asked: Asked, ask: Callable[[float], T], progress: Callable[[], int] = lambda: 0
) -> T:
    """Ask again after passing failures, for as long as something comes now and then."""
    waits, known, until = iter(WAITS), progress(), time.monotonic() + SILENCE
    while True:
        try:
            with _told(asked):
                return ask(max(until - time.monotonic(), 0.1))
        except HubError as error:
            if progress() >= known + TRICKLE:
                waits, known, until = iter(WAITS), progress(), time.monotonic() + SILENCE - STALL
            wait = max(next(waits, SILENCE), error.wait or 0.0)
            if not error.passing or time.monotonic() + wait > until:
                raise
            time.sleep(wait)


@contextmanager
def _told(asked: Asked) -> Iterator[None]:
    """The client's errors in our words. Theirs may repeat signed addresses, so ours do not."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HfHubHTTPError,
        HTTPError,  # httpx's or httpx2's, as the client has it
        OfflineModeIsEnabled,
    )

    try:
        yield
    except HfHubHTTPError as error:
        raise _refused(asked, error.response) from error
    except OfflineModeIsEnabled as error:
        raise HubError(
            f"HF_HUB_OFFLINE was set when the Hub's client was loaded, so {asked.repo} cannot be "
            "fetched. Unset it and start again."
        ) from error
    except HTTPError as error:
        kinds = {kind.__name__ for kind in type(error).__mro__}
        reason = "it is silent" if "TimeoutException" in kinds else str(error)
        raise asked.unreachable(reason, passing="TooManyRedirects" not in kinds) from error


@contextmanager
def _upload_told(asked: Asked) -> Iterator[None]:
    """Failed uploads, which the client tells in several ways, some with a cause that says why."""
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        yield
    except HTTPError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error.__cause__, HTTPError) and not isinstance(error, ValueError):
            raise error.__cause__ from error
        reason = re.sub(r"\?\S*", "", str(error)).replace("\n", " ")  # what follows ? signs
        raise HubError(
            f"The upload to {asked.repo} failed, and nothing was committed ({reason}). Try again; "
            "where its Xet store does not answer, set HF_HUB_DISABLE_XET=1 before."
        ) from error


def _refused(asked: Asked, response: Any) -> HubError:
    headers = response.headers
    wait = headers.get("Retry-After", "")
    if not wait.isdigit():  # the Hub's own way to say when the next request is welcome
        found = re.search(r"\bt=(\d+)", headers.get("RateLimit", ""))
        wait = found[1] if found and response.status_code == 429 else ""
    code = headers.get("X-Error-Code")
    return asked.refused(response.status_code, code, float(wait) if wait else None)


def _continue(
    asked: Asked, snapshot: Snapshot, name: str, part: Path, silence: float, advance: Advance
) -> None:
    """One request for what is missing, written as it comes."""
    from huggingface_hub import get_session, hf_hub_url

    start, wanted = size_of(part), snapshot.files[name].size
    url = hf_hub_url(snapshot.repo, name, revision=snapshot.commit, endpoint=endpoint())
    headers = _headers() | {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, timeout=silence) as response:
        if response.status_code == 416:  # of a file that ends before; it is not this one
            advance(name, -start, wanted)
            part.unlink()
            raise HubError(f"{asked.what} begins anew", passing=True)
        if response.status_code >= 400:
            raise _refused(asked, response)
        take_in(asked, response, part, wanted, silence, advance)

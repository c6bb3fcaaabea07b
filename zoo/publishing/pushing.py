"""A model's folder to the Hub: one commit, fetched again and compared, and only then tagged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..bars import transfer_bars
from ..errors import DataError, InputError, WeightsError
from ..files import Pin
from ..hub import client as hub
from ..hub import snapshots
from ..hub.client import Snapshot
from ..hub.refusals import HubError
from ..loading.pulling import HUB
from ..report.card import EMPTY, about, hand_written, model_card
from ..report.card import FILE as CARD
from .departures import departures_of
from .folder import Publishable, pin_of

REPOSITORY = re.compile(
    r"(?=[^/]{1,96}/[^/]{1,96}$)(?!.*\.git$)"
    r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*/[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*"
)
TAG = re.compile(r"(?!main$)[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*")
FRONT_MATTER = re.compile(r"\A---\n.*?^---$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Published:
    """What lies at the Hub now: the commit, and what each of its files must be.

    folder: where they were fetched to; is_new: whether there was anything to commit
    """

    repo: str
    commit: str
    files: Mapping[str, Pin]
    folder: Path
    is_new: bool


def push(
    model: Publishable,
    repo: str,
    *,
    private: bool = False,
    tag: str | None = None,
    replace_card: bool = False,
) -> Published:
    """Publish a checked folder in one commit on top of what the repository has.

    The repository is made if need be. What was committed is fetched by its commit and compared
    before the tag names it. The same content again makes no commit, and goes on where an earlier
    push ended. What was written by hand on the card at the Hub is kept; where there is other such
    text here, `replace_card` says that this one counts.

    Raises `InputError` for names that cannot be, a tag that is taken and text that would be lost;
    `HubError` and `WeightsError`, which say how far it came.
    """
    check_names(repo, tag)
    if hub.is_offline():
        raise InputError(
            f"HF_HUB_OFFLINE is set, so nothing is sent to {repo}. Unset it and push again."
        )
    hub.make_repository(repo, private=private)
    _check_private(repo, private)
    newest = hub.look_up(repo)
    with TemporaryDirectory() as place:
        card = Path(place) / CARD
        card.write_text(card_of(model, repo, _notes(model, newest, replace_card)), "utf-8")
        files = {name: model.folder / name for name in model.pins} | {CARD: card}
        is_new = any(_differs(newest, name, path) for name, path in files.items())
        is_tagged = tag is not None and _is_tagged(newest, tag, is_new)
        pins = {**model.pins, CARD: pin_of(card)}
        message = f"{model.config.name}, by itm-zoo"
        commit = hub.commit(repo, files, message, parent=newest.commit) if is_new else newest.commit
    with _told(repo, commit, "has not come back as it was sent yet"), transfer_bars() as bars:
        wanted = Snapshot(repo, commit, pins)
        folder = snapshots.fetch(wanted, offline=False, verify=True, advance=bars)
    if tag is not None and not is_tagged:
        with _told(repo, commit, f"came back as it was sent and is not tagged {tag} yet"):
            hub.tag(repo, commit, tag)
    return Published(repo, commit, pins, folder, is_new)


def card_of(model: Publishable, repo: str, notes: str | None = None) -> str:
    """The card that a model gets at the Hub; `notes` are by default those of its folder."""
    told = about(
        model.config,
        load_as=f"{HUB}{repo}",
        license=model.license,
        notes=model.notes if notes is None else notes,
        own=model.own,
        boxes=model.boxes,
        departures=departures_of(model.config),
    )
    return model_card(model.config, model.rows, told)


def check_names(repo: str, tag: str | None) -> None:
    """Raises `InputError` for a repository or tag that the Hub does not take."""
    if not REPOSITORY.fullmatch(repo):
        raise InputError(
            f"{repo!r} names no repository of the Hub. Write ORG/NAME, each of at most 96 letters "
            "and digits, with single dots, dashes and underscores between them, and no .git behind."
        )
    if tag is not None and (not TAG.fullmatch(tag) or hub.COMMIT.fullmatch(tag)):
        raise InputError(f"{tag!r} cannot be a tag. Write one such as v1.0.")


def _check_private(repo: str, private: bool) -> None:
    if private and not hub.is_private(repo):
        raise InputError(
            f"{repo} is there and everybody can see it, so nothing was sent. Make it private in "
            f"its settings ({hub.page(repo)}/settings), or leave out --private."
        )


def _notes(model: Publishable, newest: Snapshot, replace: bool) -> str:
    """What was written by hand: here, or else at the Hub."""
    there = _notes_there(newest)
    if replace or there in (EMPTY, model.notes):
        return model.notes
    if model.notes == EMPTY and there is not None:
        return there
    raise InputError(
        f"The card of {newest.repo} at the Hub has text that {model.folder / CARD} has not, so "
        "nothing was sent. Put what shall stay between the markers of that file, then push with "
        "--replace-card."
    )


def _notes_there(newest: Snapshot) -> str | None:
    """What was written by hand on the card at the Hub; None for a card that is not the zoo's."""
    if CARD not in newest.files:
        return EMPTY
    with TemporaryDirectory() as place:
        card = Path(place) / CARD
        hub.download(newest, CARD, card)
        if fault := newest.files[CARD].fault(card):
            raise HubError(f"{CARD} of {newest.repo} came and {fault}. Try again.", passing=True)
        text = card.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
    if not FRONT_MATTER.sub("", text).strip():
        return EMPTY
    try:
        return hand_written(text, card)
    except DataError:
        return None


def _differs(newest: Snapshot, name: str, path: Path) -> bool:
    return name not in newest.files or newest.files[name].fault(path) is not None


def _is_tagged(newest: Snapshot, tag: str, is_new: bool) -> bool:
    """Whether the tag is there and names what is pushed. Raises `InputError` if it names else."""
    try:
        tagged = hub.look_up(newest.repo, tag).commit
    except HubError as error:
        if error.status == 404:
            return False
        raise
    if is_new or tagged != newest.commit:
        raise InputError(
            f"{newest.repo} has the tag {tag} already, for commit {tagged[:12]}, so nothing was "
            "sent. Choose another tag: one that moves tells nobody which model it was."
        )
    return True


@contextmanager
def _told(repo: str, commit: str, state: str) -> Iterator[None]:
    """Say how far it came, when it stops behind the commit."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(
            f"{repo} has the commit {commit}, which {state}. {error} Then push again: it goes on "
            "from there."
        ) from error

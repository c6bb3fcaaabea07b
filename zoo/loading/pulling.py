"""From a model's name to a folder with its checked files, on this disk."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..bars import Advance, transfer_bars
from ..catalogue.cards import USABLE, Card
from ..errors import InputError, WeightsError
from ..files import Pin
from ..model_folders.folder import CONFIG, no_model
from .joined_folders import joined
from .own_names import registry

if TYPE_CHECKING:
    from ..hub.client import Snapshot

LOCAL, HUB = "local-dir:", "hf-hub:"
ON_HUB = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)(?:@(?P<revision>[^\s@]+))?", re.ASCII)


def pull(
    name: str,
    *,
    offline: bool | None = None,
    verify: bool = False,
    without: str | None = None,
    advance: Advance | None = None,
) -> Path:
    """The folder of a model: fetched if need be, and each file checked before it is given.

    `name` is a registry name, "hf-hub:ORG/REPO[@REVISION]" or "local-dir:PATH". The files of a
    registered model are pinned by the registry. Those of another repository are what it has at the
    revision, a commit best of all: a branch or tag is looked up each time. `offline` forbids every
    request (HF_HUB_OFFLINE does, where it is None), `verify` reads again what was checked before,
    and `without` names a file that is not needed. `advance` is told of progress in place of a bar.

    Raises `UnknownModelError` for an unknown name, `InputError` for what is no name, and
    `WeightsError` when there is nothing to fetch, or no folder, or it cannot be had.

    >>> zoo.pull("chan-f8k")                                            # doctest: +SKIP
    PosixPath('weights/chan-f8k')
    """
    if str(name).startswith(LOCAL):
        folder = Path(str(name).removeprefix(LOCAL))
        if not folder.is_dir():
            raise no_model(folder)
        return folder
    from ..hub import snapshots
    from ..hub.client import Snapshot

    if str(name).startswith(HUB):
        found = _on_hub(name, offline)
    else:
        card = registered(name)
        if card.members and card.status in USABLE:
            folders = [
                pull(one, offline=offline, verify=verify, advance=advance) for one in card.members
            ]
            return joined(folders, card.name, verify=verify)
        if card.weights is None:
            return _bundled(card)
        pinned = {file: Pin(pin.size, pin.sha256) for file, pin in card.weights.files.items()}
        found = Snapshot(card.weights.repo, card.weights.revision, pinned)
    files = {file: pin for file, pin in found.files.items() if file != without}
    wanted = Snapshot(found.repo, found.commit, files)
    with transfer_bars() as bars:
        return snapshots.fetch(wanted, offline=offline, verify=verify, advance=advance or bars)


def registered(name: str) -> Card:
    """The card of a registered name. Raises `UnknownModelError`, and `InputError` for no name."""
    if not isinstance(name, str):
        raise InputError(
            f"{name!r} is a {type(name).__name__}, and a model is loaded by its name. "
            f'For a folder write "{LOCAL}PATH"; zoo.list_models() has the names.'
        )
    if any(mark in name for mark in "/\\:"):
        raise InputError(
            f"{name!r} is neither a registry name nor does it begin with a known prefix. "
            f"Write {LOCAL}PATH for a folder, or {HUB}ORG/REPO for the Hub."
        )
    return registry().find(name)


def _bundled(card: Card) -> Path:
    folder = card.folder
    if folder is None or not card.is_here:
        raise WeightsError(f"{card.name} is {card.status_here}. {card.how_to_get}")
    if not (folder / CONFIG).is_file():
        raise WeightsError(
            f"The {card.status} weights of {card.name} are missing from {folder}. "
            "Take the folder again from where it came from."
        )
    return folder


def _on_hub(name: str, offline: bool | None) -> Snapshot:
    """The snapshot that "hf-hub:ORG/REPO[@REVISION]" names; which commit it is, is told."""
    from ..hub import snapshots

    parts = ON_HUB.fullmatch(name.removeprefix(HUB))
    if parts is None:
        raise InputError(
            f"{name!r} names no repository of the Hub. Write {HUB}ORG/REPO or "
            f"{HUB}ORG/REPO@REVISION; a commit's name as the revision always gives the same model."
        )
    repo, revision = parts["repo"], parts["revision"] or "main"
    found = snapshots.look_up(repo, revision, offline=offline)
    if CONFIG not in found.files:
        raise WeightsError(
            f"{repo} at {found.commit[:12]} is no model of the zoo: it has no {CONFIG}. Choose "
            "another repository; a checkpoint of a method's released code is read by `zoo import`."
        )
    if revision != found.commit:
        logging.getLogger(__name__).warning(
            "%s is at commit %s; %s%s@%s will always give the same.",
            *(name, found.commit, HUB, repo, found.commit),
        )
    return found

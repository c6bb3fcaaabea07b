"""Registered models that are made of others: joined once, and kept in the zoo's home.

Such a model is the folder `joined/NAME/STATE`, where the state is that of its members' folders.
When a member has changed it is another folder, so that none is replaced while somebody reads it.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from hashlib import sha256 as digest_of
from pathlib import Path

from ..files import Pin, sha256
from ..hub.checked import faults, is_checked, note_checked, pins
from ..hub.snapshot_folders import alone, joined_root
from ..model_folders.folder import state_of
from ..model_folders.joining import join_folders


def joined(folders: Sequence[Path], name: str, *, verify: bool = False) -> Path:
    """The folder of the mean of some models, made unless it is there; `verify` reads it again.

    What was made of the members as they were before is deleted. Raises `InputError` for models
    that cannot read the same images; `WeightsError` for a folder that is damaged, or a home that
    cannot be written; `DataError` when the disk is full.
    """
    states = repr([(str(folder.resolve()), state_of(folder)) for folder in folders])
    place = joined_root() / name / digest_of(states.encode()).hexdigest()[:12]
    if not _is_sound(place, verify):
        with alone(place.parent):
            if not _is_sound(place, verify):
                for old in filter(Path.is_dir, place.parent.iterdir()):
                    shutil.rmtree(old)
                join_folders(folders, place, name)
                note_checked(place, {path.name: _pin(path) for path in place.iterdir()})
    return place


def _is_sound(place: Path, verify: bool) -> bool:
    noted = pins(place)
    return bool(noted) and (not faults(place, noted) if verify else is_checked(place, noted))


def _pin(path: Path) -> Pin:
    return Pin(path.stat().st_size, sha256(path))

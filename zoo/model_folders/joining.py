"""One model's folder of several: the parts of `zoo.members`, with the weights of each member.

No tensor is computed with: the members' bytes are copied under new names, a piece at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..config import Member, ModelConfig
from ..errors import DataError, InputError
from ..files import sha256, write_atomically
from ..version import __version__
from .folder import (
    CARD,
    CONFIG,
    RESULTS,
    TEXTS,
    WEIGHTS,
    made_whole,
    read_folder_config,
    read_text,
    unchanged,
)
from .safe_tensors import TensorFile, opened

ENCODERS = ("image_encoder", "text_encoder")


class MemberFiles(Mapping[str, str]):
    """The text files of one member, among those of all; without its own, what all may share."""

    def __init__(self, files: Mapping[str, str], number: int) -> None:
        self.files, self.number = files, number

    def __getitem__(self, name: str) -> str:
        own = file_of_member(name, self.number)
        return self.files[own if own in self.files else name]

    def __contains__(self, name: object) -> bool:
        return file_of_member(str(name), self.number) in self.files or name in self.files

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def file_of_member(name: str, number: int) -> str:
    """What a member's file is called among those of all.

    >>> file_of_member("vocab.json", 1)
    '1.vocab.json'
    """
    return f"{number}.{name}"


def joined_parts(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The parts of a joined model, of those of its members: as config.json has them.

    Members read the same features, and photographs by the same extractor if by any. Raises
    `InputError` where they do not.
    """
    first = members[0]
    for one in members[1:]:
        for what in ("features", "extractor"):
            if one.get(what) != first.get(what):
                raise InputError(
                    f"The models differ in their {what} ({first.get(what)} and {one.get(what)}), "
                    f"so they cannot read the same images. {_SCORES}"
                )
    blocks = [one.get("scoring") or {} for one in members]
    sizes = {
        size: min(block[size] for block in blocks if size in block)
        for size in ("image_block", "text_block")
        if any(size in block for block in blocks)
    }
    return {
        **{part: _of_members("members", part, members) for part in ENCODERS},
        "aligner": _of_members("mean", "aligner", members),
        "extractor": first.get("extractor"),
        "features": first["features"],
        **({"scoring": sizes} if sizes else {}),
    }


_SCORES = (
    "Take the mean of their scores instead, each on images of its own: "
    "zoo ensemble MODEL MODEL --data PATH"
)


def _of_members(kind: str, part: str, members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"type": kind, "members": [dict(one[part]) for one in members]}


def join_folders(folders: Sequence[Path], into: Path, name: str) -> Path:
    """Make a model's folder of those of several, whose scores it averages.

    Raises `InputError` for fewer than two, for models that cannot read the same images, and for a
    folder in whose place one of them lies; `WeightsError` for a folder that is damaged, or written
    to meanwhile; `DataError` when the disk is full.
    """
    if len(folders) < 2:
        raise InputError("A joined model has at least two members. Name another one.")
    for folder in folders:
        if folder.resolve().is_relative_to(into.resolve()):
            raise InputError(
                f"{into} would be replaced by the joined model, and its member {folder} lies "
                "there. Choose another folder."
            )
    with made_whole(into) as written, ExitStack() as stack:
        for folder in folders:
            stack.enter_context(unchanged(folder))
        configs = [read_folder_config(folder) for folder in folders]
        joined = _joined_config(configs, folders, name)
        files = [stack.enter_context(opened(folder / WEIGHTS)) for folder in folders]
        if joined.extractor is not None:
            _check_extractors(files)
        for file, text in _texts(folders).items():
            write_atomically(written / file, text.encode())
        write_atomically(written / CONFIG, joined.to_json().encode())
        _write_weights(files, written / WEIGHTS)
    return into


def _joined_config(
    configs: Sequence[ModelConfig], folders: Sequence[Path], name: str
) -> ModelConfig:
    plugins = [config.plugin for config in configs]
    values = {
        "name": name,
        "method": "+".join(dict.fromkeys(config.method for config in configs)),
        "plugin": plugins[0] if plugins.count(plugins[0]) == len(plugins) else None,
        "zoo_version": __version__,
        "members": tuple(
            Member(name=config.name, sha256=sha256(folder / WEIGHTS))
            for config, folder in zip(configs, folders, strict=True)
        ),
        **joined_parts([config.model_dump() for config in configs]),
    }
    return ModelConfig.model_validate(values)


def _texts(folders: Sequence[Path]) -> dict[str, str]:
    """The members' text files, by their new names."""
    ours = {CONFIG, RESULTS, CARD}
    return {
        file_of_member(path.name, number): read_text(path)
        for number, folder in enumerate(folders)
        for path in sorted(folder.iterdir())
        if path.suffix in TEXTS and path.name not in ours and not path.name.startswith(".")
    }


def _check_extractors(files: Sequence[TensorFile]) -> None:
    """Raise `InputError` unless the members' extractors have the same weights."""
    if len({_digest(file) for file in files}) > 1:
        raise InputError(
            f"{' and '.join(str(file.path.parent) for file in files)} read photographs by "
            f"extractors with other weights, so no regions suit them both. {_SCORES}"
        )


def _digest(file: TensorFile) -> str:
    digest = hashlib.sha256()
    for name, place in sorted(file.places.items()):
        if name.startswith("extractor."):
            digest.update(f"{name} {place.dtype} {place.shape}".encode())
            for piece in file.pieces(name):
                digest.update(piece)
    return digest.hexdigest()


def _write_weights(files: Sequence[TensorFile], path: Path) -> None:
    """All tensors of the members, one behind another, in one file."""
    moved, end = list(_moved(files)), 0
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for file, name, new in moved:
        place = file.places[name]
        start, end = end, end + place.stop - place.start
        shape = list(place.shape)
        entries[new] = {"dtype": place.dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with path.open("wb") as written:
            written.write(len(text).to_bytes(8, "little") + text)
            for file, name, _ in moved:
                written.writelines(file.pieces(name))
            written.flush()
            os.fsync(written.fileno())
    except OSError as error:
        raise DataError(
            f"{path} could not be written ({error.strerror}; {end:,} bytes are needed). "
            "Free some space and try again; nothing was changed."
        ) from error


def _moved(files: Sequence[TensorFile]) -> Iterator[tuple[TensorFile, str, str]]:
    """Each tensor that is kept: its file, its name there, and its name in the joined model."""
    for number, file in enumerate(files):
        for name in file.places:
            part, _, rest = name.partition(".")
            if part != "extractor":
                yield file, name, f"{part}.members.{number}.{rest}"
            elif number == 0:
                yield file, name, name

"""A checkpoint as a program of the field saved it: weights in parts, and the program's options."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from ..errors import InputError, WeightsError
from ..files import sha256
from ..model_folders.safe_tensors import MOST_TENSORS
from ..pickles import Strange
from .archives import Archive, open_archive
from .stand_ins import StoredTensor

ChoiceT = TypeVar("ChoiceT")

WRAPPED = "module."
"""What torch's DataParallel puts before each name."""

LONGEST_NAME = 200
MOST_PARTS = 8  # the programs of the field save two to four


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds, read without running anything in it.

    parts:   the state dicts in its "model", in their order; a single one is a list of one. Names
             that all begin with "module." are without it
    options: what the program was run with, its `opt`
    epoch, best_rsum: what the program noted of its training, where it did
    """

    path: Path
    sha256: str
    size: int
    parts: tuple[Mapping[str, Tensor], ...]
    options: Settings
    epoch: float | None = None
    best_rsum: float | None = None

    @classmethod
    def open(cls, path: Path) -> Checkpoint:
        """Read a file that `torch.save` wrote. Its pickle is taken as data and never run.

        Raises `InputError` when there is no file, and `WeightsError` when it is damaged, is of
        another kind, or asks for anything but tensors, numbers, text and `argparse.Namespace`.
        """
        if not path.is_file():
            raise InputError(f"{path} is no file. Give the path of a checkpoint.")
        try:
            with path.open("rb") as file:
                archive = open_archive(file)
                parts, options = _parts(archive), _options(archive.content.get("opt"))
        except Strange as found:
            raise _refusal(found.names, path) from None
        except Exception as error:  # whatever a damaged file leads to
            raise WeightsError(
                f"{path} is no checkpoint that can be read: {_said(error)}. "
                "Give a file that `torch.save` wrote, whole: take it again from its source."
            ) from error
        return cls(
            path,
            sha256(path),
            path.stat().st_size,
            parts,
            Settings(options, path),
            _number(archive.content.get("epoch")),
            _number(archive.content.get("best_rsum")),
        )

    def states(self, *names: str) -> tuple[Mapping[str, Tensor], ...]:
        """The parts, of which there are at most so many; those that are absent are empty.

        Raises `WeightsError` for more parts than names.
        """
        if len(self.parts) > len(names):
            raise WeightsError(
                f"{self.path} holds {len(self.parts)} state dicts where {len(names)} are wanted, "
                f"of {', '.join(names)}. It was made by another method: `zoo import --help`."
            )
        return *self.parts, *({} for _ in names[len(self.parts) :])


class Settings(Mapping[str, Any]):
    """The options in a checkpoint by name. They come from the file, so each is checked when read.

    >>> settings = Settings({"module_name": "SGR"}, Path("best.pth"))
    >>> settings.choose("module_name", {"SGR": "sgr", "SAF": "saf"})
    'sgr'
    """

    def __init__(self, options: Mapping[str, Any], path: Path) -> None:
        self._options, self._path = options, path

    def __getitem__(self, name: str) -> Any:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def choose(
        self, name: str, meanings: Mapping[Any, ChoiceT], default: ChoiceT | None = None
    ) -> ChoiceT:
        """What an option's value means here.

        Raises `WeightsError` for a value that has no meaning, and where there is none and no
        default.
        """
        value = self.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, (str, int, float)) and value in meanings:
            return meanings[value]
        known = ", ".join(map(str, meanings))
        if value is None:
            raise WeightsError(
                f"{self._path} does not say its {name}, which is one of {known}. It was made by "
                "another method (`zoo import --help`), or saved without its program's options."
            )
        said = f"{value!r:.60}" if isinstance(value, (str, int, float)) else "no word or number"
        raise WeightsError(
            f"{self._path} was made with {name} {said}, and a model of the zoo has {known}. "
            "Import a checkpoint that was made with one of these."
        )

    def require(self, **values: Any) -> None:
        """Raise `WeightsError` unless each of these options has this value, or is not given."""
        for name, value in values.items():
            self.choose(name, {value: True}, default=True)

    @property
    def dataset(self) -> str | None:
        """The data set that the program was trained on, as the registry calls it, if it is one."""
        name = self.get("data_name")
        known = name if isinstance(name, str) else ""
        return next((one for one in ("coco", "f30k") if one in known), None)

    def number(self, name: str, default: float) -> float:
        """An option that is a number, the default where it is not given.

        Raises `WeightsError` for one that is something else.
        """
        value = default if self.get(name) is None else self[name]
        if _number(value) is None:
            raise WeightsError(
                f"{self._path} has a {type(value).__name__} as its option {name}, where a number "
                "is wanted. The file is damaged: take it again from its source."
            )
        return value


def _number(value: Any) -> float | None:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if real and math.isfinite(value) else None


def _refusal(names: list[str], path: Path) -> WeightsError:
    shown = [ascii(name)[1:-1][:80] for name in names[:8]]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return WeightsError(
        f"{path} asks for {', '.join(shown)}{more}, and a checkpoint is read only if it holds "
        "nothing but tensors, numbers, text and argparse.Namespace. Nothing of it was run. If you "
        "trust where it came from, open it with the program that made it, and save the weights and "
        "the options alone."
    )


def _said(error: Exception) -> str:
    """Our own words, or another's error in short."""
    plain = type(error) is ValueError
    said = str(error) if plain else f"{type(error).__name__} {error}"
    return said.partition("\n")[0][:200].rstrip(".")


def _parts(archive: Archive) -> tuple[Mapping[str, Tensor], ...]:
    content = archive.content
    if not isinstance(content, dict) or "model" not in content:
        found = f"the names {list(content)!r:.120}" if isinstance(content, dict) else "no names"
        raise ValueError(f"it has {found} where 'model' with state dicts is wanted")
    model = content["model"]
    states = model if isinstance(model, list) else [model]
    if len(states) > MOST_PARTS:
        raise ValueError(f"its model has {len(states):,} parts, of {MOST_PARTS} at most")
    return tuple(_part(archive, one) for one in states)


def _options(options: Any) -> Mapping[str, Any]:
    """Those of a Namespace, or of the dict of one; none where the program kept none."""
    if options is not None and not isinstance(options, dict):
        raise ValueError(f"it has a {type(options).__name__} in place of its options")
    return options or {}


def _part(archive: Archive, state: Any) -> Mapping[str, Tensor]:
    if not isinstance(state, dict):
        raise ValueError(f"its model has a {type(state).__name__} in place of a state dict")
    if len(state) > MOST_TENSORS:
        raise ValueError(f"its model has {len(state):,} tensors in a part, of {MOST_TENSORS:,}")
    tensors = {name: value for name, value in state.items() if isinstance(value, StoredTensor)}
    for name in state:
        if name not in tensors:
            raise ValueError(f"{name!r:.60} of its model is no tensor")
        if not isinstance(name, str) or len(name) > LONGEST_NAME or not name.isprintable():
            raise ValueError(f"its model has a tensor of the name {name!r:.60}")
    wrapped = all(name.startswith(WRAPPED) for name in tensors)
    return {
        name.removeprefix(WRAPPED) if wrapped else name: archive.tensor(value)
        for name, value in tensors.items()
    }

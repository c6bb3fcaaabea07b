"""A model as a folder on disk, read strictly.

config.json, model.safetensors, the text files of the encoders (vocab.json, tokenizer files),
results.json with measured results, README.md as the model's card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..device import usable_device
from ..errors import WeightsError
from ..model import MatchingModel, build_model
from ..model_folders.folder import WEIGHTS, read_folder_config, read_text, unchanged
from ..model_folders.safe_tensors import DTYPES, Place, opened
from ..plugins.discovery import discover
from .fitting import likely_why, misfits, shortened


class FolderFiles(Mapping[str, str]):
    """The text files of a folder by name, read when asked for; no path leads out of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> str:
        if name not in self:
            raise WeightsError(
                f"{self.folder} has no file {name}, which the model needs. "
                f"Put {name} there, from where the model came from."
            )
        return read_text(self.folder / name)

    def __contains__(self, name: object) -> bool:
        inside = isinstance(name, str) and Path(name).name == name
        return inside and (self.folder / str(name)).is_file()

    def __iter__(self) -> Iterator[str]:
        places = self.folder.iterdir() if self.folder.is_dir() else ()
        return (path.name for path in places if path.is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def load_folder(
    folder: str | Path,
    *,
    weights: str | Path | None = None,
    files: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> MatchingModel:
    """The model in a folder, ready to encode and score.

    `weights` ("random", or a safetensors file) and `files` (a folder with the encoders' text files)
    take the place of the folder's own.

    Raises `WeightsError` when a file is absent or damaged, or when any parameter or buffer is
    missing, left over, of another shape or not finite (one error names them all), or when the
    folder is written to meanwhile, and `InputError` for a device that is not there.
    """
    folder, device = Path(folder), usable_device(device)
    with unchanged(folder):
        config = read_folder_config(folder)
        if config.plugin is not None:
            discover().require(config.plugin.name)
        model = build_model(config, FolderFiles(Path(files or folder)))
        if weights != "random":
            load_weights(model, Path(weights or folder / WEIGHTS))
    return model.to(device).eval()


def load_weights(model: MatchingModel, path: Path) -> None:
    """Fill every parameter and buffer of the model from a safetensors file, and no pickle.

    Raises `WeightsError`: of all that does not fit, or else of all values that cannot be.
    """
    state = model.state_dict()
    with opened(path) as file:
        wanted = {name: _kind(tensor) for name, tensor in state.items()}
        faults = misfits(wanted, file.places)
        if faults:
            why = likely_why(wanted, file.places, model.config)
            raise _misfit(path, faults, f"{why} " if why else "")
        tensors = {name: file.tensor(name).to(state[name].dtype) for name in file.places}
    faults = _bad_values(tensors) + _torn_ties(model, tensors)
    if faults:
        raise _misfit(path, faults)
    model.load_state_dict(tensors, strict=True)


def _kind(tensor: Tensor) -> Place:
    dtype = str(tensor.dtype).removeprefix("torch.")
    return Place(_CODES.get(dtype, dtype), tuple(tensor.shape), 0, 0)


_CODES = {dtype: code for code, (dtype, _) in DTYPES.items()}


def _bad_values(tensors: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{name} holds values that are not finite"
        for name, tensor in sorted(tensors.items())
        if tensor.is_floating_point() and not tensor.isfinite().all()
    ]


def _torn_ties(model: MatchingModel, tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of one parameter of the model under which the file has different values."""
    names: dict[int, str] = {}
    torn = []
    for name, parameter in model.state_dict(keep_vars=True).items():
        first = names.setdefault(id(parameter), name)
        if name != first and not torch.equal(tensors[name], tensors[first]):
            torn.append(f"{first} and {name} are one tensor of the model, and differ in the file")
    return torn


def _misfit(path: Path, faults: list[str], why: str = "") -> WeightsError:
    return WeightsError(
        f"{path} does not fit the model's configuration: {shortened(faults)}. {why}"
        "Use the config.json and the text files that were saved together with these weights."
    )

"""A model as a folder on disk: written whole or not at all, read strictly.

config.json, model.safetensors, the text files of the encoders (vocab.json, tokenizer files),
results.json with measured results, README.md as the model's card.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .config import ModelConfig, build_model, read_config
from .errors import WeightsError
from .files import sync_folder, write_atomically
from .plugins import discover

if TYPE_CHECKING:
    from .model import MatchingModel

CONFIG, WEIGHTS, RESULTS, CARD = "config.json", "model.safetensors", "results.json", "README.md"
LARGEST_TEXT = 64 << 20  # bytes; a vocabulary takes a few hundred kB


class FolderFiles(Mapping[str, str]):
    """The text files of a folder by name, read when asked for; no path leads out of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, name: str) -> str:
        path = self.folder / name
        if Path(name).name != name or not path.is_file():
            raise WeightsError(
                f"{self.folder} has no file {name}, which the model needs. "
                f"Put {name} there, from where the model came from."
            )
        return read_text(path)

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self.folder.iterdir() if path.is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file of at most 64 MiB; raises `WeightsError`."""
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise WeightsError(
                f"{path} has {size:,} bytes, and at most {LARGEST_TEXT:,} are read. "
                "It is not the file that it is named after: take it again from its source."
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path} cannot be read ({error}). Check the path, or take the file again."
        ) from error


def load_folder(folder: str | Path, *, device: torch.device | str = "cpu") -> MatchingModel:
    """The model in a folder, ready to encode and score.

    Raises `WeightsError` when a file is absent or damaged, or when any parameter or buffer is
    missing, left over, of another shape or not finite; one error names them all.
    """
    folder = Path(folder)
    config = read_folder_config(folder)
    if config.plugin is not None:
        discover().require(config.plugin.name)
    model = build_model(config, FolderFiles(folder))
    load_weights(model, folder / WEIGHTS)
    return model.to(device).eval()


def read_folder_config(folder: Path) -> ModelConfig:
    """The configuration in a model folder; raises `WeightsError` when it is no such folder."""
    if not (folder / CONFIG).is_file():
        what = "has no config.json" if folder.is_dir() else "is not a folder"
        raise WeightsError(
            f"{folder} {what}. A model folder holds config.json and model.safetensors: "
            "give the path that `model.save` or `zoo train` printed."
        )
    return read_config(read_text(folder / CONFIG), str(folder / CONFIG))


def load_weights(model: MatchingModel, path: Path) -> None:
    """Fill every parameter and buffer of the model from a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise WeightsError(
            f"{path} is not a file. Give the path of a .safetensors file that holds this model's "
            "weights."
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a readable safetensors file ({error}). "
            "It was cut short or is of another kind: take it again from its source."
        ) from error
    _check(model.state_dict(), tensors, path)
    model.load_state_dict(tensors, strict=True)


def _check(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is not part of the model" for name in found if name not in wanted]
    for name in wanted.keys() & found.keys():
        want, have = wanted[name], found[name]
        if want.shape != have.shape:
            faults.append(f"{name} is {tuple(have.shape)}, wanted {tuple(want.shape)}")
        elif want.is_floating_point() != have.is_floating_point():
            faults.append(f"{name} holds {have.dtype}, wanted {want.dtype}")
        elif have.is_floating_point() and not have.isfinite().all():
            faults.append(f"{name} holds values that are not finite")
    if faults:
        shown = "; ".join(sorted(faults)[:12])
        more = f"; and {len(faults) - 12} more" if len(faults) > 12 else ""
        raise WeightsError(
            f"{path} does not fit the model's configuration: {shown}{more}. "
            "Use the config.json and the text files that were saved together with these weights."
        )


def save_model(
    model: MatchingModel,
    folder: str | Path,
    *,
    results: Mapping[str, Any] | None = None,
    card: str | None = None,
    half: bool = False,
) -> Path:
    """Write the model's folder beside its final place, then move it there.

    A folder that was there is replaced as a whole. `half` stores floating point as float16.
    Raises `WeightsError` for a model that was not built from a configuration or whose weights are
    not finite, and `DataError` when the disk is full.
    """
    if model.config is None:
        raise WeightsError(
            "This model was not built from a configuration, so it could not be loaded again. "
            "Build it with zoo.config.build_model, then save it."
        )
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=folder.parent))
    try:
        for name, data in _contents(model, model.config, results, card, half).items():
            write_atomically(written / name, data)
        written.chmod(0o755)
        _move(written, folder)
    finally:
        shutil.rmtree(written, ignore_errors=True)
    return folder


def _contents(
    model: MatchingModel,
    config: ModelConfig,
    results: Mapping[str, Any] | None,
    card: str | None,
    half: bool,
) -> dict[str, bytes]:
    from safetensors.torch import save

    files: dict[str, str] = {}
    for part in (model.image_encoder, model.text_encoder, model.aligner, model.extractor):
        files |= part.files() if part is not None else {}
    tensors = {name: _stored(tensor, half) for name, tensor in model.state_dict().items()}
    broken = [name for name, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{', '.join(broken[:5])} would not be finite when stored"
            f"{' as float16' if half else ''}. Nothing was written; "
            f"{'save without half' if half else 'look for the step at which training diverged'}."
        )
    contents = {name: text.encode() for name, text in files.items()}
    contents[CONFIG] = config.to_json().encode()
    contents[WEIGHTS] = save(tensors, metadata={"format": "pt", "zoo_schema": "1"})
    if results is not None:
        contents[RESULTS] = (json.dumps(results, indent=2) + "\n").encode()
    if card is not None:
        contents[CARD] = card.encode()
    return contents


def _stored(tensor: Tensor, half: bool) -> Tensor:
    kept = tensor.detach().to("cpu", copy=True).contiguous()
    return kept.half() if half and kept.is_floating_point() else kept


def _move(written: Path, folder: Path) -> None:
    if not folder.exists():
        written.rename(folder)
    else:
        replaced = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(replaced)
        written.rename(folder)
        shutil.rmtree(replaced)
    sync_folder(folder.parent)

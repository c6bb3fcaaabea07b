"""Writing a model's folder: whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from .errors import WeightsError
from .files import sync_folder, write_atomically

if TYPE_CHECKING:
    from .config import ModelConfig
    from .model import MatchingModel

CONFIG, WEIGHTS, RESULTS, CARD = "config.json", "model.safetensors", "results.json", "README.md"


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
    # One entry: the order of several is random, and the same weights should give the same file.
    contents[WEIGHTS] = save(tensors, metadata={"format": "pt"})
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

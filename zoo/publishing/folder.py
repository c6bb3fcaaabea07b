"""Whether a model's folder can be published: it loads, it runs, it was measured, it has a license.

What is published are the files that the model consists of, and no others that lie beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, WeightsError
from ..files import Pin, sha256
from ..report.card import EMPTY, hand_written, license_in
from ..report.card import FILE as CARD
from ..report.proof import strangers, unproven
from ..report.results import FILE as RESULTS
from ..report.results import own_among, read_results

if TYPE_CHECKING:
    from torch import Tensor

    from ..batch import Regions
    from ..config import ModelConfig
    from ..model import MatchingModel

LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")


@dataclass(frozen=True)
class Publishable:
    """A model's folder that was found to be fit for publication.

    license: as it was given, now or when the card was made
    rows:    all that was measured of the model; own: of these very weights
    boxes:   whether its features must have boxes
    notes:   what was written by hand on its card
    pins:    the files that it consists of, as they were checked; the card is made anew
    left:    names of other files there, which stay here
    """

    folder: Path
    config: ModelConfig
    license: str
    rows: Sequence[Mapping[str, Any]]
    own: Sequence[Mapping[str, Any]]
    boxes: bool
    notes: str
    pins: Mapping[str, Pin]
    left: Sequence[str]


def check_folder(folder: Path, license: str | None = None) -> Publishable:
    """The folder with what is to be published of it. The license is by default the card's.

    Raises `WeightsError` when it does not load strictly or does not run on its own features,
    `DataError` for results or a card that are damaged, and one `InputError` with all else that is
    missing.
    """
    from ..loading.weights import load_folder
    from ..model_folders.folder import WEIGHTS, read_text

    model = load_folder(folder)
    config, card = _config(model), folder / CARD
    names = [name for name in _names(model) if (folder / name).is_file()]
    pins = {name: pin_of(folder / name) for name in names}
    text = read_text(card) if card.is_file() else ""
    rows, license = read_results(folder), license or license_in(text)
    _refuse(folder, [*_license_faults(license), *_result_faults(rows, pins[WEIGHTS].digest)])
    return Publishable(
        folder,
        config,
        str(license),
        rows,
        own_among(folder, rows),
        _needs_boxes(model, folder),
        hand_written(text, card) if text else EMPTY,
        pins,
        sorted(path.name for path in folder.iterdir() if path.name not in (*names, CARD)),
    )


def _config(model: MatchingModel) -> ModelConfig:
    if model.config is None:
        raise WeightsError("The model has no configuration. Save it again with `model.save`.")
    return model.config


def _names(model: MatchingModel) -> list[str]:
    """The files of a model's folder, without the card."""
    from ..model_folders.folder import CONFIG, WEIGHTS

    parts = (model.image_encoder, model.text_encoder, model.aligner, model.extractor)
    texts = [name for part in parts if part is not None for name in part.files()]
    return [CONFIG, WEIGHTS, RESULTS, *texts]


def pin_of(path: Path) -> Pin:
    """The size of a file and the SHA-256 of its content."""
    return Pin(path.stat().st_size, sha256(path))


def _license_faults(license: str | None) -> list[str]:
    if license is None:
        return [
            "nobody has said under which license it may be used (give --license; that of a "
            "checkpoint is for those to say who made it)"
        ]
    if not LICENSE.fullmatch(license):
        return [
            f"{license!r} is no license's identifier (give one such as Apache-2.0 or "
            "CC-BY-NC-4.0, or other, and tell the rest on the card)"
        ]
    return []


def _result_faults(rows: Sequence[Mapping[str, Any]], weights: str) -> list[str]:
    if not rows:
        return ["nothing was measured of it (zoo evaluate FOLDER --data PATH --save-results)"]
    wrong = [
        f"its row of {row['dataset']} {row['split']} does not count as measured: {fault}"
        for row in rows
        for fault in unproven(row)
    ]
    return wrong or strangers(rows, weights)


def _refuse(folder: Path, faults: Sequence[str]) -> None:
    if faults:
        raise InputError(
            f"{folder} cannot be published: {'; '.join(faults)}. Mend that and try again; nothing "
            "was sent."
        )


def _needs_boxes(model: MatchingModel, folder: Path) -> bool:
    """Whether the model refuses features that have no boxes; it has to run on one or the other."""
    plain, boxed = _made_up_image(_config(model))
    try:
        _run(model, plain)
    except InputError:
        pass
    else:
        return False
    try:
        _run(model, boxed)
    except InputError as error:
        raise WeightsError(
            f"The model in {folder} loads, and does not run on the features that its config.json "
            f"states ({error}). Correct config.json, and look whether the plugin has changed since."
        ) from error
    return True


def _run(model: MatchingModel, images: Any) -> None:
    model.score(model.encode_images(images), model.encode_texts(["a dog runs on the beach"]))


def _made_up_image(config: ModelConfig) -> tuple[Tensor, Regions]:
    """One image as plain features, and with boxes: (1, regions, dim)."""
    import torch

    from ..batch import Regions

    chance = torch.Generator().manual_seed(0)
    features = torch.randn(1, config.features.regions, config.features.dim, generator=chance)
    corners = torch.rand(*features.shape[:2], 2, generator=chance) * 50
    boxes, sizes = torch.cat([corners, corners + 40], dim=-1), torch.full((1, 2), 100.0)
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    return features, Regions(features, mask, boxes, sizes)

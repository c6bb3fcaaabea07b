"""Pretrained networks of transformers: found by name or in a folder, and built again from text.

Nothing but safetensors files is read, and no code of a model's repository runs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import InputError, WeightsError

DETECTOR = "ForObjectDetection"


@dataclass(frozen=True)
class Description:
    """What it takes to build a network without its weights.

    config:       values of its config.json
    preprocessor: values of its preprocessor_config.json
    revision:     the commit on the Hub, empty for a folder
    """

    config: dict[str, Any]
    preprocessor: dict[str, Any]
    revision: str = ""

    @property
    def detects(self) -> bool:
        """Whether it is a detector."""
        return any(name.endswith(DETECTOR) for name in self.config.get("architectures") or ())

    def to_json(self) -> str:
        """As indented JSON text that ends in a line break."""
        return json.dumps(vars(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Description:
        """What `to_json` wrote. Raises `WeightsError` for another text."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise WeightsError(
                f"The description of the extractor is damaged ({error}). "
                "Take extractor.json again from where the model came from."
            ) from error


def describe(model: str, revision: str | None = None) -> Description:
    """The description of a network by its name on the Hub, or its folder.

    A name is resolved to the commit that it means now, unless `revision` says which.
    Raises `InputError` where it cannot be found, or transformers is not installed.
    """
    hub = _transformers().utils
    try:
        found = [
            hub.cached_file(model, name, revision=revision)
            for name in ("config.json", "preprocessor_config.json")
        ]
        config, preprocessor = (json.loads(Path(path).read_text("utf-8")) for path in found)
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(model, error) from error
    commit = None if Path(model).is_dir() else hub.extract_commit_hash(found[0], None)
    return Description(config, preprocessor, commit or "")


def build(description: Description) -> Any:
    """The network with random weights, which those of a model's folder replace."""
    config = _config(description)
    try:
        return _headless(_kind(description).from_config(config))
    except (ImportError, ValueError) as error:
        raise _unusable(config.model_type, error) from error


def load(model: str, description: Description) -> Any:
    """The network with its weights, in float32.

    Raises `InputError` where they cannot be read, `WeightsError` where some are missing.
    """
    try:
        with _quiet():
            network, report = _kind(description).from_pretrained(
                model,
                config=_config(description),
                revision=description.revision or None,
                use_safetensors=True,
                output_loading_info=True,
                dtype="float32",
            )
    except (OSError, ValueError, ImportError) as error:
        raise _unusable(model, error) from error
    named = network.state_dict(keep_vars=True)
    network = _headless(network)
    used = {id(tensor) for tensor in network.state_dict(keep_vars=True).values()}
    missing = sorted(name for name in report["missing_keys"] if id(named.get(name)) in used)
    if missing:
        raise WeightsError(
            f"{model} has no weights for {missing[0]} ({len(missing)} are missing in all). "
            "Give a model that was saved whole."
        )
    return network


def _transformers() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise InputError(
            "This extractor is a network of transformers, which is not installed. "
            "Install it: pip install 'itm-zoo[text]'."
        ) from error
    return transformers


def _kind(description: Description) -> Any:
    transformers = _transformers()
    return (
        transformers.AutoModelForObjectDetection if description.detects else transformers.AutoModel
    )


def _config(description: Description) -> Any:
    values = dict(description.config)
    try:
        return _transformers().AutoConfig.for_model(values.pop("model_type"), **values)
    except (KeyError, ValueError, TypeError) as error:
        raise _unusable(str(description.config.get("model_type")), error) from error


def _headless(network: Any) -> Any:
    """The part that reads pictures, without what makes one vector of them."""
    network = getattr(network, "vision_model", network)
    if network.main_input_name != "pixel_values":
        raise InputError(
            f"{type(network).__name__} reads no pictures but {network.main_input_name}. "
            "Choose a backbone or a detector."
        )
    if getattr(network, "pooler", None) is not None:
        network.pooler = nn.Identity()  # its weights would be read by nothing
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Without a bar of its own, and a report of weights that are left out on purpose."""
    logging = _transformers().utils.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


def _unusable(model: str, error: Exception) -> InputError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return InputError(
        f"{model} cannot be used as a network of transformers ({reason.rstrip('.')}). Give a name "
        "on the Hub that can be reached from here, or a folder with config.json, "
        "preprocessor_config.json and model.safetensors."
    )

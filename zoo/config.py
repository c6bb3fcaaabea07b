"""What a model is made of: the content of config.json."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import WeightsError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Provider(_Strict):
    """The plugin that supplies a method, as it was when the model was saved."""

    name: str
    distribution: str
    version: str
    api: str


class Features(_Strict):
    """The region features that the image encoder reads: kind, regions an image, dimension."""

    kind: str
    regions: int = Field(ge=1)
    dim: int = Field(ge=1)


class Scoring(_Strict):
    """The block that is scored at once: images by texts, measured for the method."""

    image_block: int = Field(default=128, ge=1)
    text_block: int = Field(default=512, ge=1)


class Source(_Strict):
    """The checkpoint of another program that a model was imported from: its name, and its bytes."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1)


class Member(_Strict):
    """A model that another was made of, alone or with others: its name, and its weights' bytes."""

    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ModelConfig(_Strict):
    """The content of config.json. Components are `{"type": name, **arguments}`."""

    schema_version: Literal[1] = 1
    name: str
    method: str
    plugin: Provider | None = None
    image_encoder: dict[str, Any]
    text_encoder: dict[str, Any]
    aligner: dict[str, Any]
    extractor: dict[str, Any] | None = None
    features: Features
    scoring: Scoring = Scoring()
    zoo_version: str | None = None
    source: Source | None = None
    members: tuple[Member, ...] = ()
    parent: Member | None = None

    def to_json(self) -> str:
        """As indented JSON text that ends in a line break."""
        absent = {part for part in ("source", "members", "parent") if not getattr(self, part)}
        return json.dumps(self.model_dump(exclude=absent), indent=2) + "\n"


def read_config(text: str, where: str) -> ModelConfig:
    """The configuration in a JSON text; `where` names its file in errors.

    Raises `WeightsError` for text that is no JSON, unknown or missing keys and wrong types.
    """
    try:
        return ModelConfig.model_validate_json(text)
    except ValidationError as error:
        found = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise WeightsError(
            f"{where} is not a model configuration ({found}). "
            "Take the file again from where the model came from, or save the model anew."
        ) from error

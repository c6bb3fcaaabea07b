"""What a recipe may set: the keys that the zoo itself reads, their types and defaults.

`optim_wrapper`, `param_scheduler` and `train_cfg` are MMEngine's and go to it as they are, but
for the keys named here; what is in `model` and `loss` is checked where components are built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from ..errors import InputError
from ..spelling import nearest

FULL = "full"
"""The row of an ablation that is the recipe as it is."""
ROW_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+_.-]*")


WRAPPERS = ("model_wrapper_cfg", "runner_type", "env_cfg")
WRAPPED = (
    "sets {key!r}, and the zoo trains without MMEngine's wrappers and its FlexibleRunner, which "
    "would divide the negatives of a batch; docs/decisions/0017 has the reasons. Leave it out: "
    "`zoo train --nproc N` shares a batch among processes, and strategy, accumulate and autocast "
    "save memory."
)
OURS = "strategy=dict(type='fully_shard', reshard_after_forward={reshard})"
WHOLE = "leave strategy out: processes share a batch without one"
DIVIDING = ("FSDPStrategy", "MMFullyShardedDataParallel", "DeepSpeedStrategy", "ColossalAIStrategy")
MMENGINE = dict.fromkeys(DIVIDING, OURS.format(reshard=True)) | dict.fromkeys(
    ("DDPStrategy", "SingleDeviceStrategy"), WHOLE
)
"""MMEngine's strategies, and what to write in their place."""


class _Keys(BaseModel):
    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and cls.model_config.get("extra") != "allow":
            for key in given:
                if key not in cls.model_fields:
                    said = f"has no key {key!r}. {nearest(key, cls.model_fields)}"
                    raise _fault(WRAPPED.format(key=key) if key in WRAPPERS else said)
        return given


class Vocabulary(_Keys):
    """Where the words come from: the training captions, or a file."""

    minimum_count: PositiveInt | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Vocabulary:
        if (self.minimum_count is None) == (self.file is None):
            raise _fault("must set one of 'minimum_count' and 'file'.")
        return self


class InitialWeights(_Keys):
    """A file or a model folder for each part that does not begin at random."""

    extractor: str | None = None
    image_encoder: str | None = None
    text_encoder: str | None = None
    aligner: str | None = None


class WarmUp(_Keys):
    """How many epochs; every other key is an attribute of the loss."""

    model_config = ConfigDict(extra="allow")
    epochs: NonNegativeInt


class Data(_Keys):
    """What an epoch and a batch consist of."""

    inputs: Literal["photos", "features"] = "photos"
    by: Literal["caption", "image"] = "caption"
    captions_per_image: PositiveInt = 1
    batch_size: PositiveInt = 128
    drop_last: bool = True
    workers: NonNegativeInt = 2
    train: Annotated[str, Field(min_length=1)] = "train"
    dev: str | None = "dev"
    bucket: PositiveInt | None = None


class Multipliers(_Keys):
    """Factors of the rate and the decay, for parameters whose names begin alike."""

    lr_mult: float = 1.0
    decay_mult: float = 1.0


class ByPrefix(_Keys):
    """Multipliers by the beginning of a parameter's name."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Multipliers] = Field(init=False)
    flat_decay_mult: float = 1.0


class OptimWrapper(_Keys):
    """MMEngine's, but for groups by name."""

    model_config = ConfigDict(extra="allow")
    optimizer: dict[str, Any]
    paramwise_cfg: ByPrefix = ByPrefix()
    accumulative_counts: int = 1

    @field_validator("accumulative_counts")
    @classmethod
    def _whole(cls, count: int) -> int:
        if count != 1:
            raise _fault(
                f"is {count}, and the zoo divides a batch in place of adding up several, so that "
                "all of its negatives count. Leave it out: set data.batch_size to the whole, and "
                f"accumulate={count}."
            )
        return count


class AverageSettings(_Keys):
    """The running mean of the weights."""

    momentum: Annotated[float, Field(ge=0, lt=1)]


class CheckpointSettings(_Keys):
    """How often checkpoints are written besides after each epoch, and how many stay."""

    every: PositiveInt | None = None
    keep: PositiveInt = 2


class NonFinite(_Keys):
    """What to do where a loss or a gradient is not finite, and how often at most."""

    action: Literal["stop", "skip"] = "stop"
    most: PositiveInt = 10


class Autocast(_Keys):
    """Which parts of the model, by name or all, compute in low precision while training."""

    parts: list[str] | Literal["all"] = "all"
    dtype: Literal["bfloat16", "float16"] = "bfloat16"


class Strategy(_Keys):
    """How several processes divide the weights of the encoders among them.

    reshard_after_forward: whether whole weights of a layer are given back between its forward and
                           its backward pass
    layers:                names of the modules that are put together by themselves, where * stands
                           for what is between two dots; those that are found where it is None
    """

    type: Literal["fully_shard"]
    reshard_after_forward: bool = True
    layers: list[str] | None = None


class Export(_Keys):
    """How the model folder is written: `half` stores its weights as float16."""

    half: bool = False


class Settings(_Keys):
    """A whole recipe."""

    name: str
    method: str
    plugin: str | None = None
    model: dict[str, Any]
    vocabulary: Vocabulary | None = None
    initial_weights: InitialWeights = InitialWeights()
    loss: dict[str, Any]
    warm_up: WarmUp | None = None
    data: Data
    optim_wrapper: OptimWrapper
    param_scheduler: list[dict[str, Any]] | dict[str, Any] | None = None
    train_cfg: dict[str, Any]
    average: AverageSettings | None = None
    gather: bool = True
    accumulate: PositiveInt = 1
    strategy: Strategy | None = None
    autocast: Autocast = Autocast(parts=[])
    freeze: list[str] = []
    checkpoint: CheckpointSettings = CheckpointSettings()
    export: Export = Export()
    nonfinite: NonFinite = NonFinite()
    log_every: PositiveInt = 20
    visualizers: list[str | dict[str, Any]] = []
    seed: int = 2022
    ablations: dict[str, dict[str, Any]] = {}

    @field_validator("train_cfg")
    @classmethod
    def _by_epoch(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("by_epoch", True) is not True or "max_iters" in given:
            raise _fault("counts iterations, and the zoo trains by epochs. Set max_epochs.")
        return given

    @field_validator("nonfinite", mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        return {"action": given} if isinstance(given, str) else given

    @field_validator("strategy", mode="before")
    @classmethod
    def _ours(cls, given: Any) -> Any:
        given = {"type": given} if isinstance(given, str) else given
        kind = str(given.get("type", "")) if isinstance(given, Mapping) else "fully_shard"
        if kind in MMENGINE:
            raise _fault(
                f"is MMEngine's {kind}, and the zoo has one of its own, on torch's fully_shard. "
                f"For this one {_instead(given, kind)} (docs/training.md#divided-weights)."
            )
        if kind != "fully_shard":
            raise _fault(
                f"has the type {kind!r}, and there is one: 'fully_shard'. "
                f"{nearest(kind, ['fully_shard', *MMENGINE])}"
            )
        return given

    @field_validator("autocast", mode="before")
    @classmethod
    def _parts(cls, given: Any) -> Any:
        return {"parts": given} if isinstance(given, list | str) else given

    @field_validator("ablations")
    @classmethod
    def _named(cls, rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name in rows:
            if name == FULL or not ROW_NAME.fullmatch(name):
                raise _fault(
                    f"has a row {name!r}. Rows name folders: use letters, digits, + - _ and dots; "
                    f"{FULL!r} is the recipe as it is."
                )
        return rows


def checked(given: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The settings with every default put in.

    Raises `InputError` that names the key that is unknown, missing or of a wrong value.
    """
    try:
        return Settings.model_validate(given).model_dump()
    except ValidationError as error:
        raise InputError(_account(error.errors()[0], path)) from error


def _account(fault: ErrorDetails, path: Path) -> str:
    key = ".".join(map(str, fault["loc"])) or "the recipe"
    if fault["type"] == "missing":
        whole, _, last = key.rpartition(".")
        there = ", ".join(fault["input"])
        return f"{path}: {whole or 'the recipe'} does not set {last}, only {there}. Add {last}."
    if fault["type"] == "recipe":
        return f"{path}: {key} {fault['msg']}"
    return f"{path}: {key} is {fault['input']!r}. {fault['msg']}."


def _instead(given: Mapping[str, Any], kind: str) -> str:
    """What to write in place of a strategy of MMEngine's, whose stage of ZeRO may be told."""
    zero = given.get("zero_optimization")
    stage = zero.get("stage") if isinstance(zero, Mapping) else None
    if stage == 0:
        return WHOLE
    wanted = OURS.format(reshard=False) if stage in (1, 2) else MMENGINE[kind]
    return wanted if wanted == WHOLE else f"write {wanted}"


def _fault(said: str) -> PydanticCustomError:
    return PydanticCustomError("recipe", "{said}", {"said": said})

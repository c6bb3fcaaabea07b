"""The schema of registry.yaml and of the fragments that plugins add: what may stand there."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

RSUM_TOLERANCE = 0.05
"""R@K are printed to one decimal place, so a true sum may differ by rounding."""


def _text(pattern: str) -> StringConstraints:
    return StringConstraints(pattern=rf"^(?:{pattern})$", max_length=200)


def _has_type(part: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(part.get("type"), str):
        raise ValueError("a part of a model needs a type, the name of its component")
    return part


MethodName = Annotated[str, _text(r"[a-z0-9]+(?:-[a-z0-9]+)*")]
PluginName = Annotated[str, _text(r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*")]
DatasetName = Annotated[str, _text(r"[a-z0-9]+")]
ModelName = Annotated[str, _text(r"[a-z0-9]+(?:-[a-z0-9]+)+")]
VariantName = Annotated[str, _text(r"[a-z0-9_+]+(?:\.[a-z0-9_+]+)*")]
CardName = Annotated[str, _text(r"[a-z0-9]+(?:-[a-z0-9]+)+(?:\.[a-z0-9_+]+)*")]
RecipeName = Annotated[str, _text(r"[a-z0-9]+(?:[-.][a-z0-9_+]+)*")]
Line = Annotated[str, StringConstraints(pattern=r"^\S[^\r\n]*$", max_length=500)]
Address = Annotated[str, _text(r"https?://[^\s<>\"]+")]
Repository = Annotated[
    str, _text(r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*/[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*")
]
Folder = Annotated[
    str, _text(r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*(?:/[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*)*")
]
FileName = Annotated[str, _text(r"[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*")]
Revision = Annotated[str, _text(r"[0-9a-f]{40}")]
Sha256 = Annotated[str, _text(r"[0-9a-f]{64}")]
Part = Annotated[dict[str, Any], AfterValidator(_has_type)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Status = Literal["planned", "unpublished", "bundled", "published"]


class _Entry(BaseModel):
    """Strict (no conversions), frozen, and without unknown keys."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Method(_Entry):
    """A published way to match images with texts, and the plugin that provides it.

    reconstruction: whether ours is made up from the abstract, since the paper could not be had
    """

    plugin: PluginName
    title: Line
    authors: Line | None = None
    venue: Line
    paper: Address | None
    reference_code: Address | None = None
    reconstruction: bool = False
    note: Line | None = None


class Features(_Entry):
    """The region features that a model reads.

    regions: how many an image; dim: numbers a region; boxes: whether the model needs them
    """

    kind: DatasetName
    regions: Annotated[int, Field(ge=1, le=10_000)]
    dim: Annotated[int, Field(ge=1, le=100_000)]
    boxes: bool


class Recall(_Entry):
    """R@1, R@5 and R@10 of one direction, in percent."""

    r1: Percent
    r5: Percent
    r10: Percent

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.r1 <= self.r5 <= self.r10:
            raise ValueError(
                f"R@1, R@5, R@10 must not fall; found {self.r1}, {self.r5}, {self.r10}"
            )
        return self


class Result(_Entry):
    """One row of a results table: a split of a data set, scored under a protocol.

    rsum is the sum of the six values, to 0.05. Where a source prints another sum (it added before
    rounding), that stands in `rsum_printed`.
    """

    dataset: DatasetName
    split: Line
    protocol: Line
    i2t: Recall
    t2i: Recall
    rsum: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)]
    rsum_printed: Annotated[float, Field(ge=0, le=600, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        six = [getattr(side, key) for side in (self.i2t, self.t2i) for key in ("r1", "r5", "r10")]
        if abs(math.fsum(six) - self.rsum) > RSUM_TOLERANCE + 1e-9:
            raise ValueError(f"rsum is {self.rsum}, but its six parts sum to {math.fsum(six):.1f}")
        return self


class PaperResult(Result):
    """A row copied from its source; no run of ours ever changes it."""

    source: Line


class MeasuredResult(Result):
    """A row that our own code measured, with what it takes to measure it again."""

    command: Line
    seed: int | None
    data_fingerprint: Sha256
    date: Annotated[str, _text(r"\d{4}-\d\d-\d\d")]
    code_version: Line | None = None
    device: Line | None = None


class Results(_Entry):
    """Paper results and measured results, never in one list."""

    paper: tuple[PaperResult, ...] = ()
    measured: tuple[MeasuredResult, ...] = ()


class WeightsFile(_Entry):
    """A file of a published model, pinned by content."""

    sha256: Sha256
    size: Annotated[int, Field(ge=1, le=1 << 40)]


class Parts(_Entry):
    """The parts of a model, as config.json has them: `{"type": name, **arguments}` each."""

    image_encoder: Part
    text_encoder: Part
    aligner: Part
    extractor: Part | None = None
    scoring: dict[str, int] | None = None


class PublishedWeights(_Entry):
    """Weights on the Hub, pinned by commit and by content."""

    repo: Repository
    revision: Revision
    files: Annotated[dict[FileName, WeightsFile], Field(min_length=1)]


class BundledWeights(_Entry):
    """Weights that lie in a folder beside the registry file, results.json included."""

    folder: Folder


WEIGHTS_TAGS = ("<published>", "<bundled>")
"""What pydantic adds to the path of an error inside `weights`; no key of a file looks so."""


def _weights_tag(value: Any) -> str:
    bundled = "folder" in value if isinstance(value, dict) else isinstance(value, BundledWeights)
    return WEIGHTS_TAGS[bundled]


Weights = Annotated[
    Annotated[PublishedWeights, Tag(WEIGHTS_TAGS[0])]
    | Annotated[BundledWeights, Tag(WEIGHTS_TAGS[1])],
    Discriminator(_weights_tag),
]


class Variant(_Entry):
    """One trained (or yet untrained) model.

    parts: what to build when there is no model folder whose config.json says it
    files: text files that a new model needs and the package has not, and where each comes from
    recipe: the name of the training recipe, as `zoo train` takes it
    members: names of the models that it is made of, whose scores are averaged; it has no status,
             parts, recipe and weights of its own then
    """

    status: Status | None = None
    license: Line | None = None
    features: Features
    parts: Parts | None = None
    files: dict[FileName, Line] = {}
    recipe: RecipeName | None = None
    members: Annotated[tuple[CardName, ...], Field(min_length=2)] | None = None
    weights: Weights | None = None
    results: Results = Results()

    @model_validator(mode="after")
    def _status_holds(self) -> Self:
        if self.members is not None:
            own = [key for key in ("status", *_OF_ONE) if getattr(self, key)]
            if own:
                raise ValueError(f"a variant with members has no {' or '.join(own)} of its own")
            return self
        problem = _status_problem(self)
        if problem:
            raise ValueError(f"status {self.status!r} {problem}")
        return self


_OF_ONE = ("parts", "files", "recipe", "weights")


def _status_problem(variant: Variant) -> str | None:
    if variant.status is None:
        return "is wanted where there are no members"
    wanted: type = _WEIGHTS_OF.get(variant.status, type(None))
    if not isinstance(variant.weights, wanted):
        return f"needs weights that are {_SAID[wanted]}"
    if variant.weights is not None and variant.license is None:
        return "needs a license"
    if variant.status == "published" and not variant.results.measured:
        return "needs at least one measured result"
    if variant.status == "bundled" and variant.results.measured:
        return "keeps its measured results in the folder's results.json, not here"
    return None


_WEIGHTS_OF: dict[str, type] = {"published": PublishedWeights, "bundled": BundledWeights}
_SAID: dict[type, str] = {
    PublishedWeights: "a repo, a revision and files",
    BundledWeights: "a folder",
    type(None): "null",
}


class Model(_Entry):
    """A method trained for a data set, in one or more variants."""

    method: MethodName
    dataset: DatasetName
    default: VariantName
    variants: Annotated[dict[VariantName, Variant], Field(min_length=1)]

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        if self.default not in self.variants:
            raise ValueError(f"default {self.default!r} is none of {', '.join(self.variants)}")
        return self


class RegistryFile(_Entry):
    """A whole registry file."""

    schema_version: Literal[1]
    methods: dict[MethodName, Method] = {}
    models: dict[ModelName, Model] = {}

    @model_validator(mode="after")
    def _names_tell(self) -> Self:
        for name, model in self.models.items():
            if name != f"{model.method}-{model.dataset}":
                raise ValueError(
                    f"the model {name!r} of method {model.method!r} on {model.dataset!r} must be "
                    f"called {model.method}-{model.dataset}"
                )
        return self

"""Whether the tensors of a file fit a model; where they do not, what is wrong and likely why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..config import ModelConfig

SHOWN = 12
PARTS = ("image_encoder", "text_encoder", "aligner", "extractor")
WRAPPED = "module."
"""What DataParallel puts before each name."""


class Kind(Protocol):
    """What has to fit: the shape, and the dtype as the safetensors format calls it."""

    @property
    def dtype(self) -> str:
        """Such as "F32"."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""

    @property
    def is_floating_point(self) -> bool:
        """Whether it holds numbers with a fraction."""


def misfits(wanted: Mapping[str, Kind], found: Mapping[str, Kind]) -> list[str]:
    """What keeps the found tensors from being the wanted ones, sorted; nothing where all fit.

    Floating point may be of another width; whole numbers have the very dtype.
    """
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is not part of the model" for name in found if name not in wanted]
    for name in wanted.keys() & found.keys():
        want, have = wanted[name], found[name]
        if want.shape != have.shape:
            faults.append(f"{name} is {have.shape}, wanted {want.shape}")
        elif want.dtype != have.dtype and not (want.is_floating_point and have.is_floating_point):
            faults.append(f"{name} holds {have.dtype}, wanted {want.dtype}")
    return sorted(faults)


def shortened(faults: list[str]) -> str:
    """The first dozen of some faults, and how many more there are."""
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(faults[:SHOWN]) + more


def likely_why(
    wanted: Mapping[str, Kind], found: Mapping[str, Kind], config: ModelConfig | None
) -> str:
    """In a sentence or more, what such faults often come from; "" where nothing is known."""
    return " ".join(_reasons(wanted, found, config))


def _reasons(
    wanted: Mapping[str, Kind], found: Mapping[str, Kind], config: ModelConfig | None
) -> Iterator[str]:
    extra, missing = found.keys() - wanted.keys(), wanted.keys() - found.keys()
    if extra and not found.keys() & wanted.keys():
        yield _other_names(wanted, found)
        return
    if any(name.endswith("position_ids") for name in extra):
        yield (
            "position_ids come from an older transformers: they count 0, 1, 2, ... and are no "
            "weights, so leave them out of the file."
        )
    if any(name.endswith((".weight_g", ".weight_v")) for name in extra):
        yield "weight_g and weight_v are of a layer with weight normalisation: fold it first."
    parts = [part for part in PARTS if _all_of(part, wanted) and _all_of(part, wanted) <= missing]
    if parts and not extra:
        yield f"The file has nothing of the {' and the '.join(parts)}: it is of a part of a model."
    yield from _other_sizes(wanted, found, config)


def _other_names(wanted: Mapping[str, Kind], found: Mapping[str, Kind]) -> str:
    """No name of the file is one of the model."""
    bare = {name.removeprefix(WRAPPED) for name in found}
    if bare & wanted.keys():
        return (
            f"Each name begins with {WRAPPED}, as those of a model inside DataParallel: save its "
            "`module`, or take that beginning off the names."
        )
    part = next((part for part in PARTS if {f"{part}.{name}" for name in found} <= {*wanted}), None)
    if part is not None:
        return f"The file is of the {part} alone: its names lack {part!r} before them."
    return (
        "No name is one of this model's: these are weights of another method or another program, "
        "whose checkpoints `zoo import` reads."
    )


def _other_sizes(
    wanted: Mapping[str, Kind], found: Mapping[str, Kind], config: ModelConfig | None
) -> Iterator[str]:
    """Shapes that differ: of a table of words by its rows, else by one size that runs through."""
    changes: Counter[tuple[int, int]] = Counter()
    for name in sorted(wanted.keys() & found.keys()):
        want, have = wanted[name].shape, found[name].shape
        if want == have or len(want) != len(have):
            continue
        if "embed" in name and want[1:] == have[1:]:
            yield (
                f"{name} has a row for each of {have[0]:,} words and the vocabulary {want[0]:,}: "
                "it is another one than these weights were trained with."
            )
        else:
            changes.update({pair for pair in zip(want, have, strict=True) if pair[0] != pair[1]})
    for (size, other), times in changes.most_common(1):
        options = ", ".join(_options_of(config, size))
        if options:
            yield (
                f"The configuration has {options} {size}, and in {times} "
                f"tensor{'s' if times > 1 else ''} of the file it is {other}."
            )


def _options_of(config: ModelConfig | None, value: int) -> Iterator[str]:
    """The options of the parts, by their paths, that have this value."""
    for part in PARTS:
        yield from _paths(getattr(config, part, None), value, part)


def _paths(settings: Any, value: int, path: str) -> Iterator[str]:
    if isinstance(settings, dict):
        for key, one in settings.items():
            yield from _paths(one, value, f"{path}.{key}")
    elif type(settings) is int and settings == value:
        yield path


def _all_of(part: str, names: Mapping[str, Kind]) -> set[str]:
    return {name for name in names if name.startswith(f"{part}.")}

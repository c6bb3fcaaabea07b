"""The README.md of a model folder, made from its config.json and results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..files import write_atomically
from .results import read_results, seeds_of
from .tables import Table, feature_words, result_table

if TYPE_CHECKING:
    from ..config import ModelConfig

FILE = "README.md"
BEGIN = "<!-- by hand: begin (kept when this card is made again) -->"
END = "<!-- by hand: end -->"
EMPTY = "Nothing has been added by hand."
PROVENANCE = (
    "command",
    "seed",
    "selection",
    "ties",
    "dtype",
    "precision",
    "data_fingerprint",
    "model_sha256",
    "code",
    "zoo_version",
    "torch_version",
    "device",
    "date",
    "parameters",
    "training_seconds",
    "trained_on",
    "scoring_seconds",
    "measured_on",
)


def write_card(folder: Path, *, load_as: str | None = None, license: str | None = None) -> Path:
    """Make the folder's README.md anew, keeping what stands between the markers in the old one.

    `load_as` is the name that `zoo.load` takes, by default `local-dir:` and the folder. Raises
    `DataError` when the old card has lost one of its markers, and `WeightsError` for a bad config.
    """
    from ..config import read_config
    from ..saving import CONFIG
    from ..weights import read_text

    config = read_config(read_text(folder / CONFIG), str(folder / CONFIG))
    path = folder / FILE
    notes = hand_written(path.read_text(encoding="utf-8"), path) if path.is_file() else EMPTY
    card = model_card(
        config,
        read_results(folder),
        load_as=load_as or f"local-dir:{folder.name}",
        license=license,
        notes=notes,
    )
    write_atomically(path, card.encode())
    return path


def model_card(
    config: ModelConfig,
    results: Sequence[Mapping[str, Any]],
    *,
    load_as: str,
    license: str | None = None,
    notes: str = EMPTY,
) -> str:
    """The whole card: front matter for the Hub, use, what the model is, results, notes by hand."""
    parts = (
        _front_matter(config, results, license),
        f"# {config.name}",
        f"An image-text matching model of the method **{config.method}**, for `itm-zoo`.",
        _usage(load_as, reads_photographs=config.extractor is not None),
        f"{BEGIN}\n{notes}\n{END}",
        f"## What it is made of\n\n{_parts(config).to_markdown()}",
        _results(results),
    )
    return "\n\n".join(parts) + "\n"


def hand_written(card: str, path: Path) -> str:
    r"""What stands between the markers of a card.

    >>> hand_written(f"# chan-f8k\n{BEGIN}\nTrained twice.\n{END}\n", Path("README.md"))
    'Trained twice.'
    """
    _, begin, rest = card.partition(BEGIN)
    notes, end, _ = rest.partition(END)
    if not begin or not end:
        raise DataError(
            f"{path} lacks the line {(END if begin else BEGIN)!r}, so text written by hand cannot "
            "be told from the rest. Put the line back, or move the file away to make a new one."
        )
    return notes.strip("\n")


def _front_matter(
    config: ModelConfig, results: Sequence[Mapping[str, Any]], license: str | None
) -> str:
    datasets = sorted({str(result["dataset"]) for result in results})
    lines = ["---", "library_name: itm-zoo"]
    lines += [f"license: {license.lower()}"] if license else []
    lines += ["tags:", "- image-text-matching", "- image-text-retrieval", f"- {config.method}"]
    lines += ["datasets:", *(f"- {name}" for name in datasets)] if datasets else []
    return "\n".join([*lines, "metrics:", "- recall", "---"])


def _usage(load_as: str, *, reads_photographs: bool) -> str:
    images = '["beach.jpg", "street.jpg"]' if reads_photographs else "features"
    comment = "file paths or PIL images" if reads_photographs else "(images, regions, dim)"
    return f"""```python
import zoo

model = zoo.load("{load_as}")
images = model.encode_images({images})  # {comment}
texts = model.encode_texts(["a dog runs on the beach", "a street at night"])
print(model.score(images, texts))  # (images, texts), higher is better
```"""


def _parts(config: ModelConfig) -> Table:
    rows = [("features", feature_words(config.features))]
    for part in ("extractor", "image_encoder", "text_encoder", "aligner"):
        settings: Mapping[str, Any] | None = getattr(config, part)
        if settings is not None:
            rows.append((part.replace("_", " "), _settings(settings)))
    if config.plugin is not None:
        plugin = config.plugin
        rows.append(("plugin", f"{plugin.name} ({plugin.distribution} {plugin.version})"))
    return Table("", ("part", "settings"), rows)


def _settings(settings: Mapping[str, Any]) -> str:
    named = [f"{key} {_value(value)}" for key, value in settings.items() if key != "type"]
    return ", ".join([f"`{settings['type']}`", *named] if "type" in settings else named)


def _value(value: Any) -> str:
    return f"({_settings(value)})" if isinstance(value, dict) else str(value)


def _results(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return "## Measured results\n\nNone yet: `zoo evaluate FOLDER --data PATH --save-results`."
    several = len(seeds_of(results)) > 1
    parts = ["## Measured results", result_table("", results).to_markdown()]
    for result in results:
        known = [(key.replace("_", " "), str(result[key])) for key in PROVENANCE if result.get(key)]
        seed = f" (seed {result.get('seed')})" if several else ""
        title = f"How {result['dataset']} {result['split']} was measured{seed}"
        parts.append(f"{title}:\n\n{Table('', ('', ''), known).to_markdown()}")
    return "\n\n".join(parts)

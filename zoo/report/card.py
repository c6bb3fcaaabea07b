"""The README.md of a model folder, made from its config.json and results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..files import write_atomically
from .model_index import model_index
from .results import own_among, paper_results, read_results, seeds_of
from .tables import Table, feature_words, result_table

if TYPE_CHECKING:
    from ..catalogue.schema import Method
    from ..config import ModelConfig

FILE = "README.md"
BEGIN = "<!-- by hand: begin (kept when this card is made again) -->"
END = "<!-- by hand: end -->"
EMPTY = "Nothing has been added by hand."
PROVENANCE = (
    "command",
    "seed",
    "selection",
    "parent",
    "changes",
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


@dataclass(frozen=True)
class About:
    """What a card tells of a model that its folder does not say.

    load_as:    the name that `zoo.load` takes
    license:    under which the model may be used, as its owner said
    notes:      what was written by hand
    own:        those of the results that were measured of these weights; None takes all
    method:     what the registry says of the method
    paper:      what the paper reports of this model
    boxes:      whether its features must have boxes, as far as that is known
    departures: from the paper, as the method's own page lists them; empty refers to that page
    """

    load_as: str
    license: str | None = None
    notes: str = EMPTY
    own: Sequence[Mapping[str, Any]] | None = None
    method: Method | None = None
    paper: Sequence[Mapping[str, Any]] = ()
    boxes: bool | None = None
    departures: str = ""


def write_card(folder: Path, *, load_as: str | None = None, license: str | None = None) -> Path:
    """Make the folder's README.md anew, keeping what stands between the markers in the old one.

    `load_as` is the name that `zoo.load` takes, by default `local-dir:` and the folder; the
    `license` is by default the old card's. Raises `DataError` when the old card has lost one of its
    markers, and `WeightsError` for a bad config or a card that is no text.
    """
    path = folder / FILE
    write_atomically(path, folder_card(folder, load_as=load_as, license=license).encode())
    return path


def folder_card(folder: Path, *, load_as: str | None = None, license: str | None = None) -> str:
    """The card that a folder should have; see `write_card`."""
    from ..model_folders.folder import read_folder_config, read_text

    config, results, path = read_folder_config(folder), read_results(folder), folder / FILE
    old = read_text(path) if path.is_file() else None
    told = about(
        config,
        load_as=load_as or f"local-dir:{folder.name}",
        license=license or license_in(old or ""),
        notes=EMPTY if old is None else hand_written(old, path),
        own=own_among(folder, results),
    )
    return model_card(config, results, told)


def about(config: ModelConfig, **known: Any) -> About:
    """What the registry says of a model of that name and method, and what else is known."""
    from ..plugins.discovery import discover

    registry = discover().registry
    card = registry.find(config.name) if config.name in registry.names() else None
    found = {
        "method": registry.methods.get(config.method),
        "paper": paper_results(card) if card else (),
        "boxes": card.features.boxes if card else None,
    }
    return About(**{**found, **known})


def model_card(config: ModelConfig, results: Sequence[Mapping[str, Any]], about: About) -> str:
    """The whole card: front matter for the Hub, use, what the model is, results, notes by hand."""
    own = results if about.own is None else about.own
    parts = (
        _front_matter(config, own, about.license),
        f"# {config.name}",
        f"An image-text matching model of the method **{config.method}**, for `itm-zoo`.",
        _method(about.method),
        _usage(about.load_as, reads_photographs=config.extractor is not None),
        _features(config, about.boxes),
        f"{BEGIN}\n{about.notes}\n{END}",
        f"## What it is made of\n\n{_parts(config).to_markdown()}",
        _results(results),
        _paper(about.paper),
        _departures(config, about.departures),
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def license_in(card: str) -> str | None:
    r"""The license in a card's front matter.

    >>> license_in("---\nlicense: apache-2.0\n---\n")
    'apache-2.0'
    """
    import yaml

    try:
        front = yaml.safe_load(card.split("\n---", 1)[0]) if card.startswith("---\n") else None
    except yaml.YAMLError:
        return None
    found = front.get("license") if isinstance(front, dict) else None
    return found if isinstance(found, str) else None


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
    import yaml

    datasets = sorted({str(result["dataset"]) for result in results})
    front = {
        "library_name": "itm-zoo",
        "license": license.lower() if license else None,
        "tags": ["image-text-matching", "image-text-retrieval", config.method],
        "datasets": datasets,
        "metrics": ["recall"],
        "model-index": model_index(config.name, results),
    }
    known = {key: value for key, value in front.items() if value}
    return f"---\n{yaml.safe_dump(known, sort_keys=False, width=1000)}---"


def _method(method: Method | None) -> str:
    """Who published the method, and where."""
    if method is None:
        return ""
    links = {"paper": method.paper, "released code": method.reference_code}
    there = ", ".join(f"[{name}]({link})" for name, link in links.items() if link)
    by = ". ".join(part for part in (method.title, method.authors, method.venue) if part)
    own = f" {method.note}" if method.reconstruction and method.note else ""
    return f"Method: {by}{f' ({there})' if there else ''}.{own}"


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


def _features(config: ModelConfig, boxes: bool | None) -> str:
    """What a model reads that cannot read photographs."""
    if config.extractor is not None:
        return ""
    needs = {True: ", with their boxes", False: "; boxes are not needed", None: ""}[boxes]
    return (
        f"It reads {config.features.kind} features: {config.features.regions} regions of "
        f"{config.features.dim} numbers an image{needs}."
    )


def _parts(config: ModelConfig) -> Table:
    rows = [("features", feature_words(config.features))]
    for part in ("extractor", "image_encoder", "text_encoder", "aligner"):
        settings: Mapping[str, Any] | None = getattr(config, part)
        if settings is not None:
            rows.append((part.replace("_", " "), _settings(settings)))
    if config.plugin is not None:
        plugin = config.plugin
        rows.append(("plugin", f"{plugin.name} ({plugin.distribution} {plugin.version})"))
    for member in config.members or ():
        rows.append(("mean of the scores of", f"{member.name} (weights {member.sha256})"))
    if config.parent is not None:
        parent = config.parent
        rows.append(("trained on from", f"{parent.name} (weights {parent.sha256})"))
    if config.source is not None:
        source = config.source
        rows.append(("imported from", f"{source.file} ({source.size:,} bytes, {source.sha256})"))
    return Table("", ("part", "settings"), rows)


def _settings(settings: Mapping[str, Any]) -> str:
    named = [f"{key} {_value(value)}" for key, value in settings.items() if key != "type"]
    return ", ".join([f"`{settings['type']}`", *named] if "type" in settings else named)


def _value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return f"({'; '.join(map(_settings, value))})"
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


def _paper(results: Sequence[Mapping[str, Any]]) -> str:
    if not results:
        return ""
    told = "Figures of the paper's own model, for comparison; they are not of these weights."
    return f"## What the paper reports\n\n{told}\n\n{result_table('', results).to_markdown()}"


def _departures(config: ModelConfig, departures: str) -> str:
    provider = config.plugin.name if config.plugin else config.method
    page = (
        "Where the method departs from its paper, and what the paper leaves open, is told by the "
        f"page of the plugin {provider}."
    )
    return f"## Departures\n\n{departures or page}"

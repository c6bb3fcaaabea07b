"""A page for each model of the registry, and the table of all, which can be filtered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zoo.catalogue.cards import Card
from zoo.catalogue.registry import shipped_registry
from zoo.report.card import PROVENANCE
from zoo.report.model_index import DATASETS
from zoo.report.results import measured_results, own_among, paper_results
from zoo.report.tables import Table, feature_words, result_table

READERS = {"bert": "BERT", "bigru": "BiGRU"}
PROTOCOLS = {"coco": ("testall", "coco-5k"), "f30k": ("test", "f30k-1k"), "f8k": ("test", "f8k")}


def pages() -> dict[str, str]:
    """The table of all models, and their pages."""
    cards = list(shipped_registry().cards())
    own = {f"models/{card.name}.md": _joined(_page(card)) for card in cards}
    return {"models/index.md": _joined(_index(cards)), **own}


def _joined(parts: Iterator[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _index(cards: Sequence[Card]) -> Iterator[str]:
    yield "# All models"
    yield (
        "One row a model; its page says how to load, train and evaluate it, and where its figures "
        "come from. **rsum measured** is ours, of the weights that lie in the repository, on the "
        "test split. **rsum in the paper** is what its authors print. "
        "They are never of the same weights."
    )
    headers = ("model", "method", "data set", "words", "regions", "status")
    sums = ("rsum measured", "rsum in the paper")
    rows = [
        (
            f"[{card.name}]({card.name}.md)",
            f"[{card.method}](../methods/{card.method}.md)",
            DATASETS[card.dataset],
            words(card),
            feature_words(card.features),
            card.status,
            _rsums(own_results(card), "test"),
            _rsums(paper_results(card), ""),
        )
        for card in cards
    ]
    table = Table("", (*headers, *sums), rows, sums).to_markdown()
    yield f"```{{table}}\n:class: models\n\n{table}\n```"
    yield (
        "**bundled**: the weights lie in the repository; those of chan-f8k come with the package. "
        "**unpublished**: method and recipe are there, weights are not."
    )
    names = "\n".join(card.name for card in cards)
    yield f"```{{toctree}}\n:hidden:\n\n{names}\n```"


def words(card: Card) -> str:
    """What reads its captions: BERT, BiGRU, or the name of the component."""
    if card.members:
        return words(shipped_registry().find(card.members[0]))
    types = list(_types(_config(card)["text_encoder"]))
    return next((READERS[one] for one in types if one in READERS), types[0])


def own_results(card: Card) -> list[dict[str, Any]]:
    """What was measured of the weights that lie in the folder."""
    rows = measured_results(card)
    return own_among(card.folder, rows) if card.folder else rows


def _types(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        yield from (str(part["type"]) for _ in [0] if "type" in part)
        for value in part.values():
            yield from _types(value)


def _config(card: Card) -> dict[str, Any]:
    if card.folder is not None:
        return dict(json.loads((card.folder / "config.json").read_text(encoding="utf-8")))
    return card.config or {}


def _rsums(rows: Sequence[Mapping[str, Any]], split: str) -> str:
    found = [row for row in rows if str(row["split"]).startswith(split)]
    several = len(found) > 1
    return "\n".join(
        f"{row['metrics']['rsum']:.1f}{' (' + row['protocol'] + ')' if several else ''}"
        for row in found
    )


def _page(card: Card) -> Iterator[str]:
    method = shipped_registry().methods[card.method]
    yield f"# {card.name}"
    yield f"{method.title}. {method.authors}. {method.venue}."
    yield f"*{method.note}*" if method.note else ""
    yield _facts(card).to_markdown()
    yield from _use(card)
    yield from _measured(card)
    yield from _reported(card)
    yield from _origin(card)


def _facts(card: Card) -> Table:
    links = {"paper": card.paper, "released code": card.reference_code}
    papers = ", ".join(f"[{name}]({place})" for name, place in links.items() if place)
    facts = {
        "method": f"[{card.method}](../methods/{card.method}.md)",
        "its source": papers,
        "data set": DATASETS[card.dataset],
        "reads": feature_words(card.features) + (" with boxes" if card.features.boxes else ""),
        "words": words(card),
        "status": card.status,
        "licence of the weights": card.license or "",
        "recipe": f"`{card.recipe}`" if card.recipe else "",
        "mean of": ", ".join(f"[{one}]({one}.md)" for one in card.members),
    }
    return Table("", ("", ""), [(name, value) for name, value in facts.items() if value])


def _use(card: Card) -> Iterator[str]:
    split, protocol = PROTOCOLS[card.dataset]
    asked = f"--data DATA --split {split} --protocol {protocol}"
    yield "## Use it"
    if card.folder is None:
        yield card.how_to_get
    else:
        call = f'"{card.name}"' if card.name == "chan-f8k" else f'"local-dir:weights/{card.name}"'
        where = "" if card.name == "chan-f8k" else "In a clone of the repository:\n\n"
        yield f"{where}```python\nimport zoo\n\nmodel = zoo.load({call})\n```"
    lines = [f"zoo info {card.name}"]
    if card.recipe:
        lines.append(f"zoo train {card.recipe} --data DATA --work-dir RUN")
        lines.append(f"zoo evaluate local-dir:RUN/model {asked}")
    elif card.members:
        lines.append(f"zoo evaluate {card.name} {asked}   # once its members have weights")
    if card.folder is not None:
        lines.append(f"zoo evaluate {card.name} {asked}   # measures the figures below again")
    yield "\n".join(["```sh", *lines, "```"])


def _measured(card: Card) -> Iterator[str]:
    rows = measured_results(card)
    yield "## Measured by us"
    if not rows:
        yield "Nothing was measured yet."
        return
    yield result_table("", rows).to_markdown()
    if card.folder and len(own_results(card)) < len(rows):
        seeds = sorted({row["seed"] for row in own_results(card)})
        yield (
            f"The weights in the folder are those of seed {', '.join(map(str, seeds))}; "
            "the other rows are runs of the same recipe with other seeds."
        )
    yield from (_provenance(row) for row in own_results(card))


def _provenance(row: Mapping[str, Any]) -> str:
    """How a figure was measured, folded away."""
    known = [(key.replace("_", " "), f"`{row[key]}`") for key in PROVENANCE if row.get(key)]
    table = Table("", ("", ""), known).to_markdown()
    title = f"How {DATASETS[row['dataset']]} {row['split']} was measured"
    return f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"


def _reported(card: Card) -> Iterator[str]:
    rows = paper_results(card)
    yield "## Reported by its paper"
    if not rows:
        said = "No table of its results could be had." if card.reconstruction else "None known."
        yield f"{said} Nothing was copied here." if card.reconstruction else said
        return
    yield "Copied from the source that stands beside each row. None of it was measured here."
    yield result_table("", rows).to_markdown()


def _origin(card: Card) -> Iterator[str]:
    parts = {key: value for key, value in _config(card).items() if key in _PARTS and value}
    if parts:
        yield "## What it is made of"
        yield f"```json\n{json.dumps(parts, indent=2)}\n```"
    yield "## Licence and origin"
    if card.folder is None:
        yield (
            "No weights of ours exist, so there is no licence of them. The code is Apache-2.0, "
            "written anew; no code or weights of other projects are part of it."
        )
        return
    yield from _notes(card)
    yield f"The weights are under {card.license}, and lie in `weights/{card.name}/`."


_PARTS = ("features", "extractor", "image_encoder", "text_encoder", "aligner", "scoring")


def _notes(card: Card) -> Iterator[str]:
    """What stands on the folder's own card, written by hand."""
    from zoo.report.card import hand_written

    path = card.folder / "README.md" if card.folder else None
    if path is not None and path.is_file():
        yield hand_written(path.read_text(encoding="utf-8"), path)

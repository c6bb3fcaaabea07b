"""What a card says: of a model's results to the Hub, of the paper's only to its readers."""

from __future__ import annotations

import pytest
import yaml

import zoo
from test_report import METRICS, ROW
from tiny import tiny_config, tiny_model
from zoo.config import Features, Provider, Source
from zoo.files import sha256
from zoo.model_folders.folder import WEIGHTS
from zoo.model_folders.joining import join_folders
from zoo.plugins.discovery import discover
from zoo.publishing.departures import departures_of
from zoo.report.card import About, about, license_in, model_card, write_card
from zoo.report.results import add_result

BUILT_IN = [record.name for record in discover().records if record.distribution == "itm-zoo"]


def front_matter(card: str) -> dict:
    """The data before a card's text."""
    return yaml.safe_load(card.split("---\n")[1])


def test_the_hub_s_own_reader_finds_each_figure_that_was_measured():
    """With its data set, split and protocol, and none is lost or merged with another."""
    from huggingface_hub import ModelCardData
    from huggingface_hub.repocard_data import model_index_to_eval_results

    rows = [ROW, {**ROW, "split": "dev"}, {**ROW, "protocol": "5k"}]
    front = front_matter(model_card(tiny_config(), rows, About("x")))
    name, found = model_index_to_eval_results(front["model-index"])
    figures = {
        (one.dataset_split, one.dataset_config, one.metric_name): one.metric_value for one in found
    }

    assert name == "chan-tiny"
    assert len(found) == len(figures) == 3 * 7
    assert figures["test", "1k", "images for a text R@10"] == METRICS["t2i_r10"]
    assert figures["dev", "1k", "rsum"] == METRICS["rsum"]
    again = ModelCardData(**front).to_dict()["model-index"]
    assert sum(len(one["metrics"]) for one in again[0]["results"]) == 3 * 7


def test_figures_of_the_paper_are_told_and_not_counted():
    """The Hub would show them as the model's."""
    config = tiny_config(name="chan-f30k")
    card = model_card(config, [ROW], about(config, load_as="x"))
    paper = zoo.info("chan-f30k").results.paper[0]

    assert f"{paper.rsum:.1f}" in card.split("## What the paper reports")[1]
    assert str(paper.rsum) not in card.split("\n---")[0]
    assert "model-index" not in front_matter(model_card(config, [], about(config, load_as="x")))


def test_results_of_other_seeds_are_shown_and_not_counted(tmp_path):
    """They are of other weights."""
    folder = tiny_model().save(tmp_path / "model")
    own = sha256(folder / "model.safetensors")
    add_result(folder, {**ROW, "model_sha256": own})
    add_result(folder, {**ROW, "seed": 8, "model_sha256": "b" * 64})
    card = write_card(folder).read_text()

    assert len(front_matter(card)["model-index"][0]["results"]) == 1
    assert card.count("| flickr8k | test |") == 2


def test_a_license_stays_until_another_is_given(tmp_path):
    """A card is made again at each measurement, where nobody is asked for it."""
    folder = tiny_model().save(tmp_path / "model")
    assert license_in(write_card(folder).read_text()) is None
    assert license_in(write_card(folder, license="CC-BY-4.0").read_text()) == "cc-by-4.0"
    assert license_in(write_card(folder).read_text()) == "cc-by-4.0"
    assert license_in(write_card(folder, license="MIT").read_text()) == "mit"


@pytest.mark.parametrize(
    ("line", "license"),
    [
        ("license: 'mit'  # as they said", "mit"),
        ("license: null", None),
        ("license:", None),
        ("text: |\n  license: mit", None),
        ("license: [", None),
    ],
)
def test_a_license_is_read_as_the_hub_reads_it(line, license):
    """The front matter is YAML: quotes and comments are none of it, and null is no license."""
    assert license_in(f"---\n{line}\n---\n# A card\n") == license


def test_a_card_tells_the_method_and_what_the_model_reads():
    """With links to the paper and its code; a method of one's own has none."""
    config = tiny_config(
        name="tvrn-f30k", method="tvrn", features=Features(kind="butd", regions=36, dim=2048)
    )
    card = model_card(config, [], about(config, load_as="x"))

    assert "S. Pang, Y. Zeng, J. Zhao, J. Xue. IEEE TMM 26, 2024 ([released code](" in card
    assert "butd features: 36 regions of 2048 numbers an image, with their boxes." in card
    own = tiny_config(method="mine")
    assert "Method:" not in model_card(own, [], about(own, load_as="x"))


def test_a_reconstruction_is_called_one():
    """In the words of the registry."""
    config = tiny_config(method="mfa")
    assert "no number of these models is the paper's" in model_card(
        config, [], about(config, load_as="x")
    )


def test_an_imported_model_names_its_checkpoint():
    """By name, size and content."""
    source = Source(file="model_best.pth", sha256="e" * 64, size=12345)
    card = model_card(tiny_config(source=source), [], About("x"))
    assert f"| imported from | model_best.pth (12,345 bytes, {'e' * 64}) |" in card


def test_a_model_of_several_names_them(tmp_path):
    """And the parts of each."""
    folders = [tiny_model(name=name).save(tmp_path / name) for name in ("chan-a", "chan-b")]
    card = write_card(join_folders(folders, tmp_path / "both", "chan-both")).read_text()

    assert f"| mean of the scores of | chan-b (weights {sha256(folders[1] / WEIGHTS)}) |" in card
    assert "| aligner | `mean`, members (`hard_alignment`; `hard_alignment`) |" in card


@pytest.mark.parametrize("plugin", BUILT_IN)
def test_the_departures_of_each_method_stand_on_its_page(plugin):
    """As a table, whose links do not lead nowhere."""
    provider = Provider(name=plugin, distribution="itm-zoo", version="0", api="1.0")
    departures = departures_of(tiny_config(plugin=provider))

    assert departures.startswith("|") or "\n| " in departures
    assert "](../" not in departures
    assert f"## Departures\n\n{departures}" in model_card(
        tiny_config(), [], About("x", departures=departures)
    )


def test_without_such_a_page_the_card_says_where_to_look():
    """A plugin of one's own may have none."""
    config = tiny_config(plugin=None)
    assert departures_of(config) == ""
    assert "is told by the page of the plugin chan." in model_card(config, [], About("x"))

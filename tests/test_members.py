"""A joined model averages the scores of its members, and is a model like others."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from test_contract import METHODS
from tiny import FEATURES, tiny_config, tiny_model
from zoo.config import Features, Scoring
from zoo.data.vocabulary import Vocabulary
from zoo.errors import InputError, WeightsError
from zoo.files import sha256
from zoo.loading.weights import load_folder
from zoo.model import build_model
from zoo.model_folders import joining
from zoo.model_folders.joining import MemberFiles, join_folders, joined_parts
from zoo.testing.samples import CAPTIONS

OTHER_WORDS = ["a dog runs on the green grass", "one more word that the others have not"]


def other_model(vocabulary=OTHER_WORDS, **changes):
    """Another pooling, other weights and, unless told otherwise, another vocabulary."""
    torch.manual_seed(5)
    changes = {"aligner": {"type": "hard_alignment", "pooling": "mean"}, **changes}
    files = {"vocab.json": Vocabulary.build(vocabulary, 1).to_json()}
    return build_model(tiny_config(name="chan-other", **changes), files).eval()


@pytest.fixture
def folders(tmp_path):
    """Two saved models."""
    return [tiny_model().save(tmp_path / "one"), other_model().save(tmp_path / "two")]


def images(count=3):
    """Random features."""
    return torch.randn(count, 5, FEATURES, generator=torch.Generator().manual_seed(1))


def scores_of(model, texts=tuple(CAPTIONS)):
    """Three images against the captions."""
    return model.score(model.encode_images(images()), model.encode_texts(list(texts)))


def test_the_scores_are_the_mean_of_the_members_scores(folders, tmp_path):
    """Each member with its own words, weights and pooling, also where one stands alone."""
    joined = load_folder(join_folders(folders, tmp_path / "joined", "chan-both"))
    one, other = map(load_folder, folders)

    assert joined.config.name == "chan-both"
    assert_close(scores_of(joined), (scores_of(one) + scores_of(other)) / 2)
    assert_close(
        scores_of(joined, ["a dog"]), (scores_of(one, ["a dog"]) + scores_of(other, ["a dog"])) / 2
    )
    assert not torch.allclose(scores_of(one), scores_of(other), atol=0.01)


def test_three_members_of_several_methods_can_be_joined(tmp_path):
    """Their records and their losses have nothing in common."""
    makers = [METHODS[name] for name in ("chan-vha-lse", "shan-scalar-gates", "mfa-bert")]
    models, folders = [], []
    for number, maker in enumerate(makers):
        model = build_model(
            tiny_config(
                name=f"number-{number}",
                method=("chan", "shan", "mfa")[number],
                plugin=None,
                image_encoder=maker.image_encoder,
                text_encoder=maker.text_encoder,
                aligner=maker.aligner,
            ),
            maker.subject("member").model().text_encoder.files(),
        ).eval()
        models.append(model)
        folders.append(model.save(tmp_path / str(number)))
    joined = load_folder(join_folders(folders, tmp_path / "joined", "all"))

    assert joined.config.method == "chan+shan+mfa"
    assert_close(scores_of(joined), torch.stack([scores_of(one) for one in models]).mean(0))


def test_a_joined_model_is_saved_and_joined_like_any_other(folders, tmp_path):
    """Again and again: what counts is the mean at each level."""
    joined = load_folder(join_folders(folders, tmp_path / "joined", "chan-both"))
    again = load_folder(joined.save(tmp_path / "again"))
    nested = load_folder(
        join_folders([tmp_path / "again", folders[0]], tmp_path / "nested", "more")
    )

    assert_close(scores_of(again), scores_of(joined))
    assert_close(
        scores_of(nested), 0.75 * scores_of(tiny_model()) + 0.25 * scores_of(other_model())
    )


def test_each_member_s_text_files_are_told_apart(folders, tmp_path):
    """By the number of the member, also where members are joined ones; results stay behind."""
    (folders[0] / "results.json").write_text("{}")
    joined = join_folders(folders, tmp_path / "joined", "both")
    nested = join_folders([folders[0], joined], tmp_path / "nested", "more")

    assert texts_in(joined) == {"0.vocab.json", "1.vocab.json"}
    assert texts_in(nested) == {"0.vocab.json", "1.0.vocab.json", "1.1.vocab.json"}
    assert texts_in(load_folder(nested).save(tmp_path / "again")) == texts_in(nested)


def texts_in(folder):
    """Names of the files but for the two that each model has."""
    return {path.name for path in folder.iterdir()} - {"config.json", "model.safetensors"}


def test_a_member_s_files_are_its_own_or_those_of_all():
    """Random weights begin with one vocabulary for every member."""
    files = {"vocab.json": "for all", "1.vocab.json": "second"}

    assert [MemberFiles(files, number)["vocab.json"] for number in range(3)] == [
        "for all",
        "second",
        "for all",
    ]
    assert "vocab.txt" not in MemberFiles(files, 1)
    with pytest.raises(KeyError):
        MemberFiles(files, 1)["vocab.txt"]


def test_the_configuration_names_the_members_and_their_weights(folders, tmp_path):
    """So that results can be traced to them."""
    config = json.loads(
        (join_folders(folders, tmp_path / "joined", "both") / "config.json").read_text()
    )

    assert [one["name"] for one in config["members"]] == ["chan-tiny", "chan-other"]
    assert config["members"][0]["sha256"] == sha256(folders[0] / "model.safetensors")
    assert config["method"] == "chan"
    assert config["plugin"]["name"] == "chan"
    assert "members" not in json.loads((folders[0] / "config.json").read_text())


def test_the_smallest_block_of_the_members_is_scored_at_once(tmp_path):
    """For it was measured to be what memory allows."""
    blocks = [Scoring(image_block=64, text_block=256), Scoring(image_block=128, text_block=32)]
    folders = [
        tiny_model(scoring=block).save(tmp_path / str(number))
        for number, block in enumerate(blocks)
    ]
    joined = load_folder(join_folders(folders, tmp_path / "joined", "both"))

    assert (joined.image_block, joined.text_block) == (64, 32)


def test_models_of_other_features_are_not_joined(folders, tmp_path):
    """No image could be given to both."""
    other = other_model(features=Features(kind="other", regions=5, dim=FEATURES))
    other.save(tmp_path / "other")

    with pytest.raises(InputError, match=r"differ in their features .*zoo ensemble MODEL MODEL"):
        join_folders([folders[0], tmp_path / "other"], tmp_path / "joined", "both")
    assert not (tmp_path / "joined").exists()


def test_one_model_is_no_joined_one(folders, tmp_path):
    """Two at least."""
    with pytest.raises(InputError, match="at least two members"):
        join_folders(folders[:1], tmp_path / "joined", "one")


def test_members_read_photographs_by_one_extractor(model_folder, tmp_path):
    """Of the same weights; it is stored once."""
    twice = join_folders([model_folder, model_folder], tmp_path / "twice", "both")
    names = load_file(twice / "model.safetensors").keys()
    assert {name for name in names if name.startswith("extractor.")} == {
        name for name in load_file(model_folder / "model.safetensors") if "extractor." in name
    }

    other = load_folder(model_folder).save(tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    name = next(name for name in tensors if name.startswith("extractor."))
    save_file(tensors | {name: tensors[name] + 1}, other / "model.safetensors")
    with pytest.raises(InputError, match="read photographs by extractors with other weights"):
        join_folders([model_folder, other], tmp_path / "joined", "both")


def test_a_joined_model_is_evaluated_by_the_commands(model_folder, data_folder, tmp_path, run):
    """From photographs, with a record in its folder like any model's."""
    joined = join_folders([model_folder, model_folder], tmp_path / "joined", "both")
    status, _, told = run("evaluate", joined, "--data", data_folder, "--save-results")
    assert status == 0, told

    alone = tmp_path / "alone.json"
    assert run("evaluate", model_folder, "--data", data_folder, "--json", alone)[0] == 0
    row = json.loads((joined / "results.json").read_text())["results"][0]
    assert row["metrics"] == json.loads(alone.read_text())["metrics"]
    assert row["model_sha256"] == sha256(joined / "model.safetensors")
    assert "`mean`" in (joined / "README.md").read_text()


@pytest.mark.parametrize("members", [None, [], [{"type": "bigru"}], "ab"])
def test_a_configuration_with_too_few_members_is_refused(folders, tmp_path, members):
    """In words."""
    joined = join_folders(folders, tmp_path / "joined", "both")
    config = json.loads((joined / "config.json").read_text())
    config["text_encoder"]["members"] = members
    (joined / "config.json").write_text(json.dumps(config))

    with pytest.raises(WeightsError, match="list of two or more is wanted"):
        load_folder(joined)


def test_a_member_is_never_replaced_by_what_it_is_joined_into(folders, tmp_path):
    """Nor what lies above it."""
    for place in (folders[0], tmp_path / "none" / ".." / "two"):
        with pytest.raises(InputError, match="would be replaced by the joined model"):
            join_folders(folders, place, "both")
    assert_close(scores_of(load_folder(folders[0])), scores_of(tiny_model()))


def test_what_cannot_be_written_is_not_called_unreadable(folders, monkeypatch):
    """The members' files are open then, and there is nothing wrong with them."""

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zoo.model_folders.folder.tempfile.mkdtemp", full)
    with pytest.raises(OSError, match="No space left on device"):
        join_folders(folders, folders[0].with_name("joined"), "both")


def test_a_member_that_is_replaced_meanwhile_stops_the_joining(folders, tmp_path, monkeypatch):
    """Its old configuration and its new weights would be joined."""
    texts = joining._texts

    def replaced(given):
        tiny_model().save(folders[1])
        return texts(given)

    monkeypatch.setattr(joining, "_texts", replaced)
    with pytest.raises(WeightsError, match=r"two was written to while .* was read\. Load it again"):
        join_folders(folders, tmp_path / "joined", "both")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one", "two"]


def test_a_damaged_member_stops_the_joining(folders, tmp_path):
    """And leaves what was there."""
    path = folders[1] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-3])

    with pytest.raises(WeightsError, match=r"two/model\.safetensors is not a readable"):
        join_folders(folders, tmp_path / "joined", "both")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one", "two"]


def test_a_gradient_reaches_each_member(folders, tmp_path):
    """It could be trained on."""
    joined = load_folder(join_folders(folders, tmp_path / "joined", "both"))
    prepared = joined.prepare_images(images()), joined.text_encoder.prepare(CAPTIONS)
    joined(*prepared).scores.sum().backward()

    for name, parameter in joined.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_parts_of_a_registry_are_joined_without_blocks_too():
    """A card says them only where they are not the usual ones."""
    one = {"image_encoder": {}, "text_encoder": {}, "aligner": {}, "features": {}}

    assert "scoring" not in joined_parts([one, one])
    assert joined_parts([one, one])["aligner"] == {"type": "mean", "members": [{}, {}]}

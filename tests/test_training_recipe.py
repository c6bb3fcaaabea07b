"""Recipes: found by name or path, checked key by key, changed by `key=value`."""

from __future__ import annotations

import pytest

import toy_matching as toy

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

from zoo.errors import InputError
from zoo.training import recipe as recipes
from zoo.training.recipe import differences, find_recipe, list_recipes, read_recipe


@pytest.fixture
def path(tmp_path):
    """The toy recipe as a file."""
    return toy.write_recipe(tmp_path)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seed=3", "seed", 3),
        ("train_cfg.max_epochs = 9", "train_cfg.max_epochs", 9),
        ("optim_wrapper.optimizer.lr=1e-4", "optim_wrapper.optimizer.lr", 1e-4),
        ("optim_wrapper.optimizer.type=SGD", "optim_wrapper.optimizer.type", "SGD"),
        ("data.drop_last=false", "data.drop_last", False),
        ("data.dev=None", "data.dev", None),
        ("initial_weights.extractor=/a/b.npz", "initial_weights.extractor", "/a/b.npz"),
        ("autocast=['model.x']", "autocast", ["model.x"]),
    ],
)
def test_an_override_is_read_as_a_value(path, override, key, value):
    """A value is a Python literal where it is one, else a string."""
    assert recipes.flatten(read_recipe(path, [override]).settings)[key] == value


def test_an_override_reaches_into_lists(path):
    """A number in a dotted name is a position in a list."""
    settings = read_recipe(path, ["param_scheduler.1.T_max=5"]).settings
    assert [one.get("T_max") for one in settings["param_scheduler"]] == [None, 5]


def test_overrides_may_be_a_mapping(path):
    """From Python, values need no parsing."""
    assert read_recipe(path, {"loss.margin": 0.5})["loss"]["margin"] == 0.5


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.batchsize=3", "Did you mean 'data.batch_size'"),
        ("optim_wraper.optimizer.lr=1", "Did you mean 'optim_wrapper'"),
        ("optim_wrapper.optimizer.learning=1", "has no 'learning'"),
        ("param_scheduler.7.end=1", "Did you mean 'param_scheduler.1' or 'param_scheduler.0'"),
        ("vocabulary.minimum_count=4", "vocabulary is None and has no parts"),
        ("seed", "not of the form key=value"),
    ],
)
def test_a_mistyped_override_is_refused_with_the_nearest(path, override, said):
    """No override is silently without effect."""
    with pytest.raises(InputError) as raised:
        read_recipe(path, [override])
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("averge = None", "Did you mean 'average'"),
        ("data = dict(batchsize=3)", "Did you mean 'batch_size'"),
        ("this is no Python", "cannot be read as a recipe"),
        ("vocabulary = dict(minimum_count={4})", "cannot be read as a recipe"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(tmp_path, change, said):
    """A recipe key that means nothing is an error, not ignored."""
    with pytest.raises(InputError) as raised:
        read_recipe(toy.write_recipe(tmp_path, toy.RECIPE + change))
    assert said in str(raised.value)


def test_a_recipe_without_a_loss_is_refused(tmp_path):
    """What a recipe must set is named."""
    text = toy.RECIPE.replace("loss = ", "# loss = ")
    with pytest.raises(InputError, match="does not set loss"):
        read_recipe(toy.write_recipe(tmp_path, text))


def test_a_recipe_is_found_by_the_name_it_bears(tmp_path, monkeypatch):
    """A plugin's recipes are known by their names; an unknown one suggests the nearest."""
    file = tmp_path / "recipes" / "chan_f8k.py"
    file.parent.mkdir()
    file.write_text(toy.RECIPE.replace('"toy"', '"chan-f8k"', 1))
    monkeypatch.setattr(recipes, "_plugin_folders", lambda: [tmp_path])
    assert list_recipes() == {"chan-f8k": file}
    assert find_recipe("chan-f8k") == file
    with pytest.raises(InputError, match="Did you mean 'chan-f8k'"):
        find_recipe("chan-flickr8k")
    with pytest.raises(InputError, match="There is no recipe file"):
        find_recipe(tmp_path / "absent.py")


def test_settings_without_effect_on_the_weights_are_no_difference(path):
    """The number of workers may change on resume, the learning rate may not."""
    before = read_recipe(path).settings
    assert differences(before, read_recipe(path, ["data.workers=4", "log_every=9"]).settings) == []
    changed = differences(before, read_recipe(path, ["optim_wrapper.optimizer.lr=1"]).settings)
    assert changed == ["optim_wrapper.optimizer.lr: was 0.01, is 1"]

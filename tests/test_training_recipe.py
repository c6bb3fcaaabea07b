"""Recipes: found by name or path, checked key by key, changed by `key=value`."""

from __future__ import annotations

import hashlib
import json

import pytest

import toy_matching as toy

pytest.importorskip("mmengine", reason="training needs the extra 'train'")

from zoo.errors import InputError
from zoo.training import recipe as recipes
from zoo.training.overrides import differences, flatten
from zoo.training.recipe import find_recipe, list_recipes, read_recipe


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
        ("autocast=['model.x']", "autocast.parts", ["model.x"]),
    ],
)
def test_an_override_is_read_as_a_value(path, override, key, value):
    """A value is a Python literal where it is one, else a string."""
    assert flatten(read_recipe(path, [override]).settings)[key] == value


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
        ("log_every={1}", "no plain value"),
        ("log_every=0", "log_every is 0"),
        ("data.batch_size=0", "data.batch_size is 0"),
        ("data.captions_per_image=0", "data.captions_per_image is 0"),
        ("data.workers=-1", "data.workers is -1"),
        ("data.inputs=pictures", "data.inputs is 'pictures'. Input should be 'photos' or"),
        ("data.by=text", "data.by is 'text'"),
        ("data.train=", "data.train is ''"),
        ("average={'momentm': 0.9}", "average has no key 'momentm'. Did you mean 'momentum'?"),
        ("autocast={'parts': 'all', 'dtype': 'float8'}", "autocast.dtype is 'float8'"),
        ("accumulate=0", "accumulate is 0"),
        ("average.momentum=1", "average.momentum is 1"),
        ("warm_up={'epoch': 1}", "warm_up does not set epochs, only epoch"),
        ("vocabulary={'min_count': 4}", "no key 'min_count'. Did you mean 'minimum_count'?"),
        ("train_cfg={'by_epoch': False, 'max_iters': 9}", "train_cfg counts iterations"),
        ("nonfinite=ignore", "nonfinite.action is 'ignore'. Input should be 'stop' or 'skip'"),
        ("nonfinite.most=0", "nonfinite.most is 0"),
        ("vocabulary={}", "one of 'minimum_count' and 'file'"),
        (
            "optim_wrapper.paramwise_cfg={'text_encoder': {'lr_mul': 1.0}}",
            "optim_wrapper.paramwise_cfg.text_encoder has no key 'lr_mul'. Did you mean 'lr_mult'?",
        ),
        (
            "optim_wrapper={'optimizer': {}, 'accumulative_counts': 2}",
            "to the whole, and accumulate=2.",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name_with_the_nearest(path, override, said):
    """No override is silently without effect."""
    with pytest.raises(InputError) as raised:
        read_recipe(path, [override])
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("averge = None", "Did you mean 'average'"),
        ("data = dict(batchsize=3)", "Did you mean 'batch_size'"),
        ("runner_type = 'FlexibleRunner'", "without MMEngine's wrappers and its FlexibleRunner"),
        ("strategy = dict(type='FSDPStrategy')", "write strategy=dict(type='fully_shard'"),
        ("strategy = dict(type='fuly_shard')", "Did you mean 'fully_shard'?"),
        (
            "strategy = dict(type='DeepSpeedStrategy', zero_optimization=dict(stage=2))",
            "write strategy=dict(type='fully_shard', reshard_after_forward=False)",
        ),
        ("strategy = dict(type='DDPStrategy')", "leave strategy out"),
        ("strategy = dict(type='fully_shard', layer=[])", "Did you mean 'layers'?"),
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
    assert list_recipes() == {"chan-f8k": [file]}
    assert find_recipe("chan-f8k") == file
    with pytest.raises(InputError, match="Did you mean 'chan-f8k'"):
        find_recipe("chan-flickr8k")
    with pytest.raises(InputError, match="There is no recipe file"):
        find_recipe(tmp_path / "absent.py")


def test_a_name_that_two_recipes_bear_is_refused_with_both(tmp_path, monkeypatch):
    """No plugin takes the place of another's recipe in silence; a path still says which."""
    files = [tmp_path / plugin / "recipes" / "toy.py" for plugin in ("ours", "theirs")]
    for file in files:
        toy.write_recipe(file.parent)
    monkeypatch.setattr(
        recipes, "_plugin_folders", lambda: [tmp_path / "ours", tmp_path / "theirs"]
    )
    with pytest.raises(InputError, match="Give the path") as raised:
        find_recipe("toy")
    assert all(str(file) in str(raised.value) for file in files)
    assert find_recipe(files[0]) == files[0]


@pytest.mark.parametrize("content", [b"name = (", b"\xff\xfe", b"a = '\0'"])
def test_a_broken_recipe_is_in_nobodys_way_but_its_own(tmp_path, monkeypatch, content):
    """Others are found beside it; who asks for it, by its file's name, is told what is wrong."""
    whole = toy.write_recipe(tmp_path / "recipes")
    (tmp_path / "recipes" / "its_own.py").write_bytes(content)
    monkeypatch.setattr(recipes, "_plugin_folders", lambda: [tmp_path])
    assert find_recipe("toy") == whole
    with pytest.raises(InputError, match=r"its_own\.py cannot be read as a recipe"):
        read_recipe("its-own")


def test_settings_without_effect_on_the_weights_are_no_difference(path):
    """The number of workers may change on resume, the learning rate may not."""
    before = read_recipe(path).settings
    assert differences(before, read_recipe(path, ["data.workers=4", "log_every=9"]).settings) == []
    changed = differences(before, read_recipe(path, ["optim_wrapper.optimizer.lr=1"]).settings)
    assert changed == ["optim_wrapper.optimizer.lr: was 0.01, is 1"]


TRAINED = {
    "chan-f8k.frozen": "caa4953e61213bff",
    "mfa-f8k": "84c2112f531ed26b",
    "mssan-f8k": "fe48c4789517f288",
    "shan-f8k": "3d3c73348396939c",
    "tvrn-f8k": "1190f3d666f21642",
}
"""Digests of all that these recipes set, as their published weights were trained."""


@pytest.mark.parametrize("name", TRAINED)
def test_what_recipes_share_changed_none_of_their_settings(name):
    """To the last key they are those of the runs that are published."""
    settings = recipes._read_file(find_recipe(name))
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    assert digest[:16] == TRAINED[name]


@pytest.fixture
def family(tmp_path, monkeypatch):
    """A recipe "toy" of a plugin, and what writes further recipes of another."""
    toy.write_recipe(tmp_path / "ours" / "recipes")
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    monkeypatch.setattr(recipes, "_plugin_folders", lambda: folders)

    def write(file, text):
        path = tmp_path / "theirs" / "recipes" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_a_recipe_builds_on_another_by_its_name(family):
    """Through several generations, by name or by path; a dict is merged, and a child's key wins."""
    family("mine.py", '_base_ = "toy"\nname = "mine"\nloss = dict(margin=0.5)\n')
    family("next.py", '_base_ = ["./mine.py"]\nname = "next"\nseed = 3\naverage = None\n')
    last = family("last.py", '_base_ = "next"\nname = "last"\ndata = dict(batch_size=2)\n')
    settings, first = read_recipe(last).settings, read_recipe("toy").settings
    assert settings["loss"] == first["loss"] | {"margin": 0.5}
    assert settings["data"] == first["data"] | {"batch_size": 2}
    assert (settings["name"], settings["seed"], settings["average"]) == ("last", 3, None)
    assert settings["optim_wrapper"] == first["optim_wrapper"]
    assert read_recipe(last, ["loss.margin=0.6"])["loss"]["margin"] == 0.6


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("toyy", "No recipe is called 'toyy'. Did you mean 'toy'"),
        ("zoo:f8k-feature", "Did you mean 'zoo:f8k-features'"),
        ("child", "child.py builds on itself (child.py -> child.py)"),
        ("./absent.py", "absent.py"),
    ],
)
def test_a_base_that_cannot_be_built_on_is_named(family, base, said):
    """With the nearest name where there is one."""
    child = family("child.py", f'_base_ = "{base}"\nname = "child"\n')
    with pytest.raises(InputError) as raised:
        read_recipe(child)
    assert said in str(raised.value)

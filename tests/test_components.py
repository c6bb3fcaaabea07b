"""A configuration names components; it never names an import path."""

from __future__ import annotations

import pytest

from zoo.components import build
from zoo.errors import InputError, PluginError
from zoo.plugins.table import ComponentTable, core_table


def test_the_core_builds_a_loss_from_plain_values():
    """Type and arguments, nothing else."""
    loss = build("loss", {"type": "triplet", "margin": 0.05}, table=core_table())

    assert loss.margin == 0.05


@pytest.mark.parametrize("name", ["os.system", "subprocess.getoutput", "zoo.losses:TripletLoss"])
def test_an_import_path_is_not_a_name(name):
    """A downloaded configuration cannot call what nobody registered."""
    with pytest.raises(InputError, match="No loss is called"):
        build("loss", {"type": name, "cmd": "echo"}, table=core_table())


def test_an_unknown_name_is_answered_with_the_nearest():
    """A typing error costs one reading."""
    with pytest.raises(InputError, match=r"Did you mean 'triplet'\?"):
        build("loss", {"type": "triplett"}, table=core_table())


def test_an_unknown_argument_is_answered_with_the_nearest():
    """It is refused before anything is built."""
    with pytest.raises(InputError, match=r"no argument 'margni'. Did you mean 'margin'\?"):
        build("loss", {"type": "triplet", "margni": 0.1}, table=core_table())


def test_a_configuration_without_a_type_is_refused():
    """The message lists what there is."""
    with pytest.raises(InputError, match=r"has no 'type'. Add one of contrastive"):
        build("loss", {"margin": 0.1}, table=core_table())


def test_a_name_is_registered_once_and_both_plugins_are_named():
    """Which of two would be built must never be a guess."""
    table = ComponentTable()
    table.add("aligner", "hard", "one.model:Hard", plugin="one")

    with pytest.raises(PluginError, match="by plugin 'one' and by plugin 'two'"):
        table.add("aligner", "hard", "two.model:Hard", plugin="two")


@pytest.mark.parametrize("target", ["zoo.losses", "zoo.losses:", ":Loss", "a:b:c"])
def test_a_malformed_target_is_refused(target):
    """It would fail later, far from its author."""
    with pytest.raises(PluginError, match=r"Write it as 'package\.module:Class'"):
        ComponentTable().add("loss", "mine", target, plugin="mine")


def test_a_class_that_cannot_be_imported_names_its_plugin():
    """And how to do without it."""
    table = ComponentTable()
    table.add("loss", "mine", "no_such_module:Loss", plugin="mine")

    with pytest.raises(PluginError, match=r"of plugin 'mine'.*ZOO_DISABLE_PLUGINS=mine"):
        table.resolve("loss", "mine")

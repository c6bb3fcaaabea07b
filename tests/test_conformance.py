"""The kit for authors of plugins: ours pass it, and it says what is wrong with others."""

from __future__ import annotations

import json

import pytest

from zoo.errors import PluginError
from zoo.plugins.entry_points import built_in
from zoo.testing.conformance import cases


@pytest.mark.parametrize("name", sorted(built_in()))
def test_our_own_plugins_pass(name):
    """Each plugin of the repository keeps the contract, in every recipe and card."""
    verdicts = [case.verdict() for case in cases(name)]

    assert [verdict for verdict in verdicts if verdict.state == "failed"] == []
    assert sum(verdict.state == "passed" for verdict in verdicts) > 30


def test_a_plugin_that_is_not_there_is_told():
    """There is nothing to check of it."""
    with pytest.raises(PluginError, match="'scam' is not installed"):
        cases("scam")


def test_the_command_tells_what_passed(run):
    """A row for each check, and a last line that says it all; as JSON, a record for each case."""
    status, table, _ = run("plugin", "check", "sgraf")
    assert status == 0
    assert "two batches learned" in table
    assert table.splitlines()[-1].startswith("sgraf keeps the contract: ")

    status, text, _ = run("plugin", "check", "sgraf", "--json")
    assert status == 0
    assert {one["state"] for one in json.loads(text)} == {"passed", "skipped"}

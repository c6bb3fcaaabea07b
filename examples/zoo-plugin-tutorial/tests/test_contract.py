"""Gist keeps the zoo's contract: what `zoo plugin check gist` checks, one test each."""

pytest_plugins = ["zoo.testing"]

ZOO_PLUGIN = "gist"


def test_the_contract(zoo_check):
    """A model, a component or a card of the plugin passes a check."""
    zoo_check()

"""For authors of plugins: the zoo's contract as tests that know a plugin by its name alone.

The whole of a test file:

    pytest_plugins = ["zoo.testing"]
    ZOO_PLUGIN = "scan"

    def test_the_contract(zoo_check):
        zoo_check()

`zoo plugin check scan` does the same without pytest. Inputs are made up, and the models are those
of the plugin's recipes and cards at a sixteenth of their size. `zoo_samples` is a fixture with such
inputs, for tests of one's own.
"""

pytest_plugins = ["zoo.testing.fixtures"]

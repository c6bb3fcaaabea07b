"""What `zoo.testing` gives to pytest. No other module of this room knows pytest."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from ..errors import ZooDeprecationWarning
from .conformance import cases
from .samples import CAPTIONS, sample_images, sample_pairs, text_files
from .verdicts import Case


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `zoo_check` becomes one for each check of the module's ZOO_PLUGIN."""
    if "zoo_check" not in metafunc.fixturenames:
        return
    name = getattr(metafunc.module, "ZOO_PLUGIN", None)
    if not isinstance(name, str):
        raise pytest.UsageError(
            f"{metafunc.module.__name__} has no ZOO_PLUGIN. Name the plugin whose contract its "
            'tests check: ZOO_PLUGIN = "scan".'
        )
    found = cases(name)
    ids = [f"{case.subject}-{case.check.replace(' ', '_')}" for case in found]
    metafunc.parametrize("zoo_check", found, indirect=True, ids=ids)


@pytest.fixture
def zoo_check(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Call it to run the check; a fault fails the test in words, without a traceback."""
    case: Case = request.param

    def check() -> None:
        verdict = case.verdict()
        if verdict.state == "passed" and verdict.words:
            warnings.warn(verdict.words, ZooDeprecationWarning, stacklevel=2)
        if verdict.state == "skipped":
            pytest.skip(verdict.words)
        if verdict.state == "failed":
            pytest.fail(f"{verdict.subject}, {verdict.check}: {verdict.words}", pytrace=False)

    return check


class Samples:
    """Small inputs: ragged lengths, one region, one word."""

    captions = CAPTIONS
    images = staticmethod(sample_images)
    pairs = staticmethod(sample_pairs)
    text_files = staticmethod(text_files)


@pytest.fixture
def zoo_samples() -> Samples:
    """Captions, images(feature_dim), pairs() and text_files() to test with."""
    return Samples()

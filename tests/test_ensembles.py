"""Several models as one: means of saved scores."""

from __future__ import annotations

import numpy as np
import pytest

from saved_scores import pairs_of, save
from zoo.errors import DataError, InputError
from zoo.evaluation.ensembles import Ensemble
from zoo.metrics import retrieval_ranks

PAIRS = pairs_of(300, 2)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two models whose scores differ in scale; more images than are read at once."""
    place, generator = tmp_path_factory.mktemp("scores"), np.random.default_rng(0)
    wide, narrow = 50 + 30 * generator.normal(size=(300, 600)), generator.random((300, 600))
    return [
        save(place / "wide", wide, PAIRS, model="wide"),
        save(place / "narrow", narrow, PAIRS, model="narrow"),
    ]


def whole(ensemble):
    """All blocks of an ensemble in one matrix."""
    return np.concatenate(list(ensemble.blocks()))


def test_an_ensemble_is_the_mean_of_the_scores(two):
    """Of all blocks, as of the whole matrices."""
    expected = (two[0].scores.astype(np.float64) + two[1].scores) / 2

    assert np.allclose(whole(Ensemble(two)), expected, rtol=1e-6)


def test_weights_count_by_their_shares(two):
    """1 and 3 are a quarter and three quarters; so are 10 and 30."""
    expected = two[0].scores.astype(np.float64) / 4 + two[1].scores * np.float64(0.75)

    assert np.allclose(whole(Ensemble(two, (1, 3))), expected, rtol=1e-6)
    assert np.array_equal(whole(Ensemble(two, (10, 30))), whole(Ensemble(two, (1, 3))))


def test_standardised_scores_have_mean_0_and_deviation_1(two):
    """Each matrix by its own numbers, so that no scale outweighs another."""
    expected = (
        sum(
            (one.scores - one.scores.mean(dtype=float)) / one.scores.std(dtype=float) for one in two
        )
        / 2
    )

    assert np.allclose(whole(Ensemble(two, standardise=True)), expected, atol=1e-5)


def test_standardising_leaves_a_model_alone_as_it_ranks(two):
    """A model that is joined with itself has the ranks it had."""
    alone = retrieval_ranks(two[1].scores, PAIRS)
    same = retrieval_ranks(whole(Ensemble([two[1], two[1]], standardise=True)), PAIRS)

    assert np.abs(alone.images - same.images).max() <= 1  # rounding may make a tie
    assert (alone.images != same.images).mean() < 0.02


def test_blocks_go_on_where_they_were_left(two):
    """From any number of images that are done."""
    ensemble = Ensemble(two)

    rest = np.concatenate(list(ensemble.blocks(done=130)))

    assert np.array_equal(rest, whole(ensemble)[130:])


def test_saved_ensembles_tell_what_they_are_made_of(two):
    """Names, fingerprints and weights; another weight is another fingerprint."""
    index = Ensemble(two, (1, 3)).index()

    assert index.model == "wide + narrow"
    assert index.facts["ensemble"]["weights"] == [0.25, 0.75]
    assert index.facts["ensemble"]["model_fingerprints"] == ["weights of wide", "weights of narrow"]
    assert index.model_fingerprint != Ensemble(two).index().model_fingerprint
    assert index.data_fingerprint == "features"


def test_models_that_read_other_features_of_the_same_images_can_be_joined(two, tmp_path):
    """What must agree are images, captions and pairs."""
    other = save(tmp_path / "other", np.ones((300, 600)), PAIRS, data_fingerprint="pictures")

    assert Ensemble([two[0], other]).index().data_fingerprint == "features, pictures"


def test_an_ensemble_has_the_facts_that_its_models_share_and_all_their_parameters(two, tmp_path):
    """One device, two seeds: the device is that of both, and no seed is."""
    facts = {"device": "cpu", "parameters": 1000}
    parts = [
        save(tmp_path / str(seed), np.ones((300, 600)), PAIRS, facts={**facts, "seed": seed})
        for seed in (1, 2)
    ]

    found = Ensemble(parts).index().facts

    assert found["device"] == "cpu"
    assert found["parameters"] == 2000
    assert "seed" not in found
    assert "parameters" not in Ensemble([*parts, two[0]]).index().facts


def test_other_data_are_refused(two, tmp_path):
    """Scores of other captions have the same shape and mean nothing together."""
    other = save(tmp_path / "other", np.ones((300, 600)), PAIRS, listing="another")

    with pytest.raises(DataError, match="scores of other images or captions"):
        Ensemble([two[0], other])


@pytest.mark.parametrize("weights", [(1,), (1, 2, 3), (1, -1), (0, 1), (1, float("nan"))])
def test_weights_that_do_not_fit_are_refused(two, weights):
    """One above 0 for each model."""
    with pytest.raises(InputError, match="do not fit 2 models"):
        Ensemble(two, weights)


def test_one_model_is_no_ensemble(two):
    """At least two are named."""
    with pytest.raises(InputError, match="at least two models"):
        Ensemble(two[:1])


def test_a_constant_matrix_cannot_be_standardised(two, tmp_path):
    """Its deviation is 0."""
    constant = save(tmp_path / "constant", np.full((300, 600), 0.25), PAIRS)

    with pytest.raises(InputError, match=r"deviation 0\.0"):
        whole(Ensemble([two[0], constant], standardise=True))

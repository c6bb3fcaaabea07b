"""Training batches are a function of seed, epoch and position."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import toy_matching as toy
from toy_matching import ToyAligner, ToyImages, ToyTexts
from zoo.batch import Regions, Tokens
from zoo.data.dataset import open_dataset
from zoo.errors import DataError
from zoo.model import MatchingModel
from zoo.training import data, feeding
from zoo.training.data import Collate, Division, training_loader
from zoo.training.samples import Buckets, EpochSampler, Sample, TrainingSet
from zoo.training.seeds import generator, mix
from zoo.training.settings import Data

SETTINGS = Data(inputs="features", batch_size=4, workers=0).model_dump()


@pytest.fixture
def dataset(tmp_path):
    """22 images with three captions each, and features."""
    return open_dataset(toy.write_data(tmp_path), "train")


@pytest.fixture
def model():
    """The toy's parts."""
    return MatchingModel(ToyImages(), ToyTexts(), ToyAligner())


def batches(model, dataset, epoch=0, seen=0, **changes):
    """Every tensor of the batches of one epoch."""
    loader = training_loader(model, dataset, SETTINGS | changes, seed=5)
    loader.sampler.start_at(epoch, seen)
    return [
        {**batch.images.tensors("images."), **batch.texts.tensors("texts."), **vars(batch.pairs)}
        for batch in loader
    ]


def same(ours, theirs):
    """Whether two lists of batches are equal bit for bit."""
    return len(ours) == len(theirs) and all(
        one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
        for one, other in zip(ours, theirs, strict=True)
    )


def test_mixing_depends_on_each_part_and_on_nothing_else():
    """A seed is the same on each machine and differs where any part does."""
    assert mix(2022, "iteration", 0) == 430235277408870394
    assert len({mix(1, 23), mix(12, 3), mix(1, 2, 3), mix("1", 23), mix(1, 24)}) == 5
    assert np.array_equal(generator(1, "a").random(3), generator(1, "a").random(3))


def test_an_epoch_has_each_item_once_in_an_order_of_its_own():
    """The order is a permutation that differs from epoch to epoch."""
    sampler = EpochSampler(50, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        sampler.start_at(epoch)
        places = list(sampler)
        assert {one for one, _ in places} == {epoch}
        orders.append([index for _, index in places])
    assert sorted(orders[0]) == list(range(50))
    assert orders[0] == orders[2] != orders[1]


@pytest.mark.parametrize("by", ["caption", "image"])
@pytest.mark.parametrize("workers", [2, 4])
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_batches_are_the_same_for_any_number_of_workers(model, dataset, workers, by, monkeypatch):
    """Noise belongs to the item, not to the process that prepares it."""
    monkeypatch.setattr(data, "processors", lambda: 4)
    here = batches(model, dataset, by=by, captions_per_image=2)
    assert same(batches(model, dataset, by=by, captions_per_image=2, workers=workers), here)


def test_there_are_no_more_workers_than_processors(model, dataset, monkeypatch):
    """More would only take turns, and torch would warn of them."""
    monkeypatch.setattr(data, "processors", lambda: 1)
    assert training_loader(model, dataset, SETTINGS | {"workers": 4}, seed=0).num_workers == 1


def test_an_epoch_can_be_entered_in_the_middle(model, dataset):
    """What is left of an epoch is what would have come."""
    assert same(batches(model, dataset, seen=8), batches(model, dataset)[2:])


def test_noise_differs_between_epochs(model, dataset):
    """The same item gets other noise in the next epoch."""
    collate = Collate(model, dataset, "features", seed=5)
    first, second = (collate([Sample(epoch, 3, (9,))]).images.features for epoch in (0, 1))
    assert not torch.equal(first, second)


def test_an_image_comes_once_in_a_batch(model, dataset):
    """Two captions of one image share its row, and count as its matches."""
    collate = Collate(model, dataset, "features", seed=5)
    batch = collate([Sample(0, 3, (9,)), Sample(0, 1, (4,)), Sample(0, 3, (10,))])
    assert batch.pairs.image_ids.tolist() == [3, 1]
    assert batch.pairs.text_ids.tolist() == [9, 4, 10]
    assert batch.pairs.matches.tolist() == [[True, False, True], [False, True, False]]
    assert len(batch.images) == 2
    assert len(batch.texts) == 3


def test_an_image_brings_some_of_its_captions(dataset):
    """Which captions, is drawn anew each epoch; all of them come in time."""
    samples = TrainingSet(dataset, by="image", captions_per_image=2, seed=1)
    drawn = [samples[epoch, 4].captions for epoch in range(12)]
    assert all(len(set(captions)) == 2 for captions in drawn)
    assert set().union(*drawn) == {12, 13, 14}
    assert len(samples) == 22
    assert len(TrainingSet(dataset, by="caption")) == 66


def test_a_caption_of_several_images_comes_with_each(model, dataset):
    """And is a match of all of them that are in the batch."""
    pairs = np.array([[0, 0], [3, 0], [1, 1], [0, 2], [3, 2]])
    shared = replace(dataset, pairs=pairs)
    by_caption = TrainingSet(shared)
    samples = [by_caption[0, index] for index in range(len(by_caption))]
    assert [[one.image, *one.captions] for one in samples] == pairs.tolist()
    by_image = TrainingSet(shared, by="image", captions_per_image=9)
    assert [sorted(by_image[0, index].captions) for index in range(3)] == [[0, 2], [1], [0, 2]]
    batch = Collate(model, shared, "features", seed=5)([samples[1], samples[2], samples[4]])
    assert batch.pairs.image_ids.tolist() == [3, 1]
    assert batch.pairs.text_ids.tolist() == [0, 1, 2]
    assert batch.pairs.matches.tolist() == [[True, False, True], [False, True, False]]
    again = Collate(model, shared, "features", seed=5)(samples)
    assert again.pairs.matches.tolist() == [
        [True, False, True],
        [True, False, True],
        [False, True, False],
    ]
    assert len(again.texts) == 3


def test_an_image_with_fewer_captions_brings_them_all(dataset):
    """Asking for more captions than there are is no error."""
    samples = TrainingSet(dataset, by="image", captions_per_image=9)
    assert sorted(samples[0, 4].captions) == [12, 13, 14]


def test_a_batch_larger_than_the_data_is_an_error(model, dataset):
    """Otherwise an epoch would have no iteration at all."""
    with pytest.raises(DataError, match=r"fewer than one batch of 100\. Set data\.batch_size=66"):
        training_loader(model, dataset, SETTINGS | {"batch_size": 100}, seed=0)


def test_what_the_data_do_not_have_is_named(model, dataset):
    """A recipe for photographs needs photographs."""
    with pytest.raises(DataError, match="has no photographs"):
        Collate(model, dataset, "photos", seed=0)


@pytest.mark.parametrize(
    ("kind", "said"), [("grid", "zoo extract IMAGES"), ("butd", r"Put train_ims\.npy beside")]
)
def test_the_remedy_for_absent_features_fits_their_kind(model, dataset, kind, said):
    """`zoo extract` makes grid features; others come as files."""
    model.config = SimpleNamespace(features=SimpleNamespace(kind=kind))
    with pytest.raises(DataError, match=f"has no {kind} features.*{said}"):
        Collate(model, replace(dataset, features=None), "features", seed=0)


def test_buckets_change_the_order_and_nothing_else(dataset):
    """Each caption comes once; batches are of one length or nearly, and come in any order."""
    samples = TrainingSet(dataset)
    lengths = samples.lengths(0)
    orders = {}
    for pool in (None, 4):
        sampler = EpochSampler(66, seed=5, buckets=pool and Buckets(samples.lengths, 4, pool))
        sampler.start_at(0)
        orders[pool] = [index for _, index in sampler]
    assert sorted(orders[4]) == sorted(orders[None]) == list(range(66))
    assert orders[4][64:] == orders[None][64:]  # the rest that drop_last leaves out
    pools = [set(orders[None][start : start + 16]) for start in range(0, 64, 16)]
    batches = np.array(orders[4][:64]).reshape(-1, 4)
    assert all(any(set(batch) <= pool for pool in pools) for batch in batches.tolist())
    padding = {
        pool: sum(max(batch) * 4 - sum(batch) for batch in lengths[order[:64]].reshape(-1, 4))
        for pool, order in orders.items()
    }
    assert padding[4] < padding[None] / 2
    means = lengths[batches].mean(axis=1)
    assert sorted(means) != list(means)


@pytest.mark.parametrize("by", ["caption", "image"])
def test_buckets_can_be_entered_in_the_middle(model, dataset, by):
    """A resumed run finds the batches that would have come, whichever captions images bring."""
    settings = {"bucket": 3, "by": by, "captions_per_image": 2}
    whole = batches(model, dataset, epoch=1, **settings)
    assert same(batches(model, dataset, epoch=1, seen=8, **settings), whole[2:])
    plain = batches(model, dataset, epoch=1, by=by, captions_per_image=2)
    assert not same(whole, plain)


@pytest.mark.parametrize("count", [2, 3])
def test_processes_prepare_together_what_one_would(model, dataset, count):
    """The images and the captions of a batch, each in one place, with the noise of their own."""
    samples = [Sample(0, 3, (9, 10)), Sample(0, 1, (4,)), Sample(0, 3, (11,)), Sample(0, 5, (15,))]
    alone = Collate(model, dataset, "features", 5)(samples)
    parts = [
        Collate(model, dataset, "features", 5, Division(number, count))(samples)
        for number in range(count)
    ]
    for part in parts:
        assert torch.equal(part.pairs.matches, alone.pairs.matches)
    together = Regions.join([part.images for part in parts])
    assert torch.equal(together.features, alone.images.features)
    assert torch.equal(Tokens.join([part.texts for part in parts]).ids, alone.texts.ids)


def test_a_process_without_an_item_prepares_one_that_does_not_count(model, dataset):
    """Every process takes part in every step, for the others wait for it."""
    collate = Collate(model, dataset, "features", 5, Division(2, 3))
    batch = collate([Sample(0, 3, (9,)), Sample(0, 1, (4,))])
    assert (len(batch.images), len(batch.texts), len(batch.pairs.image_ids)) == (1, 1, 2)


def test_processes_with_batches_of_their_own_share_the_samples(model, dataset):
    """Without gathering, each has the pairs of its own samples alone."""
    parts = [
        Collate(model, dataset, "features", 5, Division(number, 2, whole=False))(toy.samples(5))
        for number in range(2)
    ]
    assert [part.pairs.image_ids.tolist() for part in parts] == [[0, 1, 2], [3, 4]]


def test_the_wait_for_data_is_a_share_of_the_time(monkeypatch):
    """Half a second of waiting, half a second of work: one half, and then anew."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(feeding, "time", SimpleNamespace(monotonic=lambda: now.seconds))

    def slow():
        for batch in range(3):
            now.seconds += 0.5
            yield batch

    class Loader:
        dataset = sampler = batch_size = None

        def __iter__(self):
            return slow()

    feed = feeding.Feed(Loader(), torch.device("cpu"))
    shares = []
    for _ in feed:
        now.seconds += 0.5
        shares.append(feed.wait_share())
    assert shares == [0.5, 0.5, 0.5]

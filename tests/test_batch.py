"""Records move, split and join without being looked into."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo import Batch, Fragments, Regions
from zoo.errors import InputError


@dataclass(frozen=True)
class Nested(Batch):
    """Regions and one vector for the whole."""

    regions: Fragments
    whole: Tensor


def nested(items, fragments):
    """A record with a record inside."""
    mask = torch.ones(items, fragments, dtype=torch.bool)
    return Nested(Fragments(torch.randn(items, fragments, 3), mask), torch.randn(items, 3))


def test_joining_what_was_split_gives_it_back():
    """Also through a nested record."""
    whole = nested(7, 4)

    joined = Nested.join(whole.split(3))

    for name, tensor in whole.tensors().items():
        assert_close(joined.tensors()[name], tensor)


def test_joining_pads_shorter_blocks_and_masks_the_padding():
    """So encodings of different lengths become one batch."""
    joined = Nested.join([nested(2, 4), nested(1, 6)])

    assert joined.regions.embeddings.shape == (3, 6, 3)
    assert joined.regions.mask.sum(dim=1).tolist() == [4, 4, 6]
    assert joined.regions.embeddings[0, 4:].abs().sum() == 0


def test_a_field_may_be_absent():
    """Features without boxes are features."""
    regions = Regions(torch.randn(4, 2, 3), torch.ones(4, 2, dtype=torch.bool))

    assert regions[1:3].boxes is None
    assert Regions.join(regions.split(3)).sizes is None


def test_fields_of_different_lengths_are_refused():
    """Parallel arrays drift apart where nothing checks them."""
    with pytest.raises(InputError, match=r"Fragments .*'embeddings': 3, 'mask': 2"):
        Fragments(torch.zeros(3, 1, 2), torch.ones(2, 1, dtype=torch.bool))


def test_rows_are_picked_by_number():
    """In the order asked for."""
    whole = nested(5, 2)

    assert_close(whole[torch.tensor([4, 0])].whole, whole.whole[[4, 0]])


def test_pieces_may_have_sizes_of_their_own():
    """None among them, too."""
    whole = nested(6, 4)

    pieces = whole.split([1, 0, 5])

    assert [len(piece) for piece in pieces] == [1, 0, 5]
    assert_close(pieces[2].regions.embeddings, whole.regions.embeddings[1:])


@pytest.mark.parametrize(("device", "away"), [("cpu", False), ("meta", True)])
def test_a_copy_to_the_cpu_is_waited_for(monkeypatch, device, away):
    """Read too early it would hold anything; a copy to an accelerator may go on beside."""
    whole, to, waited = nested(2, 3), Tensor.to, []

    def noted(tensor, *arguments, non_blocking=False):
        waited.append(non_blocking)
        return to(tensor, *arguments, non_blocking=non_blocking)

    monkeypatch.setattr(Tensor, "to", noted)

    assert len(whole.to(device)) == 2
    assert waited == [away] * 3

"""Regions from what networks put out, by numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import InputError
from zoo.vision.outputs import as_map, cells, objects

BOXES = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.1, 0.9, 0.4, 0.4], [0.5, 0.5, 1.0, 1.0]]])
STATES = torch.arange(5.0)[None, :, None]  # two tokens before three queries


def test_queries_are_ranked_by_their_surest_class():
    """The last of the classes stands for nothing: who is sure of that comes last."""
    logits = torch.tensor([[[0.0, 0.0, 9.0], [0.0, 5.0, 0.0], [1.0, 0.0, 0.0]]])
    states, _ = objects(STATES, logits, BOXES, 2, 3)
    assert states.flatten().tolist() == [3, 4, 2]


def test_classes_that_do_not_exclude_each_other_are_ranked_by_themselves():
    """Sure of two classes is surer than half sure of one, though their shares are less."""
    logits = torch.tensor([[[0.0, -9.0], [5.0, 5.0], [-1.0, -9.0]]])
    states, _ = objects(STATES, logits, BOXES, 2, 2)
    assert states.flatten().tolist() == [3, 2]


def test_boxes_are_corners_within_the_picture():
    """What reaches beyond it is cut off."""
    logits = torch.tensor([[[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]]])
    _, boxes = objects(STATES, logits, BOXES, 1, 3)
    expected = [[0.4, 0.3, 0.6, 0.7], [0.0, 0.7, 0.3, 1.0], [0.0, 0.0, 1.0, 1.0]]
    torch.testing.assert_close(boxes[0], torch.tensor(expected))


def test_cells_overlap_where_their_side_does_not_divide_the_map():
    """Three columns by two cells share the middle one; two rows do not."""
    maps = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    features, boxes = cells(maps, 2)
    assert features[0, :, 0].tolist() == [1.5, 2.5, 4.5, 5.5]
    thirds = [[0, 0, 2, 1.5], [1, 0, 3, 1.5], [0, 1.5, 2, 3], [1, 1.5, 3, 3]]
    torch.testing.assert_close(boxes * 3, torch.tensor(thirds))


@pytest.mark.parametrize(("tokens", "special"), [(6, 0), (7, 1), (11, 5)])
def test_tokens_of_patches_make_a_map(tokens, special):
    """Two rows of three, after what stands before them."""
    maps = as_map(torch.arange(float(tokens))[None, :, None], 32, 48, 16)
    assert maps[0, 0].flatten().tolist() == list(range(special, tokens))
    assert maps.shape == (1, 1, 2, 3)


def test_merged_patches_make_a_map():
    """Of patches of four pixels, merged twice."""
    assert as_map(torch.zeros(2, 6, 7), 32, 48, 4).shape == (2, 7, 2, 3)


@pytest.mark.parametrize(("tokens", "side", "patch"), [(3, 32, 16), (16, 100, 4), (30, 32, 16)])
def test_tokens_that_tile_nothing_are_refused(tokens, side, patch):
    """Also where merged patches were padded: there is no telling which stand for what."""
    with pytest.raises(InputError, match=f"{tokens} tokens do not tile a picture of {side + 9} x"):
        as_map(torch.zeros(1, tokens, 7), side, side + 9, patch)

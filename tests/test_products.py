"""Products of matrices by either library, against float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.kernels import products as multiplying
from zoo.kernels.products import products, products_into, weighted_sums


@pytest.fixture(params=[False, True], ids=["torch's choice", "oneDNN"], autouse=True)
def by_one_dnn(request, monkeypatch) -> bool:
    """By either library, however small."""
    if request.param and not multiplying.has_one_dnn():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(multiplying, "_one_dnn_is_faster", lambda: request.param)
    monkeypatch.setattr(multiplying, "LEAST", 1)
    monkeypatch.setattr(multiplying, "LEAST_AGAIN", 1)
    return request.param


def near(made: Tensor, true: Tensor) -> None:
    """Within what float32 rounds."""
    assert_close(made.double(), true, rtol=0, atol=1e-5 * true.abs().max().item())


@pytest.mark.parametrize(("rows", "columns", "dim"), [(70, 33, 129), (1, 5, 3), (4, 1, 16)])
def test_products_and_their_gradients_are_those_of_float64(rows, columns, dim):
    """Of rows as they are, and of rows that lie across."""
    lie = torch.randn(rows, dim).requires_grad_(), torch.randn(dim, columns).T.requires_grad_()
    true = [one.detach().double().requires_grad_() for one in lie]
    weights = torch.randn(rows, columns)

    made, expected = products(*lie), true[0] @ true[1].T
    found = torch.autograd.grad((made * weights).sum(), lie)
    wanted = torch.autograd.grad((expected * weights).sum(), true)

    near(made.detach(), expected.detach())
    for one, other in zip(found, wanted, strict=True):
        near(one, other)


def test_products_of_bfloat16_are_put_where_there_is_room():
    """Only float32 is oneDNN's; what is made elsewhere is the same."""
    rows, columns = torch.randn(6, 8).bfloat16(), torch.randn(5, 8).bfloat16()
    room = torch.empty(40).bfloat16()

    made = products_into(room, rows, columns)

    assert made.data_ptr() == room.data_ptr()
    assert_close(made, rows @ columns.T, rtol=0, atol=0)


@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("added", [False, True])
def test_weighted_sums_are_those_of_float64(items, across, added):
    """Of one item and of several, beside something that is added, wherever operands lie."""
    weights, sources = torch.randn(items, 40, 13), torch.randn(items, 13, 64)
    if across:
        weights, sources = weights.mT.contiguous().mT, sources.mT.contiguous().mT
    plus = torch.randn(1, 40, 64) if added else None
    before = None if plus is None else plus.clone()

    made = weighted_sums(weights, sources, plus, torch.empty(items * 40 * 64 + 5))

    true = weights.double() @ sources.double()
    near(made, true if plus is None else true + plus.double())
    if plus is not None:
        assert_close(plus, before, rtol=0, atol=0)

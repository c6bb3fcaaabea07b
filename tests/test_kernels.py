"""Alignment kernels against plain loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from zoo.batch import Fragments
from zoo.kernels import hard_alignment as kernel_module
from zoo.kernels import products as multiplying
from zoo.kernels.hard_alignment import hard_alignment
from zoo.kernels.packing import Codes, Packing
from zoo.kernels.soft_alignment import Attention, soft_alignment
from zoo.ops import l2_normalize

DIM = 12
TEMPERATURE = 0.2


@pytest.mark.parametrize("by_one_dnn", [False, True])
def test_products_and_their_gradients_are_those_of_float64(by_one_dnn, monkeypatch):
    """By either library, above the size from which it matters and below."""
    if by_one_dnn and not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(multiplying, "_one_dnn_is_faster", lambda: by_one_dnn)
    for columns in (450, 3):
        sides = [torch.randn(count, 256, dtype=torch.float64) for count in (600, columns)]
        double = [side.requires_grad_() for side in sides]
        single = [side.detach().float().requires_grad_() for side in sides]
        upstream = torch.randn(600, columns, dtype=torch.float64)

        expected = double[0] @ double[1].T
        found = multiplying.products(*single)

        assert_close(found.double(), expected, rtol=0, atol=2e-4)
        for one, other in zip(
            torch.autograd.grad(found, single, upstream.float()),
            torch.autograd.grad(expected, double, upstream),
            strict=True,
        ):
            assert_close(one.double(), other, rtol=0, atol=2e-4)


def hard(query: Tensor, codebook: Tensor) -> float:
    """The largest dot product."""
    return max(float(entry @ query) for entry in codebook)


def soft(query: Tensor, codebook: Tensor) -> float:
    """The cosine with the attended vector, which is formed here."""
    weights = [math.exp(float(entry @ query) / TEMPERATURE) for entry in codebook]
    attended = sum(w * entry for w, entry in zip(weights, codebook, strict=True)) / sum(weights)
    return float(attended @ query) / (float(attended.norm()) + 1e-8)


KERNELS = {
    "hard": (hard, lambda queries, books: hard_alignment(queries, books).padded()),
    "soft": (
        soft,
        lambda queries, books: soft_alignment(queries, books, Attention(1 / TEMPERATURE)),
    ),
}


@pytest.fixture(params=KERNELS)
def kernel(request):
    """A plain float64 reference of one code, and the kernel that makes them all."""
    return KERNELS[request.param]


def ragged(lengths: list[int], longest: int, sign: float = 0.0) -> Fragments:
    """Random unit fragments; with a sign, all in one half space. Padding holds large numbers."""
    embeddings = torch.randn(len(lengths), longest, DIM)
    if sign:
        embeddings = sign * embeddings.abs()
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    return Fragments(l2_normalize(embeddings).masked_fill(~mask[..., None], 50.0), mask)


def real(fragments: Fragments, row: int) -> Tensor:
    """One item's real fragments, float64."""
    return fragments.embeddings[row][fragments.mask[row]].double()


def reference(code, queries: Fragments, codebooks: Fragments) -> Tensor:
    """Every code by loops, -inf where the query is padding."""
    codes = torch.full((len(codebooks), *queries.mask.shape), -torch.inf)
    for item in range(len(codebooks)):
        for text in range(len(queries)):
            for place, query in enumerate(real(queries, text)):
                codes[item, text, place] = code(query, real(codebooks, item))
    return codes


CASES = {
    "ragged on both sides": lambda: (ragged([1, 5, 3], 6), ragged([4, 2, 4, 1], 4)),
    "nothing padded": lambda: (ragged([3, 3], 3), ragged([4, 4], 4)),
    "all similarities negative": lambda: (ragged([2, 3], 4, 1.0), ragged([2, 1], 3, -1.0)),
    "one query": lambda: (ragged([1], 1), ragged([3, 2], 3)),
    "one entry": lambda: (ragged([2, 4], 4), ragged([1, 1], 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_codes_equal_a_plain_float64_reference(kernel, case):
    """Each code depends on its query and its codebook's real entries alone."""
    code, kernel_under_test = kernel
    queries, codebooks = CASES[case]()

    codes = kernel_under_test(queries, codebooks)

    assert_close(codes, reference(code, queries, codebooks), rtol=1e-6, atol=1e-6)


def test_zero_vectors_give_zero_and_finite_gradients(kernel):
    """A text of zeros resembles nothing, and does not poison training."""
    _, kernel_under_test = kernel
    mask = torch.ones(2, 3, dtype=torch.bool)
    zeros = torch.zeros(2, 3, DIM, requires_grad=True)
    queries = ragged([3, 3], 3)

    codes = kernel_under_test(queries, Fragments(zeros, mask))
    codes.sum().backward()

    assert_close(codes, torch.zeros(2, 2, 3))
    assert zeros.grad.isfinite().all()


def test_gradients_equal_those_of_float64(kernel):
    """`gradcheck` in float64, with padding on both sides."""
    _, kernel_under_test = kernel
    queries, codebooks = ragged([1, 3], 3), ragged([2, 4], 4)

    def codes(query_embeddings: Tensor, entries: Tensor) -> Tensor:
        made = kernel_under_test(
            Fragments(query_embeddings, queries.mask), Fragments(entries, codebooks.mask)
        )
        return made[made.isfinite()]

    inputs = [
        side.embeddings.double().clamp(max=2).requires_grad_() for side in (queries, codebooks)
    ]
    assert torch.autograd.gradcheck(codes, inputs)


def test_hard_gradients_reach_the_best_entry_alone():
    """The other regions of a word get none: the definition of hard assignment."""
    queries = Fragments(torch.tensor([[[1.0, 0.0]]]), torch.ones(1, 1, dtype=torch.bool))
    entries = torch.tensor([[[0.6, 0.8], [0.8, 0.6], [-1.0, 0.0]]], requires_grad=True)

    codebooks = Fragments(entries, torch.ones(1, 3, dtype=torch.bool))
    hard_alignment(queries, codebooks).values.sum().backward()

    assert_close(entries.grad, torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]]))


@pytest.mark.parametrize("share", [0.0, 0.02, 0.15, 0.5, 1.0])
def test_hard_gradients_are_those_of_autograd_however_many_codes_have_one(share):
    """Of hardest negatives few have, of a sum over all pairs all; of some losses none has."""
    queries, codebooks = ragged([1, 5, 3, 12], 12), ragged([4, 2, 7, 7, 1], 7)
    weights = torch.randn(5, 21) * (torch.rand(5, 21) < share)
    found = []
    for align in (hard_alignment, literal_hard_alignment):
        sides = [
            Fragments(side.embeddings.double().requires_grad_(), side.mask)
            for side in (queries, codebooks)
        ]
        (align(*sides).values * weights).sum().backward()
        found.append([side.embeddings.grad for side in sides])

    for ours, plain in zip(*found, strict=True):
        assert_close(ours, torch.zeros_like(ours) if plain is None else plain)


def literal_hard_alignment(queries: Fragments, codebooks: Fragments) -> Codes:
    """The products of all, padding left out, and a maximum."""
    packing = Packing.of(queries.mask)
    products = torch.einsum("ikd,qd->ikq", codebooks.embeddings, packing.pack(queries.embeddings))
    return Codes(products.masked_fill(~codebooks.mask[..., None], -math.inf).amax(1), packing)


def test_small_blocks_change_no_code(monkeypatch):
    """Memory is bounded by working in blocks; two items with two queries at a time here."""
    queries, codebooks = ragged([1, 5, 3], 6), ragged([4, 2, 1], 4)
    whole = hard_alignment(queries, codebooks).values

    monkeypatch.setattr(kernel_module, "ROWS", 2 * codebooks.mask.shape[1])
    monkeypatch.setattr(kernel_module, "COLUMNS", 2)

    assert_close(hard_alignment(queries, codebooks).values, whole)


def test_half_precision_is_aligned_in_float32(kernel):
    """Autocast and half embeddings alike: a rounded similarity would change the best fragment."""
    _, kernel_under_test = kernel
    queries, codebooks = ragged([2, 3], 3), ragged([4, 2], 4)
    halves = [Fragments(side.embeddings.bfloat16(), side.mask) for side in (queries, codebooks)]
    singles = [Fragments(side.embeddings.float(), side.mask) for side in halves]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = kernel_under_test(*halves)

    assert_close(codes, kernel_under_test(*singles))

"""Kernels in Triton against float64: on a GPU where there is one, in Triton's interpreter if not.

tests/conftest.py asks for the interpreter before anything imports triton.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.autograd import grad
from torch.nn.functional import normalize
from torch.testing import assert_close

from zoo.batch import Fragments
from zoo.kernels.attention import Attention
from zoo.kernels.hard_alignment import (
    hard_alignment,
    listed_hard_alignment,
    rounded_hard_alignment,
)
from zoo.kernels.packing import Packing
from zoo.kernels.rounding import Rounded
from zoo.kernels.soft_alignment import soft_alignment

pytest.importorskip("triton", reason="triton is for Linux on x86-64, or comes with torch for CUDA")

from zoo.kernels import triton_hard, triton_soft
from zoo.kernels.triton_hard import Tile, largest

ON_GPU = torch.cuda.is_available()
DEVICE = "cuda" if ON_GPU else "cpu"
needs_gpu = pytest.mark.skipif(not ON_GPU, reason="no CUDA device")
SMALL = Tile(items=16, queries=16, step=16, warps=4)
SCAN = Attention(sharpness=9, leak=0.1, normalize=True)
HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def _in_triton(monkeypatch) -> None:
    monkeypatch.setenv("ZOO_KERNELS", "triton")


@pytest.fixture
def small_tiles(monkeypatch) -> None:
    """So that a problem of some dozens is many tiles, of which the last are not full."""
    monkeypatch.setattr(Tile, "of", lambda *_: SMALL)


def ragged(lengths: list[int], dim: int, dtype=torch.float32, sign: float = 0.0) -> Fragments:
    """Random unit fragments; with a sign, all in one half space. Padding holds large numbers."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    vectors = torch.randn(*mask.shape, dim)
    vectors = normalize(sign * vectors.abs() if sign else vectors, dim=-1).to(dtype)
    return Fragments(vectors.masked_fill(~mask[..., None], 50.0), mask).to(DEVICE)


def doubled(side: Fragments) -> Fragments:
    """The same numbers in float64, which no kernel in Triton takes, with a gradient to come."""
    return Fragments(side.embeddings.detach().double().requires_grad_(), side.mask)


def with_gradient(side: Fragments) -> Fragments:
    """The same, a leaf."""
    return Fragments(side.embeddings.detach().clone().requires_grad_(), side.mask)


def plain(queries: Fragments, items: Fragments) -> Tensor:
    """Every product, padding left out, and the maximum: (items, packed queries)."""
    packed = Packing.of(queries.mask).pack(queries.embeddings)
    products = torch.einsum("ikd,qd->ikq", items.embeddings, packed)
    return products.masked_fill(~items.mask[..., None], -torch.inf).amax(dim=1)


CASES = {
    "ragged": ([1, 5, 3, 7, 12, 2], [4, 2, 9, 9, 1], 33, 0),
    "all negative": ([2, 3], [2, 1, 3], 16, -1),
    "one word": ([1], [5, 3], 20, 0),
    "one region": ([4, 2], [1, 1, 1], 64, 0),
    "one of each": ([1], [1], 7, 0),
    "nothing padded": ([6, 6, 6], [5] * 20, 48, 0),
}


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("case", CASES)
def test_hard_codes_are_those_of_float64(case, dtype):
    """Halves are not rounded again: products are exact and sums float32."""
    words, regions, dim, sign = CASES[case]
    queries, items = ragged(words, dim, dtype, abs(sign)), ragged(regions, dim, dtype, sign)

    codes = hard_alignment(queries, items).values

    assert codes.dtype == torch.float32
    assert_close(codes.double(), plain(doubled(queries), doubled(items)), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("kinds", "multiplied"),
    [
        ((torch.bfloat16, torch.bfloat16), torch.bfloat16),
        ((torch.float16, torch.bfloat16), torch.float32),
        ((torch.float32, torch.float16), torch.float32),
    ],
)
def test_halves_are_multiplied_as_they_are(kinds, multiplied, monkeypatch):
    """If both sides are of one type; otherwise both are float32, which holds either."""
    given = []
    plain = triton_hard.largest
    monkeypatch.setattr(
        triton_hard, "largest", lambda *a: given.append((a[0].dtype, a[1].dtype)) or plain(*a)
    )

    hard_alignment(ragged([2], 16, kinds[0]), ragged([3], 16, kinds[1]))

    assert given == [(multiplied, multiplied)]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
def test_hard_gradients_are_those_of_float64(share, dtype):
    """However many codes have one; none reaches padding."""
    queries, items = ragged([1, 5, 3, 12], 40, dtype), ragged([4, 2, 7, 7, 1], 40, dtype)
    upstream = torch.randn(5, 21, device=DEVICE) * (torch.rand(5, 21, device=DEVICE) < share)
    ours, exact = ([kind(side) for side in (queries, items)] for kind in (with_gradient, doubled))

    hard_alignment(*ours).values.backward(upstream)
    plain(*exact).backward(upstream.double())

    for one, true in zip(ours, exact, strict=True):
        assert one.embeddings.grad.dtype == dtype
        rounding = {"rtol": 1e-5, "atol": 1e-5} if dtype == torch.float32 else {}
        assert_close(one.embeddings.grad, true.embeddings.grad.to(dtype), **rounding)
        assert (one.embeddings.grad[~one.mask] == 0).all()


def test_of_equals_the_first_is_remembered():
    """Copies of one fragment, an odd number of them: their products are equal to the last bit."""
    entries = torch.randn(1, 1, 24, device=DEVICE).expand(3, 5, 24)
    padding = torch.zeros(3, 5, dtype=torch.bool, device=DEVICE)
    padding[1, :2] = True
    queries = torch.randn(4, 24, device=DEVICE)

    _, places = largest(queries, entries, padding, remember=True)

    assert places.tolist() == [[0] * 4, [2] * 4, [0] * 4]


def test_nan_is_seen_and_padding_never():
    """A NaN among what is real is no score; behind the mask there may be anything."""
    queries, items = ragged([2, 2], 16), ragged([3, 1], 16)
    items.embeddings[1, 1:] = torch.nan
    for remember in (False, True):
        entries = items.embeddings.clone()
        codes, _ = largest(queries.embeddings[0], entries, ~items.mask, remember)
        assert codes.isfinite().all()
        entries[0, 1] = torch.nan
        codes, _ = largest(queries.embeddings[0], entries, ~items.mask, remember)
        assert codes[0].isnan().all()
        assert codes[1].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
def test_a_pair_has_the_same_codes_alone_and_in_company(dtype):
    """To the last bit on a GPU; the interpreter's products are NumPy's, whose order varies."""
    queries, items = ragged([3, 9, 5] * 7, 96, dtype), ragged([2, 7, 36] * 6, 96, dtype)
    together = hard_alignment(queries, items).padded()

    for t, i in [(0, 2), (4, 0), (20, 16)]:
        alone = hard_alignment(queries[t : t + 1], items[i : i + 1]).padded()
        assert_close(alone[0, 0], together[i, t], rtol=0, atol=0 if ON_GPU else 1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
def test_listed_pairs_have_their_codes_and_gradients(dtype):
    """As all pairs have them; pairs in any order, twice, and of more fragments than a tile has."""
    queries, items = ragged([3, 1, 40, 5], 40, dtype), ragged([2, 70, 1], 40, dtype)
    pairs = torch.tensor([[2, 1], [0, 2], [3, 1], [1, 0], [2, 1], [0, 0]], device=DEVICE)
    sides = [[with_gradient(side) for side in (queries, items)] for _ in range(2)]

    ours = listed_hard_alignment(*sides[0], pairs).padded()[0]
    both = hard_alignment(*sides[1]).padded()[pairs[:, 1], pairs[:, 0]]

    assert_close(ours, both, rtol=0, atol=0 if ON_GPU else 1e-6)
    real = queries.mask[pairs[:, 0]]
    upstream = torch.randn_like(ours)[real]
    ours[real].backward(upstream)
    both[real].backward(upstream)
    for one, other in zip(*sides, strict=True):
        rounding = {} if dtype in HALVES else {"rtol": 1e-5, "atol": 1e-5}
        assert_close(one.embeddings.grad, other.embeddings.grad, **rounding)


def test_listed_pairs_show_nan():
    """And of equals the first is remembered."""
    entries = torch.ones(2, 3, 16, device=DEVICE)
    entries[1, 1] = torch.nan
    padding = torch.zeros(2, 3, dtype=torch.bool, device=DEVICE)
    padding[0, 0] = True
    rows = torch.tensor([0, 1], device=DEVICE)

    codes, places = triton_hard.listed(entries[0], entries, padding, rows, rows, remember=True)

    assert codes[0] == 16
    assert places[0] == 1
    assert codes[1].isnan()


def test_zero_vectors_have_code_0_and_finite_gradients():
    """An item of zeros resembles nothing and does no harm."""
    queries = with_gradient(ragged([2, 3], 16))
    mask = torch.ones(2, 3, dtype=torch.bool, device=DEVICE)
    zeros = with_gradient(Fragments(torch.zeros(2, 3, 16, device=DEVICE), mask))

    codes = hard_alignment(queries, zeros).values
    codes.sum().backward()

    assert (codes == 0).all()
    assert zeros.embeddings.grad.isfinite().all()


def test_a_scan_is_within_its_bound():
    """The bound allows for a rounding of products that these kernels do not make."""
    queries, items = ragged([1, 5, 9], 64), ragged([36, 2, 17], 64)

    codes, errors = rounded_hard_alignment(Rounded.of(queries), Rounded.of(items))

    away = (codes.values.double() - plain(doubled(queries), doubled(items))).abs()
    assert (away <= errors.values).all()
    assert away.max() > 0


def alike(lengths: list[int], dim: int = 24) -> Fragments:
    """Ragged, with something in common, so that averages do not cancel and rounding stays small."""
    side = ragged(lengths, dim)
    return Fragments(normalize(side.embeddings + 0.3, dim=-1), side.mask)


FORMS = [
    Attention(9.0, leak, norm, spare)
    for leak, norm, spare in itertools.product([None, 0.1], [False, True], [False, True])
]


def soft_both_ways(monkeypatch, queries, sources, form, logits=None, sides=slice(None)):
    """Cosines and gradients of the kernel, and those of torch in float64."""
    found = []
    upstream = None
    for kernels, kind in (("triton", with_gradient), ("torch", doubled)):
        monkeypatch.setenv("ZOO_KERNELS", kernels)
        leaves = [kind(side) for side in (queries, sources, *(logits or ()))]
        cosines = soft_alignment(*leaves[:2], form, logits=tuple(leaves[2:]) or None)
        real = cosines[:, queries.mask]
        if upstream is None:
            upstream = torch.randn_like(real)
        inputs = [leaf.embeddings for leaf in leaves][sides]
        found.append((real, grad(real, inputs, upstream.to(real))))
    return found


SOFT_CASES = {
    "ragged": ([1, 5, 3, 7, 1], [4, 2, 9, 9]),
    "one query": ([1], [5, 3]),
    "one source": ([4, 2], [1, 1, 1]),
    "36 sources": ([3] * 18, [36, 36]),
}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_soft_cosines_and_gradients_are_those_of_float64(form, monkeypatch):
    """In every form, ragged, logits of both signs; items of one fragment, spared or not."""
    queries, sources = (alike(lengths) for lengths in SOFT_CASES["ragged"])
    logits = tuple(ragged(lengths, 9) for lengths in SOFT_CASES["ragged"])

    ours, exact = soft_both_ways(monkeypatch, queries, sources, form, logits)

    assert_close(ours, exact, rtol=0, atol=1e-5, check_dtype=False)


@pytest.mark.parametrize("case", SOFT_CASES)
@pytest.mark.parametrize("own_logits", [False, True], ids=["dot products", "logits of their own"])
def test_soft_alignment_takes_any_shape(case, own_logits, monkeypatch):
    """With SCAN's norm and leak, which needs all that there is in the kernel."""
    queries, sources = (alike(lengths) for lengths in SOFT_CASES[case])
    logits = None
    if own_logits:
        logits = tuple(
            Fragments(side.embeddings[..., :9], side.mask) for side in (queries, sources)
        )

    ours, exact = soft_both_ways(monkeypatch, queries, sources, SCAN, logits)

    assert_close(ours, exact, rtol=0, atol=1e-5, check_dtype=False)


@pytest.mark.parametrize("form", [SCAN, replace(SCAN, normalize=False)], ids=str)
def test_soft_alignment_of_zeros_is_0_with_finite_gradients(form):
    """Norms and squares that are 0 have no gradient, rather than an infinite one."""
    queries, sources = with_gradient(alike([2, 3])), with_gradient(alike([4, 3]))
    with torch.no_grad():
        queries.embeddings[0, 0] = 0
        sources.embeddings[1] = 0

    cosines = soft_alignment(queries, sources, form)[:, queries.mask]
    cosines.sum().backward()

    assert (cosines[1] == 0).all()
    assert all(side.embeddings.grad.isfinite().all() for side in (queries, sources))


def test_logits_far_below_0_are_weighed_as_others(monkeypatch):
    """The sources that a tile is filled up with would have all of the weight."""
    queries, sources = alike([3, 2]), alike([3, 5])
    sources = Fragments(-sources.embeddings, sources.mask)

    ours, exact = soft_both_ways(monkeypatch, queries, sources, Attention(1000.0))

    assert_close(ours[0].double(), exact[0], rtol=0, atol=1e-3)


def test_more_sources_than_fit_are_aligned_by_torch(monkeypatch):
    """Item by item: those beside them go through the kernel."""
    queries, sources = alike([3, 2]), alike([9, 2])
    launched = []
    plain = triton_soft.cosines
    monkeypatch.setattr(triton_soft, "MOST", 4)
    monkeypatch.setattr(
        triton_soft, "cosines", lambda *a: launched.append(a[0].shape[1]) or plain(*a)
    )

    ours, exact = soft_both_ways(monkeypatch, queries, sources, SCAN)

    assert set(launched) == {2}
    assert_close(ours, exact, rtol=0, atol=1e-5, check_dtype=False)


@pytest.mark.parametrize("place", ["everywhere", "in products", "the older way"])
def test_products_of_float32_are_tf32_only_where_torch_may(place):
    """One setting of torch's for its products and for these, in whatever form it is given."""
    matmul = torch.backends.cuda.matmul
    assert triton_hard.float32_products() == "tf32x3"
    try:
        if place == "the older way" or not hasattr(matmul, "fp32_precision"):
            matmul.allow_tf32 = True
        else:
            (torch.backends if place == "everywhere" else matmul).fp32_precision = "tf32"
        assert triton_hard.float32_products() == "tf32"
    finally:
        if place == "the older way" or not hasattr(matmul, "fp32_precision"):
            matmul.allow_tf32 = False
        if hasattr(matmul, "fp32_precision"):
            torch.backends.fp32_precision = matmul.fp32_precision = "none"


def on_gpu(items: int, longest: int, dim: int, dtype: torch.dtype) -> Fragments:
    """Unit vectors made there, ragged, with something in common."""
    lengths = torch.randint(1, longest + 1, (items,), device="cuda")
    mask = torch.arange(longest, device="cuda") < lengths[:, None]
    vectors = torch.randn(items, longest, dim, device="cuda").add_(0.3)
    return Fragments(normalize(vectors, dim=-1).to(dtype), mask)


@needs_gpu
def test_cocos_5k_takes_less_than_4_gb():
    """Images, captions and scores included; a sample of the scores is float64's."""
    images = on_gpu(5000, 36, 1024, torch.bfloat16)
    texts = on_gpu(25000, 23, 1024, torch.bfloat16)
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.synchronize()
    started = time.perf_counter()

    scores = torch.cat(
        [
            hard_alignment(block, images).pool(lambda codes: codes.mean(dim=1))
            for block in texts.split(1000)
        ],
        dim=1,
    )
    torch.cuda.synchronize()

    print(f"\n5,000 x 25,000 in {time.perf_counter() - started:.2f} s")  # noqa: T201 - said only
    assert torch.cuda.max_memory_allocated() < 4e9
    exact = hard_alignment(doubled(texts[7000:7020]), doubled(images[-20:]))
    expected = exact.pool(lambda codes: codes.mean(dim=1))
    assert_close(scores[-20:, 7000:7020].double(), expected, rtol=0, atol=2e-6)


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
def test_all_tiles_give_the_same_bits(dtype):
    """So the size of a block decides no rank."""
    entries = on_gpu(300, 36, 1024, dtype).embeddings
    queries = on_gpu(1, 1000, 1024, dtype).embeddings[0]
    padding = torch.rand(300, 36, device="cuda") < 0.2
    padding[:, 0] = False
    step = 32 if dtype == torch.float32 else 64
    tiles = [Tile(128, 64, step, 8), Tile(64, 32, step, 4), Tile(64, 64, step, 4)]

    first, *others = (largest(queries, entries, padding, True, tile=tile) for tile in tiles)

    for codes, places in others:
        assert codes.equal(first[0])
        assert places.equal(first[1])


@needs_gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradients_of_a_batch_are_those_of_float64(dtype):
    """Of whole tiles, in 1,024 dimensions."""
    queries, items = on_gpu(200, 20, 1024, dtype), on_gpu(200, 36, 1024, dtype)
    ours, exact = ([kind(side) for side in (queries, items)] for kind in (with_gradient, doubled))

    hard_alignment(*ours).values.sum().backward()
    hard_alignment(*exact).values.sum().backward()

    for one, true in zip(ours, exact, strict=True):
        away = (one.embeddings.grad.double() - true.embeddings.grad).norm()
        assert away < (1e-3 if dtype == torch.float32 else 2e-2) * true.embeddings.grad.norm()


@needs_gpu
@pytest.mark.parametrize("form", [SCAN, Attention(10.0)], ids=str)
@pytest.mark.parametrize("regions", [36, 100])
def test_soft_alignment_of_a_batch_is_that_of_float64(form, regions, monkeypatch):
    """Forward and backward, in 256 dimensions."""
    queries, sources = on_gpu(100, 20, 256, torch.float32), on_gpu(60, regions, 256, torch.float32)

    ours, exact = soft_both_ways(monkeypatch, queries, sources, form)

    for one, true in zip((ours[0], *ours[1]), (exact[0], *exact[1]), strict=True):
        assert (one.double() - true).norm() < 1e-5 * true.norm()

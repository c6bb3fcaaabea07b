"""Soft alignment against the form that builds every attended vector, pair by pair."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import grad
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.batch import Fragments
from zoo.errors import InputError
from zoo.kernels import products as multiplying
from zoo.kernels import soft_alignment as kernel
from zoo.kernels.attention import Attention, attended_cosine, attention_weights
from zoo.kernels.soft_alignment import soft_alignment
from zoo.kernels.soft_passes import SAFE

DIM = 24
SCAN = Attention(sharpness=9, leak=0.1, normalize=True)
FORMS = [
    Attention(9.0, leak, normalize, spare)
    for leak, normalize, spare in itertools.product([None, 0.1], [False, True], [False, True])
]


def weights_of(logits: Tensor, form: Attention) -> Tensor:
    """The shares of one pair's real fragments, (queries, sources), step by step."""
    if not (form.spare_single and len(logits) == 1):
        if form.leak is not None:
            logits = torch.where(logits > 0, logits, form.leak * logits)
        if form.normalize:
            lengths = torch.stack([source.square().sum().sqrt() for source in logits.T])
            logits = logits / (lengths + 1e-8)
    shares = torch.exp(form.sharpness * logits)
    return shares / shares.sum(dim=1, keepdim=True)


def literal(
    queries: Fragments,
    sources: Fragments,
    form: Attention,
    logits: tuple[Fragments, Fragments] | None = None,
) -> Tensor:
    """Every real query's cosine, one after another; its attended vector is built."""
    asking, asked = logits or (queries, sources)
    cosines = []
    for s, t in itertools.product(range(len(sources)), range(len(queries))):
        raw = real(asking, t) @ real(asked, s).T
        for query, shares in zip(real(queries, t), weights_of(raw, form), strict=True):
            attended = sum(a * x for a, x in zip(shares, real(sources, s), strict=True))
            cosines.append(query @ attended / attended.norm())
    return torch.stack(cosines)


def real(fragments: Fragments, item: int) -> Tensor:
    """One item's real fragments."""
    return fragments.embeddings[item][fragments.mask[item]]


def random_mask(items: int, longest: int) -> Tensor:
    """Ragged, with gaps; each item has something real."""
    mask = torch.rand(items, longest) < 0.7
    mask[torch.arange(items), torch.randint(longest, (items,))] = True
    return mask


def unit(mask: Tensor, dim: int = DIM, dtype: torch.dtype = torch.float64) -> Fragments:
    """Random unit vectors with something in common, so that none cancel; ones where padded."""
    vectors = torch.randn(*mask.shape, dim, dtype=dtype) + torch.randn(dim, dtype=dtype)
    vectors = torch.nn.functional.normalize(vectors, dim=-1)
    return Fragments(vectors.masked_fill(~mask[..., None], 1).requires_grad_(), mask)


def both_ways(queries, sources, form, logits=None):
    """The kernel's real cosines and the literal ones, and the gradients of a random sum of each."""
    inputs = [side.embeddings for side in (queries, sources, *(logits or ()))]
    used = inputs[:2] if logits is None else inputs
    found = soft_alignment(queries, sources, form, logits=logits)
    assert (found == -torch.inf).equal(~queries.mask.expand_as(found))
    found = found[found.isfinite()]
    expected = literal(queries, sources, form, logits)
    upstream = torch.randn_like(expected)
    return (found, grad(found, used, upstream)), (expected, grad(expected, used, upstream))


shapes = st.tuples(*[st.integers(1, 5)] * 2, *[st.integers(1, 7)] * 2)


@settings(max_examples=30, deadline=None)
@given(shapes, st.sampled_from(FORMS), st.booleans(), st.floats(0.5, 30), st.integers(0, 2**31))
def test_float64_equals_attended_vectors_to_1e_9(shape, form, projected, sharpness, seed):
    """Forward and backward, in every form, over ragged shapes, with logits of their own or not."""
    torch.manual_seed(seed)
    texts, images, words, regions = shape
    queries, sources = unit(random_mask(texts, words)), unit(random_mask(images, regions))
    logits = (unit(queries.mask, 9), unit(sources.mask, 9)) if projected else None

    found, expected = both_ways(queries, sources, replace(form, sharpness=sharpness), logits)

    assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("turned", [False, True], ids=["words attend", "regions attend"])
def test_float32_equals_attended_vectors_to_1e_5(form, turned):
    """The same in single precision, between texts and images of usual lengths."""
    sides = [unit(random_mask(*size), dtype=torch.float32) for size in ((3, 12), (2, 20))]
    queries, sources = reversed(sides) if turned else sides

    found, expected = both_ways(queries, sources, form)

    assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_single_query_keeps_its_raw_logits_only_where_spared():
    """Normalised alone it would keep the sign: with logits 0.6 and 0.8, equal shares."""
    logits, here = torch.tensor([[0.6, 0.8]]), torch.ones(1, dtype=torch.bool)
    both = torch.ones(2, dtype=torch.bool)

    normalized = attention_weights(logits, here, both, SCAN)
    spared = attention_weights(logits, here, both, replace(SCAN, spare_single=True))

    assert_close(normalized, torch.tensor([[0.5, 0.5]]))
    assert_close(spared, torch.softmax(9 * logits, dim=1))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_items_with_a_single_fragment_align_as_the_form_says(form):
    """On either side, in the company of longer items, whether spared or not."""
    mask = torch.tensor([[True, True, True], [False, True, False], [True, False, False]])
    queries, sources = unit(mask), unit(mask)
    with torch.no_grad():
        queries.embeddings[1:] *= torch.tensor([-1.0, 1.0])[:, None, None]

    found, expected = both_ways(queries, sources, form)

    assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_small_logits_are_normalized_as_large_ones():
    """Only those of the size of the 1e-8 beside the norm are not; their squares are below eps."""
    logits, here = torch.randn(3, 4), torch.ones(4, dtype=torch.bool)

    small = attention_weights(1e-5 * logits, here[:3], here, SCAN)

    assert_close(small, attention_weights(logits, here[:3], here, SCAN), rtol=0, atol=0.01)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_weights_ignore_padding(form):
    """They equal those of the real fragments alone; padded sources get 0, padded queries shares."""
    queries, sources = random_mask(4, 6), random_mask(3, 5)[:, None]
    real_pair = queries[..., None] & sources[..., None, :]
    logits = torch.randn(3, 4, 6, 5, dtype=torch.float64).masked_fill(~real_pair, 1e30)

    weights = attention_weights(logits, queries, sources, form)

    for s, t in itertools.product(range(3), range(4)):
        kept = weights[s, t][queries[t]][:, sources[s, 0]]
        assert_close(kept, weights_of(logits[s, t][queries[t]][:, sources[s, 0]], form))
    assert (weights.masked_select(~sources[..., None, :]) == 0).all()
    assert_close(weights.sum(dim=-1), torch.ones(3, 4, 6, dtype=torch.float64))


def test_attended_cosine_broadcasts():
    """One Gram matrix serves all texts; the weights need not come from `attention_weights`."""
    queries, sources = unit(torch.ones(4, 3).bool()), unit(torch.ones(2, 5).bool())
    weights = torch.rand(2, 4, 3, 5, dtype=torch.float64)
    similarity = torch.einsum("twd,ird->itwr", queries.embeddings, sources.embeddings)
    gram = sources.embeddings @ sources.embeddings.mT

    found = attended_cosine(weights, similarity, gram[:, None])

    attended = torch.einsum("itwr,ird->itwd", weights, sources.embeddings)
    expected = torch.cosine_similarity(attended, queries.embeddings[None], dim=-1)
    assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_padding_may_hold_anything_finite(form):
    """The largest float32 there changes no cosine and no gradient, nor does it poison them."""
    masks = random_mask(3, 6), random_mask(4, 5)
    ones = [unit(mask, dtype=torch.float32) for mask in masks]
    huge = [
        Fragments(side.embeddings.detach().masked_fill(~side.mask[..., None], 3e38), side.mask)
        for side in ones
    ]
    for side in huge:
        side.embeddings.requires_grad_()

    found = [soft_alignment(*sides, form, logits=tuple(sides)) for sides in (ones, huge)]
    for cosines in found:
        cosines.masked_fill(~masks[0], 0).sum().backward()

    assert_close(found[1], found[0])
    for one, other in zip(ones, huge, strict=True):
        assert_close(other.embeddings.grad, one.embeddings.grad)


@pytest.mark.parametrize("form", [SCAN, FORMS[0]], ids=str)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (4, 6, 40), (9, 5, 12), (20, 7, 100)], ids=str)
@pytest.mark.parametrize("projected", [False, True], ids=["plain", "projected"])
def test_blocks_of_any_size_give_the_same(form, sizes, projected, monkeypatch):
    """From one item at a time up: cosines, their order and their gradients stay."""
    queries, sources = unit(random_mask(7, 6)), unit(random_mask(5, 4))
    logits = (unit(queries.mask, 9), unit(sources.mask, 9)) if projected else None
    inputs = [side.embeddings for side in (queries, sources, *(logits or ()))]
    weights = torch.randn(5, 7, 6, dtype=torch.float64)

    def aligned():
        cosines = soft_alignment(queries, sources, form, logits=logits)
        used = inputs if projected else inputs[:2]
        return cosines, grad((cosines.masked_fill(~queries.mask, 0) * weights).sum(), used)

    whole = aligned()
    monkeypatch.setattr(kernel, "CPU", kernel.Sizes(*sizes))

    assert_close(aligned(), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_pair_aligns_alone_as_in_company(form):
    """Longer items beside it change it by rounding at most."""
    queries = unit(random_mask(6, 9), dtype=torch.float32)
    sources = unit(random_mask(4, 7), dtype=torch.float32)
    together = soft_alignment(queries, sources, form)

    for s, t in itertools.product(range(4), range(6)):
        alone = soft_alignment(queries[t : t + 1], sources[s : s + 1], form)
        assert_close(alone[0, 0], together[s, t], rtol=0, atol=1e-6)


class Largest(TorchDispatchMode):
    """Remembers the most numbers that a result of any operation had."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def test_memory_is_bounded(monkeypatch):
    """No step holds more similarities than a block, the embeddings or the result has."""
    monkeypatch.setattr(kernel, "CPU", kernel.Sizes(30, 30, 200))
    queries, sources = unit(random_mask(14, 9)), unit(random_mask(12, 9))

    with torch.no_grad(), Largest() as largest:
        result = soft_alignment(queries, sources, SCAN)

    assert largest.numbers <= max(30 * 30, queries.embeddings.numel(), result.numel())


def test_zero_vectors_break_no_gradient():
    """A zero query, a zero source and an item of zeros alone: cosines 0, gradients finite."""
    for form, (at_query, at_source) in itertools.product(
        FORMS, [(0, None), (None, 0), (0, 0), (slice(None), None), (None, slice(None))]
    ):
        queries = unit(random_mask(3, 4), dtype=torch.float32)
        sources = unit(random_mask(3, 4), dtype=torch.float32)
        with torch.no_grad():
            if at_query is not None:
                queries.embeddings[0, at_query] = 0
            if at_source is not None:
                sources.embeddings[0, at_source] = 0

        cosines = soft_alignment(queries, sources, form)
        cosines.masked_fill(~queries.mask, 0).sum().backward()

        assert cosines[:, queries.mask].isfinite().all()
        assert queries.embeddings.grad.isfinite().all()
        assert sources.embeddings.grad.isfinite().all()
        if at_source == slice(None):
            assert (cosines[0][queries.mask] == 0).all()


def test_identical_sources_are_attended_as_one():
    """Whatever the weights, the average is the source itself."""
    queries, sources = unit(random_mask(3, 5)), unit(torch.ones(1, 1).bool())
    copies = Fragments(sources.embeddings.expand(1, 6, DIM), torch.ones(1, 6).bool())

    cosines = soft_alignment(queries, copies, SCAN)[0, queries.mask]

    assert_close(cosines, queries.embeddings[queries.mask] @ sources.embeddings[0, 0])


def test_orthogonal_sides_have_cosine_0():
    """Every logit is 0: the norms too, and the shares are equal."""
    axes = torch.eye(6)
    queries = Fragments(axes[None, :2], torch.ones(1, 2).bool())
    sources = Fragments(axes[None, 2:], torch.ones(1, 4).bool())

    assert_close(soft_alignment(queries, sources, SCAN), torch.zeros(1, 1, 2))


def test_great_sharpness_attends_to_the_best_alone():
    """The softmax does not overflow, and the cosine is that of the best source."""
    queries = unit(torch.ones(2, 3).bool(), dtype=torch.float32)
    sources = unit(torch.ones(2, 5).bool(), dtype=torch.float32)

    cosines = soft_alignment(queries, sources, Attention(sharpness=1e6))

    best = torch.einsum("twd,ird->itwr", queries.embeddings, sources.embeddings).amax(dim=-1)
    assert_close(cosines, best)


@pytest.mark.parametrize("sharpness", [SAFE - 0.1, SAFE + 0.1, 300])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_exponents_may_be_large_and_all_negative(form, sharpness):
    """Whether the largest is taken away first or not: in float32, as in float64."""
    mask = torch.tensor([[True, False, False], [True, True, True]])
    queries, sources = unit(mask), unit(torch.ones(2, 4).bool())
    with torch.no_grad():
        sources.embeddings.copy_(-sources.embeddings.abs())
        queries.embeddings.copy_(queries.embeddings.abs())
    single = [Fragments(side.embeddings.float(), side.mask) for side in (queries, sources)]
    form = replace(form, sharpness=sharpness)

    found, expected = soft_alignment(*single, form), soft_alignment(queries, sources, form)
    real_ones = queries.mask.expand_as(found)

    assert_close(expected[real_ones], literal(queries, sources, form))
    assert_close(found[real_ones].double(), expected[real_ones], rtol=0, atol=1e-5 * sharpness)
    both = [
        grad(cosines[real_ones].sum(), sides)
        for cosines, sides in (
            (found, [side.embeddings for side in single]),
            (expected, [queries.embeddings, sources.embeddings]),
        )
    ]
    for one, other in zip(*both, strict=True):
        assert_close(one.double(), other, rtol=0, atol=1e-4 * sharpness)


@pytest.mark.parametrize("turned", [False, True], ids=["words attend", "regions attend"])
@pytest.mark.parametrize("form", [SCAN, FORMS[0]], ids=str)
@pytest.mark.parametrize("by_one_dnn", [False, True])
def test_at_real_sizes_either_library_is_within_1e_5_of_float64(
    form, turned, by_one_dnn, monkeypatch
):
    """Cosines and gradients, where products are so large that it matters who multiplies them."""
    if by_one_dnn and not multiplying.has_one_dnn():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(multiplying, "_one_dnn_is_faster", lambda: by_one_dnn)
    texts, images = unit(random_mask(56, 14), 256), unit(torch.ones(16, 36).bool(), 256)
    double = (images, texts) if turned else (texts, images)
    single = [Fragments(side.embeddings.float(), side.mask) for side in double]

    found, expected = soft_alignment(*single, form), soft_alignment(*double, form)
    upstream = torch.randn_like(expected).masked_fill(~double[0].mask, 0)

    assert_close(found.double(), expected, rtol=0, atol=1e-5)
    for one, other in zip(
        grad(found, [side.embeddings for side in single], upstream.float()),
        grad(expected, [side.embeddings for side in double], upstream),
        strict=True,
    ):
        assert_close(one.double(), other, rtol=1e-5, atol=1e-4)


def test_rounded_similarities_are_near_and_the_rest_is_not_rounded():
    """In bfloat16 a cosine moves by hundredths at most; one with a single source, by nothing."""
    queries = unit(random_mask(5, 6), dtype=torch.float32)
    sources = unit(random_mask(4, 9), dtype=torch.float32)
    full = soft_alignment(queries, sources, SCAN)

    rounded = soft_alignment(queries, sources, SCAN, dtype=torch.bfloat16)
    rounded.masked_fill(~queries.mask, 0).sum().backward()

    assert rounded.dtype == torch.float32
    assert not rounded.equal(full)
    assert_close(rounded, full, rtol=0, atol=0.02)
    assert queries.embeddings.grad.isfinite().all()
    # The products are rounded: of one source, the cosine is its product.
    alone = Fragments(sources.embeddings[:1, :1], torch.ones(1, 1).bool())
    halves = (queries.embeddings.bfloat16() @ alone.embeddings[0, 0].bfloat16()).float()
    one = soft_alignment(queries, alone, SCAN, dtype=torch.bfloat16)[0]
    assert_close(one[queries.mask], halves[queries.mask], rtol=1e-6, atol=1e-6)


def test_half_features_align_as_the_same_numbers_in_full():
    """They are widened before anything is multiplied, and get gradients of their own type."""
    halves = [unit(random_mask(3, 6), dtype=torch.float16) for _ in range(2)]

    found = soft_alignment(*halves, SCAN)
    found.masked_fill(~halves[0].mask, 0).sum().backward()

    full = [Fragments(side.embeddings.detach().float(), side.mask) for side in halves]
    assert found.equal(soft_alignment(*full, SCAN))
    assert halves[1].embeddings.grad.dtype == torch.float16


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_gradient_is_that_of_differences(form):
    """`gradcheck`, with padding and items of one fragment, logits of their own or not."""
    masks = torch.tensor([[True, False], [True, True]]), torch.tensor([[False, True, True]])
    sides = [unit(mask, 3).embeddings for mask in (*masks, *masks)]

    def cosines(queries, sources, *keys):
        logits = tuple(map(Fragments, keys, masks)) if keys else None
        both = map(Fragments, (queries, sources), masks)
        return soft_alignment(*both, form, logits=logits)[:, masks[0]]

    assert torch.autograd.gradcheck(cosines, sides[:2], fast_mode=True)
    assert torch.autograd.gradcheck(cosines, sides, fast_mode=True)


def test_a_square_rounded_below_zero_has_a_gradient():
    """Opposite sources cancel: what rounding leaves makes neither NaN nor a great cosine."""
    weights = torch.tensor([[0.5, 0.5]], requires_grad=True)
    gram = torch.tensor([[1.0, -1.000001], [-1.000001, 1.0]], requires_grad=True)
    similarity = torch.tensor([[0.7, -0.7]], requires_grad=True)

    value = attended_cosine(weights, similarity, gram)
    value.sum().backward()

    assert abs(value.item()) <= 1
    assert all(part.grad.isfinite().all() for part in (weights, gram, similarity))


def test_the_parts_compute_in_float32_at_least():
    """Under autocast and with half inputs: weights and cosines are float32, and not rounded."""
    here = torch.ones(3, dtype=torch.bool)
    logits, gram = torch.randn(3, 3), torch.eye(3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        weights = attention_weights(logits, here, here, SCAN)
        value = attended_cosine(weights, logits, gram)

    assert_close(weights, attention_weights(logits, here, here, SCAN))
    assert_close(value, attended_cosine(weights, logits, gram))
    assert attention_weights(logits.half(), here, here, SCAN).dtype == torch.float32


@pytest.mark.parametrize("sharpness", [0, -1.0, float("nan")])
def test_a_sharpness_that_is_not_positive_is_refused(sharpness):
    """It would attend to nothing, or to the least similar."""
    with pytest.raises(InputError, match=r"sharpness is .* above 0"):
        Attention(sharpness)

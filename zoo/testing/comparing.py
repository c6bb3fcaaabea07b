"""Checks of the aligner: the score of a pair depends on that pair alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from ..batch import Batch
from ..interfaces import Similarity
from ..model import MatchingModel
from .encoding import sides
from .samples import CAPTIONS, cut, distance, sample_images, spoiled
from .subjects import Subject, built
from .verdicts import Fault, NotApplicable

PAIR = (
    "Let entry (i, t) depend on image i and text t alone: no statistic over the block, no item "
    "picked by its place, no softmax over images or texts, and padding left out by the masks."
)


LISTED = ((2, 4), (0, 1), (3, 0), (0, 4), (2, 4))
"""Pairs of the sample in no order, one of them twice."""


def encoded(model: MatchingModel, subject: Subject) -> tuple[Batch, Batch]:
    """The sample's images and texts, encoded."""
    images = sample_images(subject.feature_dim)
    return model.encode_images(images), model.encode_texts(CAPTIONS)


@torch.no_grad()
def check_alone(subject: Subject) -> None:
    """A pair scores the same alone and in a block."""
    model = built(subject)
    both, singles = [], []
    for side in sides(model, subject):
        together = side.encoder(side.encoder.prepare(side.items))
        alone = [side.encoder(side.encoder.prepare(single)) for single in side.singles]
        both.append(together)
        singles.append([cut(together[row : row + 1], one) for row, one in enumerate(alone)])
    block = model.aligner(*both).scores
    for i, image in enumerate(singles[0]):
        for t, text in enumerate(singles[1]):
            score = model.aligner(image, text).scores
            if tuple(score.shape) != (1, 1):
                raise Fault(
                    f"One image and one text give scores of the shape {tuple(score.shape)} where "
                    "(1, 1) is wanted.",
                    "Yield one score for each pair: (images, texts).",
                )
            off = distance({"": score[0]}, {"": block[i, t : t + 1]})[1]
            if off:
                raise Fault(
                    f"Image {i} with text {t} scores {block[i, t]:.4g} in a block and "
                    f"{score.item():.4g} alone.",
                    PAIR,
                )


@torch.no_grad()
def check_order(subject: Subject) -> None:
    """Scores move with their items when a block is put in another order."""
    model = built(subject)
    images, texts = encoded(model, subject)
    block = model.aligner(images, texts).scores
    rows, columns = torch.arange(len(images)).flip(0), torch.arange(len(texts)).roll(2)
    moved = model.aligner(images[rows], texts[columns]).scores
    off = distance({"": moved}, {"": block[rows][:, columns]})[1]
    if off:
        raise Fault(
            f"Scores depend on the order of the block: put in another order, some are off by "
            f"{off:.2g} where 0 is wanted.",
            PAIR,
        )


def check_listed(subject: Subject) -> None:
    """Listed pairs score as in their block and have its gradients, in training if `pairwise`."""
    model = built(subject)
    with torch.no_grad():
        both = encoded(model, subject)
    aligner = model.aligner.train(model.aligner.pairwise)
    rows = torch.tensor(LISTED)

    def of_block(images: Batch, texts: Batch) -> Similarity:
        block = aligner(images, texts)
        levels = {name: level[*rows.T] for name, level in block.levels.items()}
        return Similarity(block.scores[*rows.T], levels)

    wanted = _with_gradients(of_block, *both)
    listed = _with_gradients(lambda images, texts: aligner.score_pairs(images, texts, rows), *both)
    # A gradient is a sum, much of which cancels: what is rounded away is a share of its largest
    # number, ten times what is rounded away of a score.
    sizes = {
        name: 10 * values.abs().max().clamp(min=1) if name.startswith("gradients") else 1
        for name, values in wanted.items()
    }
    what, off = distance(*({n: part[n] / sizes[n] for n in wanted} for part in (listed, wanted)))
    if off:
        raise Fault(
            f"Of listed pairs, the {what} are off by up to {off:.2g} from those of their block.",
            "Let score_pairs yield what forward yields for these pairs, or leave it out; set "
            "pairwise to False where training scores a pair otherwise the second time.",
        )


def _with_gradients(
    score: Callable[[Batch, Batch], Similarity], images: Batch, texts: Batch
) -> dict[str, Tensor]:
    """Scores and levels of the listed pairs, and the gradients of the encodings by their sum."""
    leaves: dict[str, Tensor] = {}
    for side, batch in (("images", images), ("texts", texts)):
        for name, tensor in batch.tensors().items():
            if tensor.is_floating_point():
                leaves[f"gradients of {side}' {name}"] = tensor.requires_grad_()
    similarity = score(images, texts)
    values = {"scores": similarity.scores, **similarity.levels}
    total = torch.stack([value @ torch.arange(1.0, len(value) + 1) for value in values.values()])
    found = torch.autograd.grad(
        total.sum(), list(leaves.values()), allow_unused=True, materialize_grads=True
    )
    return {
        **{name: value.detach() for name, value in values.items()},
        **dict(zip(leaves, found, strict=True)),
    }


@torch.no_grad()
def check_padding(subject: Subject) -> None:
    """What stands at padding of encodings changes no score."""
    model = built(subject)
    images, texts = encoded(model, subject)
    clean = model.aligner(images, texts).scores
    dirty = model.aligner(spoiled(images), spoiled(texts)).scores
    off = distance({"": dirty}, {"": clean})[1]
    if off:
        raise Fault(
            f"Scores change by up to {off:.2g} when other numbers stand at padding of the "
            "encodings.",
            "Leave padding out by the mask before a maximum, a softmax or a sum; a product with "
            "0 does not.",
        )


@torch.no_grad()
def check_shapes(subject: Subject) -> None:
    """Scores and every level are (images, texts), and the words of a text are its fragments."""
    model = built(subject)
    images, texts = encoded(model, subject)
    similarity = model.aligner(images, texts)
    wanted = (len(images), len(texts))
    for name, values in {"scores": similarity.scores, **similarity.levels}.items():
        if tuple(values.shape) != wanted:
            raise Fault(
                f"{name} has the shape {tuple(values.shape)} where {wanted} is wanted.",
                "Yield one number for each pair: (images, texts).",
            )
    shown = model.aligner.word_regions(images, texts)
    for row, caption in enumerate(CAPTIONS if shown is not None else ()):
        assert shown is not None  # the captions are looped over only then
        real, words = int(shown[0, row].isfinite().any(-1).sum()), model.text_encoder.words(caption)
        if real != len(words):
            raise Fault(
                f"word_regions has {real} words for {caption!r} and the text encoder names "
                f"{len(words)}.",
                "Let `words` name one for each fragment, and word_regions be -inf at padding.",
            )


@torch.no_grad()
def check_finite(subject: Subject) -> None:
    """Zero vectors, one region, half precision and large values give finite scores."""
    model = built(subject)
    texts = model.encode_texts(CAPTIONS)
    images = sample_images(subject.feature_dim)
    plain = images.features
    for what, features in {
        "ordinary features": plain,
        "features that are all 0": torch.zeros_like(plain),
        "features in half precision with values up to 2,000": (500 * plain).half(),
        "features that are all negative": -plain.abs(),
    }.items():
        encoded_images = model.encode_images(replace(images, features=features))
        scores = model.aligner(encoded_images, texts).scores
        if not scores.isfinite().all():
            raise Fault(
                f"With {what}, {int((~scores.isfinite()).sum())} of {scores.numel()} scores are "
                "not finite.",
                "Divide by (norm + 1e-8), keep sums and squares out of float16, and give each "
                "softmax at least one real entry.",
            )


@torch.no_grad()
def check_precision(subject: Subject) -> None:
    """Scores are float32 under autocast and with bfloat16 weights, and near those of float32."""
    model = built(subject)
    images, texts = encoded(model, subject)
    wanted = model.aligner(images, texts).scores
    with torch.autocast("cpu", torch.bfloat16):
        cast = model.aligner(images, texts).scores
    _near(cast, wanted, "under autocast to bfloat16", 2e-3, 0)
    half = built(subject).bfloat16()
    _near(
        half.aligner(*encoded(half, subject)).scores, wanted, "with weights in bfloat16", 0.1, 0.1
    )


def _near(scores: Tensor, wanted: Tensor, when: str, absolute: float, relative: float) -> None:
    if scores.dtype != torch.float32:
        raise Fault(
            f"The aligner yields {scores.dtype} {when} where torch.float32 is wanted.",
            "Scores rank: bring what they are made of to float32 first (zoo.ops.in_full), and "
            "sum up outside of autocast.",
        )
    off = (scores - wanted).abs() - relative * wanted.abs()
    if not off.max() <= absolute:
        raise Fault(
            f"Scores are off by up to {(scores - wanted).abs().max():.2g} {when}, where "
            f"{absolute + relative * wanted.abs().max().item():.2g} may be.",
            "Compute norms, softmaxes and sums in float32 (zoo.ops.in_full).",
        )


@torch.no_grad()
def check_scan(subject: Subject) -> None:
    """The bound of a quick scan holds."""
    model = built(subject)
    if not model.aligner.scans:
        raise NotApplicable("The aligner has no quick scan.")
    images, texts = encoded(model, subject)
    exact = model.aligner(images, texts).scores
    scan = model.aligner.scan(model.aligner.rounded(images), model.aligner.rounded(texts))
    beyond = ((scan.scores - exact).abs() - scan.errors).max().item()
    if not beyond <= 0:
        raise Fault(
            f"A scanned score is {beyond:.2g} farther from the exact one than its bound says.",
            "Widen the bound until it holds for every rounding, or leave `scans` False.",
        )

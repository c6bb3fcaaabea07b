"""Checks of training: gradients everywhere, a loss that knows its matches, two batches learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import cache

import torch
from torch import Tensor, nn

from ..batch import Batch, Regions
from ..interfaces import Component, Loss, Similarity
from ..model import MatchingModel
from .samples import CAPTIONS, sample_images, sample_pairs
from .subjects import Subject, built
from .verdicts import Fault

RATES = (1e-2, 3e-3, 1e-3)
STEPS = 80
LEARNED = 0.8
"""The share of its first value to which the loss must fall on two batches."""


def check_gradients(subject: Subject) -> None:
    """A gradient reaches every parameter, or the component says that none does."""
    model = built(subject).train()
    scores = _similarity(model, sample_images(subject.feature_dim)).scores
    # A weight for each pair, since a plain sum can leave a parameter at rest by symmetry.
    torch.autograd.backward((scores * torch.randn(scores.shape)).sum())
    at_rest = []
    for name, parameter in model.named_parameters():
        found = parameter.grad
        if found is not None and not found.isfinite().all():
            raise Fault(
                f"The gradient of {name} is not finite.",
                "Clamp below roots and logarithms, and divide by (norm + 1e-8).",
            )
        if parameter.requires_grad and (found is None or not found.any()):
            at_rest.append(name)
    _check_declared(model, at_rest)


def _check_declared(model: MatchingModel, at_rest: list[str]) -> None:
    declared = {
        f"{name}.{pattern}"
        for name, module in model.named_modules()
        if isinstance(module, Component)
        for pattern in module.without_gradient
    }
    left = [name for name in at_rest if not any(fnmatchcase(name, one) for one in declared)]
    if left:
        raise Fault(
            f"No gradient reaches {' and '.join(left[:3])}"
            f"{f' and {len(left) - 3} more' if len(left) > 3 else ''}.",
            "Take out what nothing uses; or name it in its component's class: "
            'without_gradient = ("NAME",), patterns as in a shell.',
        )


def check_zeros(subject: Subject) -> None:
    """Gradients are finite for regions that are all 0, as padding of some feature files is."""
    model = built(subject).train()
    images = sample_images(subject.feature_dim)
    images.features[0, 0] = 0
    torch.autograd.backward(_similarity(model, images).scores.sum())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise Fault(
                f"The gradient of {name} is not finite where a region is all 0.",
                "Divide by (norm + 1e-8) (zoo.ops.l2_normalize), and clamp below roots.",
            )


def check_loss(subject: Subject) -> None:
    """The loss is one finite number, pulls matches up and pushes negatives down."""
    model, loss, pairs = built(subject), subject.loss(), sample_pairs()
    similarity = _leaves(_similarity(model, sample_images(subject.feature_dim)))
    value = loss(similarity, pairs)
    if value.shape or not value.isfinite():
        raise Fault(
            f"The loss of a block is {value.tolist()} where one finite number is wanted.",
            "Sum up or average over matches, and mask before you take a logarithm.",
        )
    torch.autograd.backward(value)
    for name, leaf in {"scores": similarity.scores, **similarity.levels}.items():
        wrong = None if leaf.grad is None else leaf.grad * torch.where(pairs.matches, 1.0, -1.0)
        if wrong is not None and (wrong > 1e-7).any():
            i, t = (wrong > 1e-7).nonzero()[0].tolist()
            what = "match" if pairs.matches[i, t] else "negative"
            raise Fault(
                f"The loss goes down as the {name} of the {what} ({i}, {t}) "
                f"{'go down' if what == 'match' else 'go up'}; the first image has two captions in "
                "this block.",
                "Take matches from pairs.matches: every caption of an image is one, not the "
                "diagonal's alone.",
            )


def check_overfit(subject: Subject) -> None:
    """Two small batches can be learned by heart."""
    built(subject)
    shares = []
    for rate in RATES:
        shares.append(_share(subject, rate))
        if shares[-1] <= LEARNED:
            return
    raise Fault(
        f"The loss on two batches falls to {min(shares):.0%} of its first value in {STEPS} "
        f"steps of Adam, where {LEARNED:.0%} is wanted of the best rate.",
        "Look for a detach() or no_grad on the way, an argmax without gradient, and a sign of the "
        "score (higher is better).",
    )


def trained(subject: Subject, rate: float = RATES[0], steps: int = 3) -> tuple[MatchingModel, Loss]:
    """The model and its loss after a few steps, in evaluation mode."""
    model, loss = subject.model(), subject.loss()
    for _ in _steps(model, loss, subject, rate, steps):
        pass
    return model.eval(), loss.eval()


def _share(subject: Subject, rate: float) -> float:
    """What is left of the loss after training, as a share of the first."""
    model, loss = subject.model(), subject.loss()
    with torch.no_grad():
        first = _whole(model, loss, subject)
    share = 1.0 if first > 1e-6 else 0.0
    for step in _steps(model, loss, subject, rate, STEPS):
        if step % 10 == 9 and share > LEARNED:
            with torch.no_grad():
                share = min(share, (_whole(model.eval(), loss, subject) / first).item())
            model.train()
        if share <= LEARNED:
            break
    return share


def _whole(model: MatchingModel, loss: Loss, subject: Subject) -> Tensor:
    parts = [loss(_similarity(model, images), sample_pairs()) for images in _batches(subject)]
    return torch.stack(parts).mean()


def _steps(
    model: MatchingModel, loss: Loss, subject: Subject, rate: float, steps: int
) -> Iterator[int]:
    """Steps of Adam on two batches in turn, as the zoo trains: fitted to the features first."""
    batches = _batches(subject)
    model.image_encoder.fit(batches)
    both = nn.ModuleList([model, loss]).train()
    optimizer = torch.optim.Adam(both.parameters(), rate)
    for step in range(steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss(_similarity(model, batches[step % 2]), sample_pairs()))
        optimizer.step()
        yield step


@cache
def _features(feature_dim: int) -> tuple[Regions, Regions]:
    return sample_images(feature_dim, seed=1), sample_images(feature_dim, seed=2)


def _batches(subject: Subject) -> tuple[Regions, Regions]:
    return _features(subject.feature_dim)


def _similarity(model: MatchingModel, images: Regions) -> Similarity:
    texts: Batch = model.text_encoder.prepare(CAPTIONS)
    similarity: Similarity = model(model.image_encoder.prepare(images), texts)
    return similarity


def _leaves(similarity: Similarity) -> Similarity:
    """Scores and levels as if nothing lay behind them, to see what a loss asks of each."""

    def leaf(values: Tensor) -> Tensor:
        return values.detach().clone().requires_grad_()

    levels = {name: leaf(values) for name, values in similarity.levels.items()}
    return replace(similarity, scores=leaf(similarity.scores), levels=levels)

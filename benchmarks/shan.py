"""SHAN's score by its factorised form, beside the equations as the paper prints them.

    python benchmarks/shan.py [--dims N ...] [--images N] [--texts N] [--rounds N]
                              [--captions FILE] [--json FILE]

"literal" is written by us from the equations (Ji, Chen, Wang, Step-Wise Hierarchical Alignment
Network, IJCAI 2021; no code was released), without padding, caption by caption with all images at
once: affinities, softmax, messages formed, a gate for each fragment by a product of the fragment
and its message, 2 dim numbers, with a matrix of 2 dim x dim (Eq 8), pooling, context attention, and
the cosines of Eq 7, 12 and 15. What each side has for itself, fragments and keys, is made
beforehand for both. Images have 36 regions; weights are those that training begins with. Captions
are of about one length, as in a block of an evaluation.

"step" is a training step: scores of all pairs, the triplet loss over all negatives, and the
gradients of the aligner's parameters and of both sides, with captions of any length.

Seconds of one thread of the processor; the variants take turns in each round. What is reported is
the median, and the median of the ratios within a round, with their range.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from zoo.batch import Batch, Fragments
from zoo.bench.collection import collection
from zoo.bench.rounds import Took, rows, timed
from zoo.bench.setting import Setting
from zoo.interfaces import Pairs, Similarity
from zoo.losses import TripletLoss
from zoo_shan.model import StepwiseAligner
from zoo_shan.side import Side, SideProjections

Row = dict[str, Any]


class Model:
    """The aligner, and what both sides make of their fragments."""

    def __init__(self, dim: int) -> None:
        self.aligner = StepwiseAligner(dim)
        self.regions, self.words = (
            SideProjections(dim, asking, "both", "global_global", "vector")
            for asking in ("i2t", "t2i")
        )

    def gates(self, own: SideProjections, other: SideProjections) -> tuple[Tensor, Tensor]:
        """One matrix for a fragment beside its message, (dim, 2 dim), and its bias."""
        assert own.own_gate is not None
        assert other.gate is not None
        return torch.cat([own.own_gate.weight, other.gate.weight], dim=1), own.own_gate.bias

    def factorised(self, images: Side, texts: Side) -> Tensor:
        """All pairs by the zoo's aligner."""
        return self.aligner(images, texts).scores

    def literal(self, images: Side, texts: Side) -> Tensor:
        """All pairs by the paper's equations."""
        columns = []
        for text in texts.split(1):
            real = text.keys.mask[0]
            words, keys = text.fragments.embeddings[0, real], text.keys.embeddings[0, real]
            columns.append(self._literal(images, words.expand(len(images), -1, -1), keys))
        return torch.stack(columns, dim=1)

    def _literal(self, images: Side, words: Tensor, keys: Tensor) -> Tensor:
        """All images with one caption: (images,)."""
        aligner, regions = self.aligner, images.fragments.embeddings
        affinity = aligner.attention.sharpness * images.keys.embeddings @ keys.T  # (i, r, w)
        to_regions = affinity.softmax(dim=2) @ words
        to_words = affinity.softmax(dim=1).mT @ regions
        local = (
            aligner.local_share * cosine_similarity(regions, to_regions, dim=2).mean(dim=1),
            (1 - aligner.local_share) * cosine_similarity(words, to_words, dim=2).mean(dim=1),
        )
        image = self._context(regions, to_regions, (self.regions, self.words), aligner.pool_regions)
        text = self._context(words, to_words, (self.words, self.regions), aligner.pool_words)
        of_text, of_image = self._found(image, words), self._found(text, regions)
        context = (
            aligner.global_share * cosine_similarity(image, of_text, dim=1),
            (1 - aligner.global_share) * cosine_similarity(text, of_image, dim=1),
        )
        whole = cosine_similarity(image + of_text, text + of_image, dim=1)
        return torch.stack([*local, *context, whole]).sum(dim=0)

    def _context(
        self,
        own: Tensor,
        messages: Tensor,
        sides: tuple[SideProjections, SideProjections],
        row: Tensor | None,
    ) -> Tensor:
        matrix, bias = self.gates(*sides)
        gates = (torch.cat([own, messages], dim=2) @ matrix.T + bias).sigmoid()
        blended = gates * own + (1 - gates) * messages
        assert row is not None
        return ((blended @ row).softmax(dim=1)[:, None] @ blended)[:, 0]

    def _found(self, context: Tensor, fragments: Tensor) -> Tensor:
        logits = self.aligner.global_sharpness * cosine_similarity(
            context[:, None], fragments, dim=2
        )
        return (logits.softmax(dim=1)[:, None] @ fragments)[:, 0]


def widths(texts: Fragments) -> Fragments:
    """As wide as the longest."""
    longest = int(texts.mask.sum(dim=1).max())
    return Fragments(texts.embeddings[:, :longest], texts.mask[:, :longest])


def encoded(model: Model, images: Fragments, texts: Fragments) -> tuple[Side, Side]:
    """Both sides, once for all pairs."""
    return model.regions(images), model.words(texts)


@torch.no_grad()
def scoring(model: Model, sides: tuple[Side, Side], rounds: int, **more: Any) -> list[Row]:
    """All pairs without gradients."""
    taken = []
    for _ in range(rounds):
        slow, truth = timed(lambda: model.literal(*sides))
        fast, scores = timed(lambda: model.factorised(*sides))
        taken.append({"published": slow, "factorised": fast})
    torch.testing.assert_close(scores, truth, rtol=0, atol=1e-5)
    return table(taken, use="score", **more)


def training(
    model: Model, sides: tuple[Fragments, Fragments], rounds: int, **more: Any
) -> list[Row]:
    """A step by each."""
    numbers = torch.arange(min(map(len, sides)))
    pairs = Pairs(numbers, numbers, torch.eye(len(numbers), dtype=torch.bool))
    loss = TripletLoss(margin=0.2, negatives="all")

    def step(score: Callable[[Side, Side], Tensor]) -> None:
        some: tuple[Batch, Batch] = encoded(model, *(side[: len(numbers)] for side in sides))
        loss(Similarity(score(*some)), pairs).backward()  # type: ignore[arg-type]

    taken = [
        {
            "published": timed(lambda: step(model.literal))[0],
            "factorised": timed(lambda: step(model.factorised))[0],
        }
        for _ in range(rounds)
    ]
    return table(taken, use="step", **more)


def table(rounds: list[dict[str, Took]], **more: Any) -> list[Row]:
    """A row for each variant, with what is the same in all of them."""
    return [
        more
        | {
            "variant": row.variant,
            "seconds": round(row.seconds, 3),
            "times_published": round(row.ratio or 0, 1),
            "range": [round(row.low or 0, 1), round(row.high or 0, 1)],
        }
        for row in rows(rounds, "published")
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="SHAN's factorised score against the equations.")
    parser.add_argument("--dims", type=int, nargs="+", default=[1024, 256])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--texts", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--captions", type=Path, help="real captions, for their lengths")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    report = []
    for dim in arguments.dims:
        count = max(arguments.images, arguments.texts)
        made = collection(Setting(images=count, dim=dim, lengths=arguments.captions))
        images, middle = made.images[: arguments.images], len(made.texts) // 2
        alike = widths(made.texts[middle : middle + arguments.texts])
        mixed = widths(made.texts[torch.randperm(len(made.texts))[: arguments.texts]])
        model = Model(dim)
        report += scoring(model, encoded(model, images, alike), arguments.rounds, dim=dim)
        report += training(model, (images, mixed), arguments.rounds, dim=dim)
    print(f"{'dim':>5} {'use':6} {'variant':11} {'seconds':>8} {'x literal':>10} {'range':>12}")
    for row in report:
        low, high = row["range"]
        print(
            f"{row['dim']:5} {row['use']:6} {row['variant'].replace('published', 'literal'):11} "
            f"{row['seconds']:8.3f} {row['times_published']:10.1f} {f'{low}-{high}':>12}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

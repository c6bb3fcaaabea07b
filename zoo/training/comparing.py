"""From a batch, of which this process has a share, to the similarities of all its images and texts.

The images and the texts of a batch are divided among the processes. Each encodes its own, gets
the encodings of the others, and compares its own images with all texts; the scores of all are
gathered, with their gradient. So the loss sees the batch that one process would see. A loss that
needs few pairs has all scored without gradients first (`zoo.scoring.two_pass`), and asks for them
when it knows the scores of all processes.

Where memory is short, it takes its share in pieces: of each only the result is kept, and its
gradient is computed by going through the piece once more, with the same random numbers (Gao et
al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"; here by
torch's checkpoints). The loss and the gradient are those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..batch import Batch
from ..interfaces import Scan, Similarity
from ..model import MatchingModel
from ..processes import Processes
from ..scoring.two_pass import Needed, score_block
from .data import TrainingBatch
from .gathering import ALONE, gather_batch, gather_rows, shares

Context = Callable[[], AbstractContextManager[None]]


class Comparison:
    """Compares the images of a batch with its texts, in training.

    pieces:    in how many parts the encoders and the aligner go through a process's share
    processes: among whom a batch is divided; `ALONE` where each has a batch of its own
    precision: the context in which parts of the model run
    beside:    all who take this step: they go through as many pieces each, for in each they may
               have to talk (shared batch norms, divided weights)
    """

    def __init__(
        self,
        model: MatchingModel,
        pieces: int = 1,
        processes: Processes = ALONE,
        precision: Context = nullcontext,
        beside: Processes = ALONE,
    ) -> None:
        self.model, self.pieces = model, pieces
        self.processes, self.precision, self.beside = processes, precision, beside

    def __call__(self, batch: TrainingBatch, needed: Needed | None = None) -> Similarity:
        """The similarities of all images and texts of the batch, on every process.

        needed: of a loss that needs few of them, those that it needs
        """
        own_images = self._encoded(self.model.encode_prepared, batch.images)
        own_texts = self._encoded(self.model.text_encoder, batch.texts)
        if self.processes.count == 1:
            similarity = self._scored(own_images, own_texts, needed)
            return replace(similarity, images=own_images, texts=own_texts)
        counts = shares(len(batch.pairs.image_ids), self.processes.count)
        texts = gather_batch(
            own_texts, shares(len(batch.pairs.text_ids), self.processes.count), self.processes
        )
        images = gather_batch(own_images, counts, self.processes)
        first = sum(counts[: self.processes.number])
        gather = lambda scan: _gathered(scan, counts)  # noqa: E731
        rows = self._scored(own_images, texts, needed, gather=gather, first=first)
        return Similarity(
            gather_rows(rows.scores, counts),
            {name: gather_rows(level, counts) for name, level in rows.levels.items()},
            images,
            texts,
        )

    def _encoded(self, encode: Callable[[Any], Batch], items: Batch) -> Batch:
        blocks: list[Batch] = [self._apart(encode, piece) for piece in self._pieces(items)]
        return blocks[0] if len(blocks) == 1 else type(blocks[0]).join(blocks)

    def _scored(
        self, images: Batch, texts: Batch, needed: Needed | None, **where: Any
    ) -> Similarity:
        with self.precision():
            return score_block(
                self.model.aligner, images, texts, needed, compare=self._compared, **where
            )

    def _compared(self, images: Batch, texts: Batch) -> Similarity:
        """In pieces of images times pieces of texts."""
        columns = self._pieces(texts)
        rows = [
            _joined([self._apart(self.model.aligner, block, column) for column in columns], dim=1)
            for block in self._pieces(images)
        ]
        return _joined(rows, dim=0)

    def _pieces(self, items: Batch) -> list[Any]:
        if self.pieces == 1:
            return [items]
        sizes = shares(len(items), min(self.pieces, *self.beside.everyones(len(items))))
        ends = torch.tensor(sizes).cumsum(0).tolist()
        return [items[end - size : end] for size, end in zip(sizes, ends, strict=True)]

    def _apart(self, compute: Callable[..., Any], *items: Batch) -> Any:
        def run(*items: Batch) -> Any:
            with self.precision():
                return compute(*items)

        if self.pieces == 1:
            return run(*items)
        contexts = lambda: (nullcontext(), statistics_kept(self.model))  # noqa: E731
        return checkpoint(run, *items, use_reentrant=False, context_fn=contexts)


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Within, batch norms leave their running statistics: a piece is gone through twice."""
    norms = [one for one in model.modules() if isinstance(one, _BatchNorm)]
    before = [(norm.momentum, _count(norm)) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None and count is not None:
                norm.num_batches_tracked.copy_(count)


def _count(norm: _BatchNorm) -> Tensor | None:
    return None if norm.num_batches_tracked is None else norm.num_batches_tracked.clone()


def _gathered(scan: Scan, counts: Sequence[int]) -> Scan:
    """What each process knows of its own images, one below the other."""
    return Scan(gather_rows(scan.scores, counts), gather_rows(scan.errors, counts))


def _joined(blocks: Sequence[Similarity], dim: int) -> Similarity:
    if len(blocks) == 1:
        return blocks[0]

    def join(tensors: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(tensors), dim=dim)

    return Similarity(
        join([block.scores for block in blocks]),
        {name: join([block.levels[name] for block in blocks]) for name in blocks[0].levels},
    )

"""What each side of SHAN keeps of its items, once for all pairs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.batch import Batch, Fragments
from zoo.errors import InputError
from zoo.ops import in_full, masked_mean
from zoo.options import check_choice

LEVELS = ("local_local", "global_local", "global_global")
DIRECTIONS = ("both", "i2t", "t2i")
GATES = ("vector", "scalar")


@dataclass(frozen=True)
class Side(Batch):
    """Items of one side, with all that a score needs of this side alone; None where it needs none.

    fragments: regions or words, of unit length
    keys:      what attention compares: P = V Wa^T, Q = T Wb^T
    own_gates: this side's half of its own gates, before the sigmoid
    gates:     this side's half of the other side's gates, which go with the messages
    whole:     (items, dim), the mean fragment, which stands for a side that asks nothing
    """

    fragments: Fragments
    keys: Fragments
    own_gates: Fragments | None = None
    gates: Fragments | None = None
    whole: Tensor | None = None


class SideProjections(nn.Module):
    """From unit fragments to a `Side`.

    The gate of a region reads the region beside its message, sigmoid(Wg [v ; t*] + bg). Since the
    message is a mean of words, Wg is kept as two halves, one with the regions and one with the
    words; likewise the gate of a word.

    direction, level: as the aligner's; what they do not use is not built
    asking:  the direction in which this side alone asks the other one ("i2t" for regions)
    gate:    INFERRED: "vector", since fragment and message are fused number by number; "scalar",
             one gate a fragment, is the other reading of Eq 8
    """

    def __init__(self, dim: int, asking: str, direction: str, level: str, gate: str) -> None:
        super().__init__()
        check_choice("direction", direction, DIRECTIONS)
        check_choice("level", level, LEVELS)
        check_choice("gate", gate, GATES)
        asks, answers = direction in ("both", asking), direction != asking
        gates, gated = (dim if gate == "vector" else 1), level != "local_local"
        self.averaged = level == "global_global" and not asks
        # INFERRED: no bias, as Eq 3 has none; nor are the keys brought to unit length.
        self.key = nn.Linear(dim, dim, bias=False)
        self.own_gate = nn.Linear(dim, gates) if asks and gated else None
        self.gate = nn.Linear(dim, gates, bias=False) if answers and gated else None
        # INFERRED: every matrix starts Xavier uniform, a gate's as the whole of its two halves.
        nn.init.xavier_uniform_(self.key.weight)
        bound = math.sqrt(6 / (gates + 2 * dim))
        for half in (self.own_gate, self.gate):
            if half is not None:
                nn.init.uniform_(half.weight, -bound, bound)
        if self.own_gate is not None:
            nn.init.zeros_(self.own_gate.bias)

    def forward(self, fragments: Fragments) -> Side:
        units, mask = fragments.embeddings, fragments.mask
        return Side(
            fragments,
            Fragments(self.key(units), mask),
            Fragments(self.own_gate(units), mask) if self.own_gate is not None else None,
            Fragments(self.gate(units), mask) if self.gate is not None else None,
            masked_mean(units.mT, mask[:, None]) if self.averaged else None,
        )


def by_length(texts: Side) -> tuple[Tensor, list[Side]]:
    """Texts of one length at a time, without padding, and where in these each text stands."""
    lengths, order = texts.keys.mask.sum(dim=1).sort(stable=True)
    counts = Counter(lengths.tolist())
    return order.argsort(), blocks_of_lengths(texts[order], list(counts.values()), list(counts))


def blocks_of_lengths(side: Side, counts: list[int], lengths: list[int]) -> list[Side]:
    """Consecutive items, so many of each length, cut to it; in float32 at least."""

    def blocks(part: Any) -> Sequence[Any]:
        if part is None:
            return [None] * len(counts)
        if isinstance(part, Tensor):
            return torch.split(in_full(part), counts)
        # By `split`, whose gradient is one tensor; that of each slice has the size of the whole.
        pieces = zip(
            torch.split(part.embeddings, counts),
            torch.split(part.mask, counts),
            lengths,
            strict=True,
        )
        return [Fragments(in_full(units[:, :n]), mask[:, :n]) for units, mask, n in pieces]

    return [Side(*block) for block in zip(*map(blocks, vars(side).values()), strict=True)]


def check_sides(images: Side, texts: Side, direction: str, level: str) -> None:
    """Raise `InputError` for sides that were encoded for another variant than the aligner's."""
    gated, last = level != "local_local", level == "global_global"
    regions_ask, words_ask = direction != "t2i", direction != "i2t"
    for side, asks, answers in ((images, regions_ask, words_ask), (texts, words_ask, regions_ask)):
        parts = (side.own_gates, side.gates, side.whole)
        wanted = [asks and gated, answers and gated, last and not asks]
        if [part is not None for part in parts] != wanted:
            raise InputError(
                "The images or the texts were encoded for another direction or level than the "
                f"aligner's, {direction} and {level}. Give image_encoder, text_encoder and aligner "
                "the same direction and level."
            )
    for asking, asked in ((images, texts), (texts, images)):
        if asking.own_gates is None or asked.gates is None:
            continue
        own, other = asking.own_gates.embeddings.shape[-1], asked.gates.embeddings.shape[-1]
        if own != other:
            raise InputError(
                f"One side has {own} gates a fragment and the other {other}. Give both encoders "
                "the same gate and dim."
            )

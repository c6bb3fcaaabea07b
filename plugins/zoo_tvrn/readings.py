"""Captions read twice: what can be read without an image, and what cannot.

A GRU reads a caption's words and then their context. It looks back only, so where the context is an
image's (`text_context` "pair"), the first reading is still the caption's own (shortcut 1), and only
the second is done for each pair.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.batch import Fragments
from zoo.kernels.soft_alignment import attention_weights
from zoo.ops import in_full, l2_normalize, linear

from .records import Context, HalfReadText, RefinedText
from .refinement import ATTENTION, ContentAttention, Pooling, Projection, Reading, both


class Offer(nn.Module):
    """An image's context regions with what a caption's second reading needs of each of them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.key, self.inputs = linear(dim, dim), linear(dim, 3 * dim, bias=False)

    def forward(self, context: Fragments) -> Context:
        x, mask = context.embeddings, context.mask
        return Context(context, Fragments(self.key(x), mask), Fragments(self.inputs(x), mask))


class WholeReading(nn.Module):
    """Words c and their context cc = unit(att(Q(c) K(c)^T) c), read one after the other, pooled.

    refined: False: the words stay as they are
    doubled: False: cc alone is read
    """

    def __init__(self, dim: int, refined: bool, doubled: bool, dropout: float) -> None:
        super().__init__()
        self.doubled = doubled
        self.content = ContentAttention(dim) if refined else None
        self.reading = Reading(dim) if refined else None
        self.pooling = Pooling(dim, dropout)

    def forward(self, plain: Fragments) -> RefinedText:
        words, expanded = self._read(plain)
        return RefinedText(words, expanded, self.pooling(both(words, expanded)))

    def _read(self, plain: Fragments) -> tuple[Fragments, Fragments | None]:
        if self.content is None or self.reading is None:
            return plain, None
        if self.doubled:
            return self.reading.twice(plain, self.content(plain))
        return self.reading(plain, self.content(plain))[0], None


class HalfReading(nn.Module):
    """As `WholeReading`, up to where an image is needed."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.content, self.reading = ContentAttention(dim), Reading(dim)
        self.query, self.local = linear(dim, dim), Projection(dim, dropout)

    def forward(self, plain: Fragments) -> HalfReadText:
        words, state = self.reading(plain, plain.embeddings)
        queries = Fragments(self.query(self.content(plain)), plain.mask)
        local = Fragments(self.local(words.embeddings), plain.mask)
        return HalfReadText(words, plain, local, queries, state.squeeze(0))


class ExpandedReading(nn.Module):
    """The second reading of a caption, over what its words find in an image's context.

    ex = unit(att(Q(cc) K(con)^T) con), H = GRU(ex) from the first reading's state,
    y = unit(H + c); whole = pool of both readings.
    """

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        # Not an nn.GRU: its input is a mean of projected regions, so W_ih is the image encoder's.
        gru = nn.GRUCell(dim, dim)
        self.recurrent, self.bias = nn.Linear(dim, 3 * dim), gru.bias_ih
        self.recurrent.load_state_dict({"weight": gru.weight_hh, "bias": gru.bias_hh})
        self.pooling = Pooling(dim, dropout)

    def forward(self, context: Context, texts: HalfReadText) -> tuple[Tensor, Tensor]:
        """Both readings (images, texts, words, dim) and the whole (images, texts, dim)."""
        state = texts.state.expand(len(context), *texts.state.shape)
        hidden = []
        for inputs in self._inputs(context, texts).unbind(dim=2):
            state = self._step(inputs, state)
            hidden.append(state)
        second = l2_normalize(torch.stack(hidden, dim=2) + texts.plain.embeddings)
        tokens = self._joined(texts.words.embeddings, second)
        local = self._joined(texts.local.embeddings, self.pooling.local(second))
        mask = both(texts.words, texts.words).mask
        return tokens, self.pooling.pool(local, tokens, mask)

    def _inputs(self, context: Context, texts: HalfReadText) -> Tensor:
        """W_ih ex + b without ex: ||sum_r a_r con_r||^2 = a . Gram a, W_ih con is known."""
        logits = texts.queries.embeddings @ context.keys.embeddings[:, None].mT
        weights = attention_weights(
            logits, texts.queries.mask, context.keys.mask[:, None], ATTENTION
        )
        flat = weights.flatten(1, 2)
        with torch.autocast(flat.device.type, enabled=False):  # a root of rounded sums is far off
            regions = in_full(context.regions.embeddings)
            square = (flat * (flat @ (regions @ regions.mT))).sum(dim=-1, keepdim=True)
            length = square.clamp(min=torch.finfo(square.dtype).tiny).sqrt()
        shares = (flat / (length + 1e-8)).to(context.inputs.embeddings.dtype)
        inputs = torch.baddbmm(self.bias, shares, context.inputs.embeddings)
        return inputs.view(*weights.shape[:3], -1)

    def _step(self, inputs: Tensor, state: Tensor) -> Tensor:
        """One step of a GRU whose input is already projected."""
        dim = state.shape[-1]
        recurrent = self.recurrent(state)
        reset, update = (inputs + recurrent)[..., : 2 * dim].sigmoid().chunk(2, dim=-1)
        new = (inputs[..., 2 * dim :] + reset * recurrent[..., 2 * dim :]).tanh()
        after: Tensor = new + update * (state - new)
        return after

    @staticmethod
    def _joined(first: Tensor, second: Tensor) -> Tensor:
        return torch.cat([first.expand(len(second), *first.shape), second], dim=2)

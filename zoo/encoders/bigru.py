"""Words by a bidirectional GRU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..batch import Fragments, Tokens
from ..data.vocabulary import Vocabulary
from ..data.words import bytes_repr
from ..errors import InputError, WeightsError
from ..interfaces import Noise, TextEncoder
from ..ops import l2_normalize
from ..options import check_share
from .captions import checked, tokens
from .word_vectors import read_word_vectors


class BiGRU(TextEncoder[Tokens, Fragments]):
    """Words read in both directions: w = h / (||h|| + 1e-8), h the mean of the two states.

    Start and end count as words. Without word vectors the embeddings begin Xavier uniform.

    vocabulary: from `vocab.json` of the model's folder
    word_dim:   of the embeddings
    fixed_dim:  of word vectors that do not learn and stand beside the embeddings (SHAN). They are
                0 until `load_initial` is given their file, are saved with the weights, and without
                them training is refused
    word_drop:  share of the words that noise changes: half of them become the mask token, a tenth
                a random entry of the vocabulary, the rest are left out (start and end too, as in
                CHAN's released code; ours keeps at least one)
    mask_token: add the mask token to a vocabulary that lacks it
    dropout:    on the embeddings in training; none in the papers
    legacy_bytes_repr: read captions as programs written for Python 2 see them under Python 3,
                "b'a dog runs'": for weights that were trained so
    unit_length: False: w = h, for methods that pool words before they bring them to length 1
    """

    fixed: Tensor | None

    def __init__(
        self,
        vocabulary: Vocabulary,
        word_dim: int = 300,
        dim: int = 1024,
        word_drop: float = 0.0,
        mask_token: bool = False,
        dropout: float = 0.0,
        fixed_dim: int = 0,
        legacy_bytes_repr: bool = False,
        unit_length: bool = True,
    ) -> None:
        super().__init__()
        check_share("word_drop", word_drop)
        check_share("dropout", dropout)
        self.vocabulary = vocabulary.with_mask() if mask_token else vocabulary
        if word_drop and self.vocabulary.mask is None:
            raise InputError("word_drop needs a mask token. Set mask_token to true as well.")
        self.word_drop, self.dim, self.legacy_bytes_repr = word_drop, dim, legacy_bytes_repr
        self.unit_length = unit_length
        self.embed = nn.Embedding(len(self.vocabulary), word_dim)
        nn.init.xavier_uniform_(self.embed.weight)
        self.dropout = nn.Dropout(dropout)
        table = torch.zeros(len(self.vocabulary), fixed_dim) if fixed_dim else None
        self.register_buffer("fixed", table)
        self.rnn = nn.GRU(word_dim + fixed_dim, dim, batch_first=True, bidirectional=True)

    @classmethod
    def from_config(cls, config: Mapping[str, Any], files: Mapping[str, str]) -> Self:
        try:
            vocabulary = files["vocab.json"]
        except KeyError:
            raise WeightsError(
                f"The text encoder needs vocab.json and there is {', '.join(files) or 'no file'}. "
                "Put the vocabulary that the model was trained with beside its weights."
            ) from None
        return cls(Vocabulary.from_json(vocabulary), **config)

    def files(self) -> Mapping[str, str]:
        return {"vocab.json": self.vocabulary.to_json()}

    def load_initial(self, path: Path) -> None:
        """Take word vectors, a text file in the form of GloVe's: as the fixed ones where the
        encoder has such, else to start the embeddings from.
        """
        table = self.embed.weight if self.fixed is None else self.fixed
        vectors = read_word_vectors(path, self.vocabulary.words, table.shape[1])
        with torch.no_grad():
            table.copy_(vectors)

    def prepare(self, items: Sequence[str], noise: Noise | None = None) -> Tokens:
        written = map(self._written, checked(items))
        ids = [np.array(self.vocabulary.encode(caption)) for caption in written]
        if noise is None or not self.word_drop:
            return tokens(ids)
        disturbed = [self._disturb(row, one) for row, one in zip(ids, noise, strict=True)]
        return tokens(*zip(*disturbed, strict=True))

    def words(self, text: str) -> list[str]:
        return self.vocabulary.split(self._written(text))

    def forward(self, batch: Tokens) -> Fragments:
        if self.training and self.fixed is not None and not self.fixed.any():
            raise InputError(
                "The text encoder has room for fixed word vectors (fixed_dim), and all of them are "
                "0. Name their file (initial_weights.text_encoder=PATH), or learn all numbers "
                "(initial_weights.text_encoder=None and fixed_dim=0)."
            )
        packed = pack_padded_sequence(
            self.dropout(self._vectors(batch.ids)),
            batch.mask.sum(dim=1).cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        states, _ = pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=batch.ids.shape[1]
        )
        onward, back = states.chunk(2, dim=-1)
        words = (onward + back) / 2
        return Fragments(l2_normalize(words) if self.unit_length else words, batch.mask)

    def _written(self, caption: str) -> str:
        return bytes_repr(caption) if self.legacy_bytes_repr else caption

    def _vectors(self, ids: Tensor) -> Tensor:
        learned: Tensor = self.embed(ids)
        return learned if self.fixed is None else torch.cat([self.fixed[ids], learned], dim=-1)

    def _disturb(
        self, ids: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ids that are left, some of them changed, and the place that each had."""
        # One draw decides both whether a word is changed (below 1) and how.
        fate = generator.random(len(ids)) / self.word_drop
        anything = generator.integers(len(self.vocabulary), size=len(ids))
        changed: np.ndarray = np.select(
            [fate < 0.5, fate < 0.6], [np.array(self.vocabulary.mask), anything], ids
        )
        kept = (fate < 0.6) | (fate >= 1)
        if not kept.any():
            kept[generator.integers(len(ids))] = True
        return changed[kept], kept.nonzero()[0]

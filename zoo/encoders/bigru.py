"""Words by a bidirectional GRU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from ..batch import Fragments, Tokens
from ..data.vocabulary import END, START, Vocabulary
from ..data.words import tokenize
from ..errors import InputError, WeightsError
from ..interfaces import Noise, TextEncoder
from ..ops import l2_normalize, pad
from ..options import check_share
from .captions import checked
from .word_vectors import read_word_vectors


class BiGRU(TextEncoder[Tokens, Fragments]):
    """Words read in both directions: w = h / (||h|| + 1e-8), h the mean of the two states.

    Start and end count as words. Without word vectors the embeddings begin Xavier uniform.

    vocabulary: from `vocab.json` of the model's folder
    word_dim:   of the embeddings
    word_drop:  share of the words that noise changes: half of them become the mask token, a tenth
                a random entry of the vocabulary, the rest are left out (start and end too, as in
                CHAN's released code; ours keeps at least one)
    mask_token: add the mask token to a vocabulary that lacks it
    dropout:    on the embeddings in training; none in the papers
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        word_dim: int = 300,
        dim: int = 1024,
        word_drop: float = 0.0,
        mask_token: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_share("word_drop", word_drop)
        check_share("dropout", dropout)
        self.vocabulary = vocabulary.with_mask() if mask_token else vocabulary
        if word_drop and self.vocabulary.mask is None:
            raise InputError("word_drop needs a mask token. Set mask_token to true as well.")
        self.word_drop = word_drop
        self.embed = nn.Embedding(len(self.vocabulary), word_dim)
        nn.init.xavier_uniform_(self.embed.weight)
        self.dropout = nn.Dropout(dropout)
        self.rnn = nn.GRU(word_dim, dim, batch_first=True, bidirectional=True)

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
        """Start the embeddings from word vectors, a text file in the form of GloVe's."""
        vectors = read_word_vectors(path, self.vocabulary.words, self.embed.embedding_dim)
        with torch.no_grad():
            self.embed.weight.copy_(vectors)

    def prepare(self, items: Sequence[str], noise: Noise | None = None) -> Tokens:
        ids = [np.array(self.vocabulary.encode(caption)) for caption in checked(items)]
        if noise is not None and self.word_drop:
            ids = [self._disturb(row, one) for row, one in zip(ids, noise, strict=True)]
        return Tokens(*pad([torch.from_numpy(row) for row in ids]))

    def words(self, text: str) -> list[str]:
        return [START, *tokenize(text), END]

    def forward(self, batch: Tokens) -> Fragments:
        packed = pack_padded_sequence(
            self.dropout(self.embed(batch.ids)),
            batch.mask.sum(dim=1).cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        states, _ = pad_packed_sequence(
            self.rnn(packed)[0], batch_first=True, total_length=batch.ids.shape[1]
        )
        onward, back = states.chunk(2, dim=-1)
        return Fragments(l2_normalize((onward + back) / 2), batch.mask)

    def _disturb(self, ids: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        # One draw decides both whether a word is changed (below 1) and how.
        fate = generator.random(len(ids)) / self.word_drop
        anything = generator.integers(len(self.vocabulary), size=len(ids))
        changed: np.ndarray = np.select(
            [fate < 0.5, fate < 0.6], [np.array(self.vocabulary.mask), anything], ids
        )
        kept = (fate < 0.6) | (fate >= 1)
        if not kept.any():
            kept[generator.integers(len(ids))] = True
        return np.asarray(changed[kept])
